"""Ask a sandbox every operation of the management clients that fleetlib uses, and write the answers into docs/sandbox.md.

    python tools/coverage_table.py

The operations are read from the installed azure-mgmt packages (method, URL template and api-version of each request builder).
Each is sent once, by its own URL and api-version, to a fresh sandbox that holds one resource of each kind. An operation is
emulated, or refused by name (501); an operation that is absent in any other way is an error. `tests/arm/test_coverage.py`
fails when the table is outdated.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import ssl
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azuresandbox import lifecycle
from azuresandbox.lifecycle import Endpoint

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "sandbox.md"
TYPES = ROOT / "azuresandbox" / "arm" / "data" / "types.json"
"""The resource types of the operations, so that the sandbox can refuse those by name that it does not emulate."""

BEGIN, END = "<!-- coverage: begin (tools/coverage_table.py) -->", "<!-- coverage: end -->"

CLIENTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("ContainerService", "azure.mgmt.containerservice.operations", ()),
    ("ManagedIdentity", "azure.mgmt.msi.v2024_11_30.operations", ()),
    ("Authorization", "azure.mgmt.authorization.v2022_04_01.operations", ()),
    ("KubernetesConfiguration, extensions", "azure.mgmt.kubernetesconfiguration.extensions.operations", ()),
    ("KubernetesConfiguration, Flux", "azure.mgmt.kubernetesconfiguration.fluxconfigurations.operations", ()),
    ("Resources", "azure.mgmt.resource.resources.operations", ()),
    ("Subscriptions", "azure.mgmt.resource.subscriptions.operations", ()),
    ("Resource Graph", "azure.mgmt.resourcegraph.operations", ()),
    ("Compute", "azure.mgmt.compute.operations", ("usage", "resource_skus", "virtual_machine_sizes")),
)
"""Title, package of the client's operations, and the groups that the table names; () for all of them."""

ABSENT = frozenset(
    (
        "InvalidResourceType",
        "InvalidResourceNamespace",
        "MethodNotAllowed",
        "NoRegisteredProviderFound",
        "InvalidApiVersionParameter",
        "InternalServerError",
        "NotFound",
    )
)
"""Codes that say that an operation of Azure's does not exist; no answer may have one."""

GROUP, CLUSTER, POOL, IDENTITY = "rg", "one", "pool", "who"
NAMES = {
    "resourceGroupName": GROUP,
    "sourceResourceGroupName": GROUP,
    "agentPoolName": POOL,
    "location": "eastus2",
    "clusterRp": "Microsoft.ContainerService",
    "clusterResourceName": "managedClusters",
    "clusterName": CLUSTER,
    "roleName": "clusterUser",
    "resourceProviderNamespace": "Microsoft.ManagedIdentity",
    "resourceType": "userAssignedIdentities",
    "parentResourcePath": "",
    "federatedIdentityCredentialResourceName": "fic",
    "extensionName": "flux",
    "fluxConfigurationName": "config",
}
"""Values of placeholders; others get a GUID that no resource has."""

NOTHING = "00000000-0000-4000-8000-000000000000"
VERSION_OF_IDENTITIES = "2024-11-30"


@dataclass(frozen=True, order=True)
class Operation:
    """`client` and `name` as Python spells them: `agent_pools.get`."""

    client: str
    name: str
    method: str
    url: str
    version: str

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Answer:
    status: int
    code: str
    message: str

    @property
    def verdict(self) -> str:
        """`emulated`, `refused` or `absent`."""
        if self.status == 501:
            return "refused"
        return "absent" if self.code in ABSENT or self.status >= 500 else "emulated"


def operations() -> list[Operation]:
    """Return every operation of every client, in the order of the packages."""
    return [found for title, package, _ in CLIENTS for found in _operations(title, package)]


def _operations(title: str, package: str) -> Iterator[Operation]:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    for path in sorted(Path(spec.submodule_search_locations[0]).glob("*_operations.py")):
        tree = ast.parse(path.read_text())
        groups = sorted(_groups(tree), key=len, reverse=True)
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and (match := re.fullmatch(r"build_(.+)_request", node.name)):
                yield _read(title, _name(match[1], groups), node)


def _groups(tree: ast.Module) -> Iterator[str]:
    """Yield the operation groups of a module: `AgentPoolsOperations` is `agent_pools`, `Operations` is `operations`."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "Operations":
            yield "operations"
        elif isinstance(node, ast.ClassDef) and (match := re.fullmatch(r"_?(\w+?)(Operations(Mixin)?)", node.name)):
            yield re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", match[1]).lower()


def _name(builder: str, groups: list[str]) -> str:
    """Return the operation's name. In a module of all groups a builder's name starts with its group's name, elsewhere not."""
    for group in groups:
        if builder.startswith(group + "_"):
            return f"{group}.{builder[len(group) + 1 :]}"
    return f"{groups[0]}.{builder}" if groups else builder


def _read(title: str, name: str, node: ast.FunctionDef) -> Operation:
    """Return method, URL template and default api-version of a request builder."""
    method = url = version = ""
    for part in ast.walk(node):
        if isinstance(part, ast.Call):
            given = [argument.value for argument in part.args if isinstance(argument, ast.Constant)]
            method = next(
                (str(k.value.value) for k in part.keywords if k.arg == "method" and isinstance(k.value, ast.Constant)), method
            )
            version = str(given[1]) if len(given) > 1 and given[0] == "api-version" else version
            url = str(given[1]) if len(given) > 1 and given[0] == "template_url" else url
        elif isinstance(part, ast.Assign | ast.AnnAssign) and isinstance(part.value, ast.Constant):
            target = part.targets[0] if isinstance(part, ast.Assign) else part.target
            url = str(part.value.value) if isinstance(target, ast.Name) and target.id == "_url" else url
    return Operation(title, name, method, url.partition("?")[0], version)


def types() -> dict[str, list[str]]:
    """Return namespace -> its types, as in the URL templates: every second segment after the last `providers`."""
    found: dict[str, set[str]] = {}
    for operation in operations():
        _, _, tail = operation.url.rpartition("/providers/")
        namespace, *rest = tail.strip("/").split("/")
        if tail and namespace.startswith("Microsoft.") and rest:
            action = operation.method == "POST" and len(rest) % 2 == 1 and len(rest) > 1
            found.setdefault(namespace, set()).add("/".join(rest[: len(rest) - action : 2]))
    return {namespace: sorted(found[namespace]) for namespace in sorted(found)}


def rendered_types() -> str:
    return json.dumps(types(), indent=0) + "\n"


class Sandbox:
    """A sandbox with one resource of each kind, and requests as the operator."""

    def __init__(self, where: Endpoint) -> None:
        self._where = where
        self._context = ssl.create_default_context(cafile=str(where.ca_file))
        self._subscription = f"/subscriptions/{where.subscription_id}"
        form = {
            "grant_type": "client_credentials",
            "client_id": where.client_id,
            "client_secret": where.client_secret,
            "scope": f"{where.base}/.default",
        }
        data = urllib.parse.urlencode(form).encode()
        token = self._open(urllib.request.Request(f"{where.base}/{where.tenant_id}/oauth2/v2.0/token", data))[1]
        self._headers = {"authorization": f"Bearer {json.loads(token)['access_token']}", "content-type": "application/json"}
        self._fill()

    def _open(self, request: urllib.request.Request) -> tuple[int, bytes]:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context)
        )
        try:
            with opener.open(request, timeout=60) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def send(self, method: str, path: str, version: str, body: Any = None) -> Answer:
        data = None if method in ("GET", "HEAD", "DELETE") else json.dumps(body or {}).encode()
        url = f"{self._where.base}{urllib.parse.quote(path)}?api-version={version}"
        status, content = self._open(urllib.request.Request(url, data, self._headers, method=method))
        error = json.loads(content).get("error", {}) if status >= 400 and content else {}
        return Answer(status, str(error.get("code", "")), str(error.get("message", "")))

    def _fill(self) -> None:
        group = f"{self._subscription}/resourceGroups/{GROUP}"
        identity = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{IDENTITY}"
        place: dict[str, Any] = {"location": "eastus2"}
        pool = {"name": POOL, "mode": "System", "count": 1}
        cluster = {
            **place,
            "identity": {"type": "SystemAssigned"},
            "properties": {"dnsPrefix": "one", "agentPoolProfiles": [pool]},
        }
        trust = {"properties": {"issuer": "https://example.org", "subject": "a", "audiences": ["b"]}}
        for method, path, version, body in (
            *(
                ("POST", f"{self._subscription}/providers/Microsoft.{name}/register", "2021-04-01", None)
                for name in ("ContainerService", "ManagedIdentity", "Compute", "KubernetesConfiguration")
            ),
            ("PUT", group, "2021-04-01", place),
            ("PUT", identity, "2024-11-30", place),
            ("PUT", f"{identity}/federatedIdentityCredentials/fic", "2024-11-30", trust),
            ("PUT", f"{group}/providers/Microsoft.ContainerService/managedClusters/{CLUSTER}", "2026-08-01", cluster),
        ):
            answer = self.send(method, path, version, body)
            assert answer.status < 300, (path, answer)

    def ask(self, operation: Operation) -> Answer:
        """Return the answer to the operation.

        The resource that it would delete or overwrite does not exist, so one sandbox serves all.
        """
        return self.send(operation.method, path(operation, self._where.subscription_id), version(operation))


def version(operation: Operation) -> str:
    """Return the api-version to send: operations on resources of any type take that of the type."""
    return operation.version or VERSION_OF_IDENTITIES


def path(operation: Operation, subscription_id: str) -> str:
    """Return the operation's path with a value for each placeholder."""
    filled = re.sub(r"\{(\w+)\}", lambda match: _value(operation, match[1], subscription_id), operation.url)
    return re.sub("/{2,}", "/", filled)


def _value(operation: Operation, name: str, subscription_id: str) -> str:
    subscription = f"/subscriptions/{subscription_id}"
    group = f"{subscription}/resourceGroups/{GROUP}"
    leaf = operation.url.endswith(f"{{{name}}}")
    of_clusters = "/managedClusters/" in operation.url or operation.client == "ContainerService"
    match name:
        case "subscriptionId":
            return subscription_id
        case "scope":
            return group.lstrip("/")
        case "resourceId":
            identity = NOTHING if operation.method == "DELETE" else IDENTITY
            return f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{identity}"
        case "roleAssignmentId" | "denyAssignmentId" | "roleId" if operation.url.count("/") == 1:
            kind = {"roleAssignmentId": "roleAssignments", "denyAssignmentId": "denyAssignments", "roleId": "roleDefinitions"}[
                name
            ]
            return f"{subscription}/providers/Microsoft.Authorization/{kind}/{NOTHING}"
        case _ if leaf and operation.method == "DELETE":
            return NOTHING
        case "resourceName":
            return CLUSTER if of_clusters else IDENTITY
    return NAMES.get(name, NOTHING)


def answers(where: Endpoint) -> dict[Operation, Answer]:
    """Return the sandbox's answer to every operation, reads first."""
    sandbox = Sandbox(where)
    order = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE")
    return {found: sandbox.ask(found) for found in sorted(operations(), key=lambda found: order.index(found.method))}


def absent(found: dict[Operation, Answer]) -> list[tuple[Operation, Answer]]:
    """Return the operations that are neither emulated nor refused by name."""
    return [(operation, answer) for operation, answer in found.items() if answer.verdict == "absent"]


def render(found: dict[Operation, Answer]) -> str:
    """Return the section of docs/sandbox.md between the marks."""
    lines = ["| client, api-version | operations | emulated | refused by name (501) |", "|---|---|---|---|"]
    rest = ""
    for title, _, named in CLIENTS:
        own = sorted(operation for operation in found if operation.client == title)
        shown = [operation for operation in own if not named or operation.group in named]
        versions = ", ".join(sorted({operation.version for operation in shown if operation.version}))
        cells = (_cell(op for op in shown if found[op].verdict == verdict) for verdict in ("emulated", "refused"))
        lines.append(f"| {title} {versions} | {len(shown)} | {' | '.join(cells)} |")
        if named:
            others = [operation for operation in own if operation not in shown]
            rest += f"\nThe other {len(others)} operations of the {title} client are refused by name, too."
    return "\n".join((*lines, rest.rstrip())) if rest else "\n".join(lines)


def _cell(found: Iterable[Operation]) -> str:
    groups: dict[str, list[str]] = {}
    for operation in found:
        group, _, name = operation.name.partition(".")
        groups.setdefault(group, []).append(name)
    return "; ".join(f"`{group}`: {', '.join(sorted(set(names)))}" for group, names in sorted(groups.items())) or "-"


def replaced(document: str, section: str) -> str:
    """Return the document with the section between the marks replaced."""
    before, _, after = document.partition(BEGIN)
    return f"{before}{BEGIN}\n{section}\n{END}{after.partition(END)[2]}"


if __name__ == "__main__":
    TYPES.write_text(rendered_types())
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "sandbox"
        try:
            asked = answers(lifecycle.up(state))
        finally:
            lifecycle.down(state)
    if missing := absent(asked):
        sys.exit(
            "\n".join(f"{found.client} {found.name}: {found.method} {found.url}\n    {answer}" for found, answer in missing)
        )
    DOCUMENT.write_text(replaced(DOCUMENT.read_text(), render(asked)))
    print(f"{DOCUMENT}: {len(asked)} operations")
