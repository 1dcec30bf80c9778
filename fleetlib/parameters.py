"""The parameters of the runbook: strict, typed, checked before anything is created.

One class holds them all; every notebook's `parameters` cell shows those it uses, and `parameters/sandbox.yaml` equals the
defaults.
"""

from __future__ import annotations

import ast
import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fleetlib.errors import ParameterError

MAX_CLUSTERS = 100
"""The most clusters of one release: the limit in the chart's values schema."""

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_GROUP = re.compile(r"[-\w.()]{1,90}")


class Parameters(BaseModel):
    """All parameters of the runbook, strict and immutable. The defaults are the names of the documented example.

    Create them with `check` (plain values) or `from_namespace` (a notebook's variables): both raise `ParameterError`, which
    names every wrong value. Durations are in minutes.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)

    cloud: Literal["sandbox", "AzureCloud", "AzureUSGovernment", "AzureChinaCloud"] = Field(
        default="sandbox", description="The Azure cloud: the embedded sandbox, or a real one."
    )
    subscription_id: str = Field(default="", description="The subscription's id; empty: the only one that the credential sees.")
    location: str = Field(default="eastus2", description="Azure region of the control plane and of the fleet.")

    controlplane_group: str = Field(default="controlplane-rg", description="Resource group of the control plane.")
    controlplane_cluster: str = Field(default="asocluster-aks", description="The AKS cluster that runs Flux and ASO.")
    controlplane_node_count: int = Field(default=1, ge=1, le=1000, description="Nodes of its system pool.")
    controlplane_vm_size: str = Field(default="Standard_D4as_v5", description="VM size of its nodes.")
    kubernetes_version: str = Field(default="", description="Kubernetes version of all clusters; empty: the region's default.")

    aso_identity: str = Field(default="aso-controlplane-identity", description="The managed identity that ASO uses.")
    aso_federated_credential: str = Field(
        default="aso-federated-credential", description="Its federated credential for ASO's service account."
    )
    aso_secret: str = Field(default="aso-identity", description="The Secret with the identity's ids, for ASO's release.")

    flux_configuration: str = Field(default="cluster-config", description="The Flux configuration of the control plane.")
    flux_namespace: str = Field(
        default="cluster-config", description="The namespace of the configuration, its sources and releases."
    )
    fleet_repository: str = Field(
        default="https://github.com/contoso/aks-fleet", description="Git repository with flux/ and charts/."
    )
    fleet_branch: str = Field(default="main", description="Its branch.")
    workloads_repository: str = Field(
        default="https://github.com/contoso/aks-fleet-workloads",
        description="Git repository of the workload clusters' manifests.",
    )
    chart_registry: str = Field(
        default="oci://contosofleet.azurecr.io/charts", description="OCI registry of the cluster chart."
    )

    fleet_group: str = Field(default="myfleet-rg", description="Resource group of the workload clusters.")
    cluster_namespace: str = Field(default="clusters", description="Namespace of the workload clusters' objects.")
    cluster_vm_size: str = Field(default="Standard_D2as_v6", description="VM size of the workload clusters' nodes.")
    cluster_max_nodes: int = Field(default=3, ge=1, le=1000, description="The most nodes of a workload cluster.")
    staging_cluster_count: int = Field(default=3, ge=0, le=MAX_CLUSTERS, description="Clusters of podinfo-staging.")
    prod_cluster_count: int = Field(default=3, ge=0, le=MAX_CLUSTERS, description="Clusters of podinfo-prod before scaling.")
    prod_cluster_count_scaled: int = Field(
        default=5, ge=0, le=MAX_CLUSTERS, description="Clusters of podinfo-prod after notebook 07."
    )
    new_environment: str = Field(default="dev", description="The environment that notebook 07 adds: release podinfo-<name>.")
    new_environment_cluster_count: int = Field(default=1, ge=0, le=MAX_CLUSTERS, description="Its clusters.")

    timeout_minutes: float = Field(default=60, gt=0, le=720, description="The longest wait of a single step.")
    patience_minutes: float = Field(
        default=2, ge=0, le=720, description="How long a step waits after an error that only a fix ends, in the cloud's time."
    )
    practice: bool = Field(
        default=True, description="Whether 02, 04 and 06 each make one mistake on purpose, show it and fix it."
    )

    @field_validator("timeout_minutes", "patience_minutes", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("location")
    @classmethod
    def _location(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9]+", value):
            raise ValueError("is not a region's name: lower-case letters and digits, such as eastus2")
        return value

    @field_validator("controlplane_group", "fleet_group")
    @classmethod
    def _group(cls, value: str) -> str:
        if not _GROUP.fullmatch(value) or value.endswith("."):
            raise ValueError("is not a resource group's name: 1-90 letters, digits, '-', '_', '(', ')', '.', not ending in '.'")
        return value

    @field_validator("controlplane_cluster")
    @classmethod
    def _dns_prefix(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,52}[A-Za-z0-9])?", value):
            raise ValueError(
                "is not a cluster's DNS prefix: 1-54 letters, digits and '-', starting and ending with a letter or digit"
            )
        return value

    @field_validator("flux_configuration", "flux_namespace", "cluster_namespace", "new_environment", "aso_secret")
    @classmethod
    def _label(cls, value: str) -> str:
        if not _DNS_LABEL.fullmatch(value) or len(value) > 63:
            raise ValueError("is not a DNS label: 1-63 lower-case letters, digits and '-', starting and ending alphanumeric")
        return value

    @field_validator("kubernetes_version")
    @classmethod
    def _version(cls, value: str) -> str:
        if value and not re.fullmatch(r"1\.\d+(\.\d+)?", value):
            raise ValueError("is not a Kubernetes version such as 1.34 or 1.34.2 (in YAML, quote it)")
        return value

    @field_validator("fleet_repository", "workloads_repository")
    @classmethod
    def _repository(cls, value: str) -> str:
        if not re.fullmatch(r"https://[^\s/@]+/\S+", value):
            raise ValueError("is not an https:// Git URL without credentials")
        return value

    @field_validator("chart_registry")
    @classmethod
    def _registry(cls, value: str) -> str:
        if not re.fullmatch(r"oci://[^\s/@]+(/[^\s/]+)+", value):
            raise ValueError("is not an oci:// URL with a host and a path")
        return value

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.new_environment in ("staging", "prod"):
            raise ValueError("new_environment must not be staging or prod: these environments exist already")
        if self.controlplane_group.lower() == self.fleet_group.lower():
            raise ValueError("controlplane_group and fleet_group must differ: ASO's rights end at the fleet's group")
        return self

    @classmethod
    def check(cls, values: Mapping[str, Any], source: str = "parameters") -> Self:
        """Return the parameters with these plain values.

        Raises `ParameterError`, which names every wrong value and `source`.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            lines = [_explain(item, cls) for item in error.errors()]
            raise ParameterError(
                "; ".join(lines), target=source, fix="correct the parameters and run again: nothing has been created"
            ) from None

    @classmethod
    def from_namespace(cls, namespace: Mapping[str, Any]) -> Self:
        """Return the parameters of a notebook's variables, over those of the file that `FLEET_PARAMETERS` names, if it is set.

        Raises `ParameterError`, also for a name that papermill injected and that is not a parameter: papermill itself only logs
        such a name and runs with the default.
        """
        path = os.environ.get("FLEET_PARAMETERS")
        base = read_file(_upwards(Path(path))) if path else {}
        names = {*cls.model_fields, *_injected(namespace)}
        given = {name: namespace[name] for name in names if name in namespace}
        return cls.check({**base, **given}, "the notebook's parameters cell")


def _injected(namespace: Mapping[str, Any]) -> set[str]:
    """Return the names in the cell that papermill injects; empty for a notebook run by hand.

    `In` is IPython's list of run cells.
    """
    cells = [source for source in namespace.get("In", ()) if source.startswith("# Parameters\n")]
    lines = [line for source in cells for line in ast.parse(source).body]
    assigned = [target for line in lines if isinstance(line, ast.Assign) for target in line.targets]
    return {target.id for target in assigned if isinstance(target, ast.Name)}


def _upwards(path: Path) -> Path:
    """Resolve a relative path from the current folder or the nearest one above that has it: kernels run in the notebooks'
    folder.
    """
    here = Path.cwd()
    return next((folder / path for folder in (here, *here.parents) if (folder / path).exists()), path)


def read_file(path: Path) -> dict[str, Any]:
    """Return the values in a YAML file of parameters, unchecked.

    Raises `ParameterError` if it is not a readable YAML mapping.
    """
    try:
        loaded = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ParameterError(
            "the parameters file does not exist", target=str(path), fix="give an existing file to -f"
        ) from None
    except OSError as error:
        raise ParameterError("the parameters file cannot be read", target=str(path), said=str(error)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(
            "the parameters file is not valid YAML", target=str(path), said=" ".join(str(error).split())
        ) from None
    if not isinstance(loaded, dict | None):
        raise ParameterError("the parameters file must be a mapping of names to values", target=str(path))
    return loaded or {}


def _explain(item: Any, cls: type[Parameters]) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, cls.model_fields, n=1)
        return f"there is no parameter {name!r}" + (f" (did you mean {close[0]!r}?)" if close else "")
    message: str = item["msg"].removeprefix("Value error, ")
    if not name:
        return message
    shown = "" if isinstance(item["input"], dict) else f" {item['input']!r}"
    return f"{name}{shown}: {message[0].lower()}{message[1:]}" if not message.startswith("is ") else f"{name}{shown} {message}"
