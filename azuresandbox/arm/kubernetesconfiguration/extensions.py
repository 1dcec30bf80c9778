"""Extensions of a cluster: microsoft.flux is installed in the cluster, other types are refused by name."""

from __future__ import annotations

import copy

from azuresandbox import fabric
from azuresandbox.arm import models, operation_records, records, reports
from azuresandbox.arm.errors import ArmError, not_emulated, resource_not_found
from azuresandbox.arm.kubernetesconfiguration import clusters, data, errors, flux
from azuresandbox.arm.operation_records import Operation
from azuresandbox.arm.provider import Answer, Document, Request, Work, Write, delete, put
from azuresandbox.arm.records import Resource

READ_ONLY = frozenset(
    (
        "provisioningState",
        "statuses",
        "errorInfo",
        "currentVersion",
        "customLocationSettings",
        "packageUri",
        "isSystemExtension",
        "aksAssignedIdentity",
    )
)


def prepare(write: Write) -> None:
    """Check a PUT or PATCH and complete the document."""
    cluster = clusters.ready(write)
    if write.request.method == "PATCH":
        body = models.normalized("extensions.PatchExtension", write.request.body)
        wanted = flux.merged(write.before, body.get("properties") or {})
    else:
        wanted = {key: value for key, value in models.without_nulls(write.properties).items() if key not in READ_ONLY}
        # `identity` is for Arc clusters; on AKS it is accepted and has no effect (as ASO's sample for AKS shows).
        write.document.pop("identity", None)
    properties = {**copy.deepcopy(data.EXTENSION), **wanted}
    _check_type(write, cluster, properties)
    version = _version(properties)
    write.private["secrets"] = properties.get("configurationProtectedSettings") or write.private.get("secrets", {})
    properties["configurationProtectedSettings"] = dict.fromkeys(write.private["secrets"], "")
    properties["currentVersion"] = write.before.get("currentVersion", version)
    properties["aksAssignedIdentity"] = {"type": "SystemAssigned"}
    write.document["properties"] = properties
    write.private["version"] = version


def _check_type(write: Write, cluster: Resource, properties: Document) -> None:
    kind = str(properties.get("extensionType") or "").lower()
    if kind in data.NOT_EMULATED:
        raise not_emulated(f"the extension type {kind} (it emulates {data.FLUX})")
    if kind != data.FLUX:
        raise errors.type_not_found(str(properties.get("extensionType") or ""))
    if write.current is not None and kind != str(write.before["extensionType"]).lower():
        raise errors.validation("The extensionType of an extension cannot be changed.")
    installed = clusters.flux_extension(write.sandbox.store, cluster.id)
    if installed is not None and installed.id.key != write.id.key:
        raise errors.type_already_installed(kind, installed.id.name)
    if cluster.properties.get("servicePrincipalProfile", {}).get("clientId") != "msi":
        raise errors.service_principal_cluster()
    scope = properties["scope"]
    if "namespace" in scope or "cluster" not in scope:
        raise errors.extension_refused(f"The extension type {data.FLUX} can only be installed at the scope 'cluster'")
    scope["cluster"] = {"releaseNamespace": "flux-system", **(scope["cluster"] or {})}


def _version(properties: Document) -> str:
    """Return the version to install: the pinned one, or the newest of the release train."""
    pinned = properties.get("version")
    if pinned is None:
        return data.FLUX_RELEASES[-1]
    if properties["autoUpgradeMinorVersion"]:
        raise errors.validation("Invalid version. A version can only be given when autoUpgradeMinorVersion is false.")
    if pinned not in data.FLUX_RELEASES:
        raise errors.version_not_found(data.FLUX, pinned, data.FLUX_RELEASES)
    return str(pinned)


def busy(resource: Resource, operation: Operation) -> ArmError:
    return errors.busy("extension", resource.id.name, resource.state)


async def _put(work: Work) -> None:
    """Install the extension in the cluster, or update its settings there."""
    extension = work.resource()
    cluster = clusters.of(work.sandbox.store, extension.id)
    if cluster is None:
        raise resource_not_found(extension.id.scope.label, extension.id.group)
    kind = "Create" if work.operation.creates else "Update"
    try:
        await _install(work, cluster, extension, kind)
    except ArmError as error:
        body = error.body()
        work.update(lambda found: found.properties.update(errorInfo=body))
        raise
    work.update(_installed)


async def _install(work: Work, cluster: Resource, extension: Resource, kind: str) -> None:
    sandbox = work.sandbox
    struck = sandbox.faults.take("extension-failed", str(extension.id))
    await sandbox.clock.work(data.DURATIONS[f"extension {kind.lower()}"])
    if struck is not None:
        raise errors.extension_failed(struck.detail or errors.NOT_READY, kind)
    goal = fabric.ExtensionGoal(
        cluster_id=clusters.name_in_fabric(cluster),
        name=extension.id.name.lower(),
        resource_id=str(extension.id),
        extension_type=data.FLUX,
        version=extension.private["version"],
        release_namespace=extension.properties["scope"]["cluster"]["releaseNamespace"],
        settings={**extension.properties["configurationSettings"], **extension.private["secrets"]},
    )
    revision = reports.ask(sandbox, goal)
    try:
        report = await reports.wait(sandbox, goal, revision, patience=data.PATIENCE["extension"])
    except TimeoutError:
        raise errors.extension_failed(errors.NOT_READY, kind) from None
    if report is None:
        raise errors.extension_refused("The managed cluster was deleted while the extension was being installed")
    if report.state == "Failed":
        raise errors.extension_failed(report.error["message"] if report.error else errors.NOT_READY, kind)


def _installed(extension: Resource) -> None:
    extension.properties["currentVersion"] = extension.private["version"]
    extension.properties.pop("errorInfo", None)


def check_delete(request: Request, resource: Resource) -> Document:
    """Return the runner's input: `forceDelete` means not to wait for the cluster."""
    return {"force": request.query.get("forcedelete", "").lower() == "true"}


async def _delete(work: Work) -> None:
    """Uninstall the extension, after the configurations that are being deleted, which need its agent.

    Other configurations stay, as in Azure.
    """
    extension = work.resource()
    await _configurations_gone(work, extension)
    await remove(work, "extension", extension)


async def _configurations_gone(work: Work, extension: Resource) -> None:
    store = work.sandbox.store
    watch = store.watch(records.PARTITION, "op/")
    try:
        while any(_deletes_configuration(one) for one in operation_records.active(store, str(extension.id.scope))):
            await anext(watch)
    finally:
        watch.close()


def _deletes_configuration(operation: Operation) -> bool:
    return operation.deletes and operation.type.lower() == f"{data.NAMESPACE}/fluxConfigurations".lower()


async def remove(work: Work, kind: str, resource: Resource) -> None:
    """Ask the cluster to remove the objects of a goal, and wait; with forceDelete do not wait long."""
    sandbox, cluster = work.sandbox, clusters.of(work.sandbox.store, resource.id)
    goal = None
    if cluster is not None:
        goal = fabric.get_goal(sandbox.store, kind, clusters.name_in_fabric(cluster), resource.id.name.lower())
    if goal is None:
        return
    if kind == "flux" and cluster is not None and clusters.flux_extension(sandbox.store, cluster.id) is None:
        fabric.drop(sandbox.store, goal)  # no agent is left that could remove objects
        return
    goal.deleted = True
    revision = fabric.put_goal(sandbox.store, goal)
    forced = bool(work.operation.input.get("force"))
    await sandbox.clock.work(data.DURATIONS[f"{'configuration' if kind == 'flux' else kind} delete"])
    try:
        await reports.wait(sandbox, goal, revision, patience=data.PATIENCE["forced"] if forced else data.PATIENCE["delete"])
    except TimeoutError:
        if not forced:
            goal.deleted = False
            fabric.put_goal(sandbox.store, goal)
            raise errors.extension_refused(f"Timed out waiting for the cluster to remove '{resource.id.name}'") from None
    fabric.drop(sandbox.store, goal)


async def operation_status(request: Request) -> Answer:
    """Answer `{extensions,fluxConfigurations}/{name}/operations/{id}`: the same as `Azure-AsyncOperation`."""
    found = operation_records.get(request.sandbox.store, request.id.name)
    if found is None or found.resource_id.lower() != request.id.parent.key:
        raise errors.operation_not_found(request.id.name)
    return Answer(200, found.body())


PUT, DELETE = put(_put), delete(_delete)
