"""Notebook 02: ASO's identity, its rights, the trust in ASO's service account, and the Secret that ASO's release reads."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml

from fleetlib.change import Check, Step
from fleetlib.clients.azure import identities, managed_clusters, roles
from fleetlib.clients.kube import Object, secret
from fleetlib.stages.stage import Missing, Stage, promise

SUBJECT = "system:serviceaccount:azureserviceoperator-system:azureserviceoperator-default"
"""The service account ASO's Helm chart creates. Source: the ASO v2 documentation, workload identity."""

DRILL = {"fleet/practice": "true"}
"""The label of objects that exist for a drill only (`practice.py`)."""

ROLE = "Contributor"
AGAIN = "run 02_create_aso_identity again"


def assign_role(group: str) -> str:
    """The command that gives the identity with object id `$PRINCIPAL_ID` its role on a resource group."""
    return (
        f'az role assignment create --role "{ROLE}" --assignee-object-id $PRINCIPAL_ID \\\n'
        "    --assignee-principal-type ServicePrincipal \\\n"
        f"    --scope /subscriptions/$SUBID/resourceGroups/{group}"
    )


class AsoIdentity(Stage):
    """Creates identity, role assignment, federated credential, namespace and Secret."""

    notebook = "02_create_aso_identity"

    def requirements(self) -> Iterable[Check]:
        cluster = self.cluster()
        fix = "run 01_create_control_plane"
        yield promise("the control-plane cluster exists", cluster is not None, self.parameters.controlplane_cluster, fix)
        if cluster is not None:
            state = cluster["properties"]["provisioningState"]
            yield promise("it is provisioned", state == "Succeeded", state, fix)
            issuer = managed_clusters.issuer(cluster)
            yield promise("its OIDC issuer is on", bool(issuer), issuer or "oidcIssuerProfile has no issuerURL", fix)

    def cluster(self) -> dict[str, Any] | None:
        return managed_clusters.get(
            self.session.azure, self.parameters.controlplane_group, self.parameters.controlplane_cluster
        )

    def identity(self) -> dict[str, Any] | None:
        return identities.get(self.session.azure, self.parameters.controlplane_group, self.parameters.aso_identity)

    def _known_identity(self) -> dict[str, Any]:
        found = self.identity()
        if found is None:
            raise Missing("the identity")
        return found

    def steps(self) -> Mapping[str, Callable[[], Step]]:
        return {
            "identity": self._identity,
            "role": self._role,
            "trust": self._trust,
            "namespace": self._namespace,
            "secret": self._secret,
        }

    def commands(self) -> Mapping[str, str]:
        p = self.parameters
        return {
            "identity": f"az identity create -g {p.controlplane_group} -n {p.aso_identity}",
            "role": assign_role(p.controlplane_group),
            "trust": (
                f"ISSUER=$(az aks show -g {p.controlplane_group} -n {p.controlplane_cluster} \\\n"
                "    -o tsv --query oidcIssuerProfile.issuerUrl)\n"
                f"az identity federated-credential create --name {p.aso_federated_credential} \\\n"
                f"    --identity-name {p.aso_identity} -g {p.controlplane_group} \\\n"
                f'    --issuer $ISSUER --subject "{SUBJECT}" \\\n'
                f'    --audiences "{identities.AUDIENCE}"'
            ),
            "namespace": f"kubectl create namespace {p.flux_namespace}",
            "secret": (
                f"kubectl create secret generic {p.aso_secret} -n {p.flux_namespace} \\\n"
                '    --from-literal=values.yaml="\n'
                '      azureSubscriptionID: $SUBID\n      azureTenantID: $TENANT\n      azureClientID: $CLIENT_ID"'
            ),
        }

    def _identity(self) -> Step:
        p = self.parameters
        return identities.ensure(self.session.azure, p.controlplane_group, p.aso_identity, p.location)

    def _role(self) -> Step:
        principal = self._known_identity()["properties"]["principalId"]
        return roles.ensure(
            self.session.azure, self.session.azure.group_id(self.parameters.controlplane_group), principal, ROLE
        )

    def _trust(self) -> Step:
        p = self.parameters
        self._known_identity()
        issuer = managed_clusters.issuer(self.cluster() or {"properties": {}})
        return identities.ensure_federated(
            self.session.azure, p.controlplane_group, p.aso_identity, p.aso_federated_credential, issuer, SUBJECT
        )

    def _namespace(self) -> Step:
        name = self.parameters.flux_namespace
        return self.session.hub.step("namespace", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def values(self) -> dict[str, str]:
        """The values of ASO's release that differ by subscription: identifiers, no credentials."""
        return {
            "azureSubscriptionID": self.session.azure.subscription_id,
            "azureTenantID": str(self.session.azure.subscription.tenant_id),
            "azureClientID": self._known_identity()["properties"]["clientId"],
        }

    def _secret(self) -> Step:
        p = self.parameters
        obj = secret(p.aso_secret, p.flux_namespace, {"values.yaml": yaml.safe_dump(self.values(), sort_keys=False)})
        return self.session.hub.step("secret", obj, compare=self._compare_secret)

    def _compare_secret(self, current: Object) -> list[str]:
        """Compare the parsed values, not their spelling; the lines name keys only."""
        stored, wanted = _values_of(current), self.values()
        return [
            f"values.yaml: {key} differs" for key in wanted if not isinstance(stored, dict) or stored.get(key) != wanted[key]
        ]

    def promises(self) -> Iterable[Check]:
        p, azure = self.parameters, self.session.azure
        identity, cluster = self.identity(), self.cluster()
        yield promise("the managed identity exists", identity is not None, p.aso_identity, AGAIN)
        if identity is None or cluster is None:
            return
        scope = azure.group_id(p.controlplane_group)
        found = roles.find(azure, scope, identity["properties"]["principalId"], ROLE)
        yield promise(f"it is {ROLE} of {p.controlplane_group}", found is not None, fix=AGAIN)
        yield from self._trust_kept(managed_clusters.issuer(cluster))
        yield self._secret_kept()
        if is_of_drill(self.service_account()):
            text = "ASO's Helm chart can create its service account"
            yield promise(text, False, "an interrupted drill has left one", AGAIN)

    def service_account(self) -> Object | None:
        """ASO's service account, or `None`: ASO's Helm chart creates it in notebook 03."""
        _, _, namespace, name = SUBJECT.split(":")
        return self.session.hub.get("v1", "ServiceAccount", name, namespace)

    def _trust_kept(self, issuer: str) -> Iterable[Check]:
        p = self.parameters
        found = identities.federated_credentials(self.session.azure, p.controlplane_group, p.aso_identity)
        credential = next((item for item in found if item["name"] == p.aso_federated_credential), found[0] if found else None)
        yield promise("it trusts a federated credential", credential is not None, p.aso_federated_credential, AGAIN)
        if credential is None:
            return
        wanted = {"issuer": issuer, "subject": SUBJECT, "audiences": [identities.AUDIENCE]}
        for key, value in wanted.items():
            actual = credential["properties"].get(key)
            evidence = str(actual) if actual == value else f"is {actual}, the cluster's tokens say {value}"
            yield promise(f"its {key} fits ASO's tokens", actual == value, evidence, AGAIN)

    def _secret_kept(self) -> Check:
        p = self.parameters
        found = self.session.hub.get("v1", "Secret", p.aso_secret, p.flux_namespace)
        if found is None:
            return promise(
                "the Secret is where the release looks for it", False, f"{p.flux_namespace}/{p.aso_secret} not found", AGAIN
            )
        wrong = self._compare_secret(found)
        return promise(
            "the Secret names this identity, tenant and subscription", not wrong, "; ".join(wrong) or "three identifiers", AGAIN
        )


def is_of_drill(obj: Object | None) -> bool:
    """Whether the object exists for a drill only."""
    return obj is not None and DRILL.items() <= (obj["metadata"].get("labels") or {}).items()


def _values_of(obj: Object) -> Any:
    try:
        return yaml.safe_load(base64.b64decode((obj.get("data") or {}).get("values.yaml", "")))
    except (yaml.YAMLError, ValueError):
        return None
