"""The parameters of the runbook: strict, typed, checked before anything is created.

One class holds them all; every notebook's `parameters` cell shows those it uses, and `parameters/sandbox.yaml` equals the
defaults. May import `errors` only.
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
"""Clusters that one release may stamp out: the limit in the chart's values schema."""

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_GROUP = re.compile(r"[-\w.()]{1,90}")


class Parameters(BaseModel):
    """All parameters, with the seed's names as defaults. Unknown names are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)

    cloud: Literal["sandbox", "AzureCloud", "AzureUSGovernment", "AzureChinaCloud"] = Field(
        "sandbox", description="Which Azure: the embedded sandbox, or a real cloud."
    )
    subscription_id: str = Field("", description="The subscription; empty: the only one the credential sees.")
    location: str = Field("eastus2", description="Azure region of the control plane and of the fleet.")

    controlplane_group: str = Field("controlplane-rg", description="Resource group of the control plane.")
    controlplane_cluster: str = Field("asocluster-aks", description="The AKS cluster that runs Flux and ASO.")
    controlplane_node_count: int = Field(1, ge=1, le=1000, description="Nodes of its system pool.")
    controlplane_vm_size: str = Field("Standard_D4as_v5", description="VM size of its nodes.")
    kubernetes_version: str = Field("", description="Kubernetes version of all clusters; empty: the region's default.")

    aso_identity: str = Field("aso-controlplane-identity", description="The managed identity ASO acts as.")
    aso_federated_credential: str = Field("aso-federated-credential", description="Its trust in ASO's service account.")
    aso_secret: str = Field("aso-identity", description="The Secret that tells ASO's release which identity to use.")

    flux_configuration: str = Field("cluster-config", description="The Flux configuration of the control plane.")
    flux_namespace: str = Field("cluster-config", description="The namespace it, its sources and releases live in.")
    fleet_repository: str = Field("https://github.com/contoso/aks-fleet", description="Git repository with flux/ and charts/.")
    fleet_branch: str = Field("main", description="Its branch.")
    workloads_repository: str = Field(
        "https://github.com/contoso/aks-fleet-workloads", description="Git repository of what the workload clusters run."
    )
    chart_registry: str = Field("oci://contosofleet.azurecr.io/charts", description="OCI registry of the cluster chart.")

    fleet_group: str = Field("myfleet-rg", description="Resource group of the workload clusters.")
    cluster_namespace: str = Field("clusters", description="Namespace of the workload clusters' objects.")
    cluster_vm_size: str = Field("Standard_D2as_v6", description="VM size of the workload clusters' nodes.")
    cluster_max_nodes: int = Field(3, ge=1, le=1000, description="Most nodes a workload cluster may scale to.")
    staging_cluster_count: int = Field(3, ge=0, le=MAX_CLUSTERS, description="Clusters of podinfo-staging.")
    prod_cluster_count: int = Field(3, ge=0, le=MAX_CLUSTERS, description="Clusters of podinfo-prod before scaling.")
    prod_cluster_count_scaled: int = Field(5, ge=0, le=MAX_CLUSTERS, description="Clusters of podinfo-prod after notebook 07.")
    new_environment: str = Field("dev", description="The environment that notebook 07 adds: release podinfo-<name>.")
    new_environment_cluster_count: int = Field(1, ge=0, le=MAX_CLUSTERS, description="Its clusters.")

    timeout_minutes: float = Field(60, gt=0, le=720, description="The longest wait of any single step.")
    patience_minutes: float = Field(
        2, ge=0, le=720, description="How long an error that waiting does not mend may stand, in the cloud's time."
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
            raise ValueError("new_environment is already an environment: choose another name than staging and prod")
        if self.controlplane_group.lower() == self.fleet_group.lower():
            raise ValueError("controlplane_group and fleet_group must differ: ASO's rights end at the fleet's group")
        return self

    @classmethod
    def check(cls, values: Mapping[str, Any], source: str = "parameters") -> Self:
        """Parameters from plain values. Raises `ParameterError` naming every wrong one and where it came from."""
        try:
            return cls(**values)
        except ValidationError as error:
            lines = [_explain(item, cls) for item in error.errors()]
            raise ParameterError(
                "; ".join(lines), target=source, fix="correct it and run again: nothing has been created"
            ) from None

    @classmethod
    def from_namespace(cls, namespace: Mapping[str, Any]) -> Self:
        """Parameters from a notebook's variables, over the file that `FLEET_PARAMETERS` names, if set.

        A name that papermill put there and that is none raises, too: papermill itself only remarks on it, and runs with the default.
        """
        path = os.environ.get("FLEET_PARAMETERS")
        base = read_file(_upwards(Path(path))) if path else {}
        names = {*cls.model_fields, *_injected(namespace)}
        given = {name: namespace[name] for name in names if name in namespace}
        return cls.check({**base, **given}, "the notebook's parameters cell")


def _injected(namespace: Mapping[str, Any]) -> set[str]:
    """The names in the cell that papermill inserts; by hand there is none. `In` is IPython's list of the cells that have run."""
    cells = [source for source in namespace.get("In", ()) if source.startswith("# Parameters\n")]
    lines = [line for source in cells for line in ast.parse(source).body]
    assigned = [target for line in lines if isinstance(line, ast.Assign) for target in line.targets]
    return {target.id for target in assigned if isinstance(target, ast.Name)}


def _upwards(path: Path) -> Path:
    """A relative path from the current folder or the nearest one above that has it: kernels work in the notebooks' folder."""
    here = Path.cwd()
    return next((folder / path for folder in (here, *here.parents) if (folder / path).exists()), path)


def read_file(path: Path) -> dict[str, Any]:
    """The values in a YAML parameters file, unchecked. Raises `ParameterError`."""
    try:
        loaded = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ParameterError("there is no such parameters file", target=str(path), fix="give an existing file to -f") from None
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
