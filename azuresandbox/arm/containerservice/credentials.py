"""The kubeconfigs that AKS returns, filled from the report of the cluster's Kubernetes API.

Names are AKS's: context `<cluster>-admin` with user `clusterAdmin_<group>_<cluster>`, context `<cluster>` with user
`clusterUser_<group>_<cluster>`.
"""

from __future__ import annotations

import base64
from typing import Any

import yaml

from azuresandbox import fabric
from azuresandbox.arm.containerservice import errors, state
from azuresandbox.arm.records import Resource
from azuresandbox.context import Sandbox

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml takes a tenth of the time, where it is installed

ROLES = {"admin": ("clusterAdmin", "-admin"), "user": ("clusterUser", "")}
"""Credential -> (prefix of the user's name and name of the result, suffix of the context's name)."""


def results(sandbox: Sandbox, cluster: Resource, role: str) -> dict[str, Any]:
    """Return the body of listCluster{Admin,User}Credential. Raises `ArmError` while there are no credentials."""
    report = fabric.get_cluster_report(sandbox.store, state.cluster_id(cluster))
    material = report.credentials.get(role) if report else None
    if not material:
        raise errors.no_credentials_yet()
    text = yaml.dump(kubeconfig(sandbox, cluster, role, material), Dumper=_DUMPER, sort_keys=True)
    return {"kubeconfigs": [{"name": ROLES[role][0], "value": base64.b64encode(text.encode()).decode()}]}


def kubeconfig(sandbox: Sandbox, cluster: Resource, role: str, material: fabric.Credential) -> dict[str, Any]:
    """Return the kubeconfig of a role with the given credential."""
    name, group = str(cluster.document["name"]), cluster.id.group
    prefix, suffix = ROLES[role]
    user, context = f"{prefix}_{group}_{name}", f"{name}{suffix}"
    server = f"{sandbox.base}/clusters/{state.cluster_id(cluster)}"
    fields = {
        "client-certificate-data": _encoded(material.get("cert")),
        "client-key-data": _encoded(material.get("key")),
        "token": material.get("token"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": context,
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": _encoded(sandbox.ca_pem)}}],
        "contexts": [{"name": context, "context": {"cluster": name, "user": user}}],
        "users": [{"name": user, "user": {key: value for key, value in fields.items() if value}}],
    }


def _encoded(text: str | None) -> str:
    return base64.b64encode(text.encode()).decode() if text else ""
