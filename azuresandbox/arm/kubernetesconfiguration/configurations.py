"""Flux configurations of a cluster: the service writes them into the cluster, the agent of microsoft.flux reports on them."""

from __future__ import annotations

import asyncio

from azuresandbox import fabric
from azuresandbox.arm import models, records, reports
from azuresandbox.arm.errors import ArmError, resource_not_found
from azuresandbox.arm.kubernetesconfiguration import clusters, data, errors, extensions, flux
from azuresandbox.arm.operation_records import Operation
from azuresandbox.arm.provider import Document, Request, Work, Write, delete, put
from azuresandbox.arm.records import Resource
from azuresandbox.context import Sandbox

COMPLIANCE = {"Progressing": "Pending", "Succeeded": "Compliant", "Failed": "Non-Compliant", "Deleted": "Unknown"}
"""A report's state -> complianceState, where the agent's details do not have it."""


def prepare(write: Write) -> None:
    """Check a PUT or PATCH and complete the document."""
    cluster = clusters.ready(write)
    if write.request.method == "PATCH":
        body = models.normalized("flux.FluxConfigurationPatch", write.request.body)
        properties = flux.patched(_stored(write.before), body.get("properties") or {}, write.id.name)
    else:
        properties = flux.filled(write.properties, write.id.name)
    if write.current is not None:
        refusal = flux.unchangeable(properties, write.before)
        if refusal is not None:
            raise refusal
    _check_collision(write, cluster, properties)
    given = properties.get("configurationProtectedSettings") or {}
    write.private["secrets"] = {**write.private.get("secrets", {}), **{k: v for k, v in given.items() if v}}
    write.document["properties"] = flux.without_secrets(
        {**properties, "configurationProtectedSettings": write.private["secrets"]}
    )


def _stored(before: Document) -> Document:
    """Return the properties that the client wrote, without those that the service adds."""
    return {key: value for key, value in before.items() if key not in (*data.LIVE, "provisioningState")}


def _check_collision(write: Write, cluster: Resource, properties: Document) -> None:
    """Refuse kustomizations that would have the same name and namespace as those of another configuration."""
    mine = {f"{write.id.name}-{name}" for name in properties["kustomizations"]}
    for other in records.under(write.sandbox.store, cluster.id, f"{data.NAMESPACE}/fluxConfigurations"):
        if other.id.key == write.id.key or other.properties["namespace"] != properties["namespace"]:
            continue
        both = mine & {f"{other.id.name}-{name}" for name in other.properties["kustomizations"]}
        if both:
            raise errors.validation(
                f"Invalid kustomizations. The kustomization '{min(both)}' in namespace '{properties['namespace']}' belongs to "
                "the "
                f"configuration '{other.id.name}' already."
            )


def show(request: Request, configuration: Resource) -> Document:
    """Return the document with the agent's latest report."""
    details = _details(request.sandbox, configuration)
    return {**configuration.document, "properties": flux.live(configuration.properties, details)}


def _details(sandbox: Sandbox, configuration: Resource) -> Document:
    cluster = clusters.of(sandbox.store, configuration.id)
    if cluster is None:
        return {}
    name = clusters.name_in_fabric(cluster)
    report = fabric.get_report(sandbox.store, "flux", name, configuration.id.name.lower())
    if report is None:
        return {}
    if cluster.properties["powerState"]["code"] == "Stopped":
        return {**report.details, "complianceState": "Unknown"}
    failed = {"errorMessage": report.error["message"]} if report.error else {}
    return {"complianceState": COMPLIANCE.get(report.state), **failed, **report.details}


def busy(resource: Resource, operation: Operation) -> ArmError:
    return errors.busy("fluxConfiguration", resource.id.name, resource.state)


async def _put(work: Work) -> None:
    """Write the configuration's goal, and wait until the cluster's agent has observed it."""
    configuration, sandbox = work.resource(), work.sandbox
    cluster = clusters.of(sandbox.store, configuration.id)
    if cluster is None:
        raise resource_not_found(configuration.id.scope.label, configuration.id.group)
    await _flux_installed(work, cluster)
    goal = fabric.FluxConfigurationGoal(
        cluster_id=clusters.name_in_fabric(cluster),
        name=configuration.id.name.lower(),
        resource_id=str(configuration.id),
        properties=_stored(configuration.properties),
        secrets=configuration.private["secrets"],
    )
    revision = reports.ask(sandbox, goal)
    await sandbox.clock.work(data.DURATIONS["configuration create" if work.operation.creates else "configuration update"])
    waits = bool(configuration.properties.get("waitForReconciliation"))
    try:
        report = await reports.wait(
            sandbox,
            goal,
            revision,
            done=reports.settled if waits else reports.observed,
            patience=data.PATIENCE["configuration"],
        )
    except TimeoutError:
        raise errors.extension_refused(
            f"Timed out waiting for the agent in the cluster to apply the flux configuration '{configuration.id.name}'"
        ) from None
    if report is None:
        raise errors.extension_refused("The managed cluster was deleted while the configuration was being written")
    if waits and report.state == "Failed":
        raise errors.extension_refused(
            report.error["message"] if report.error else "The configuration did not become compliant"
        )


async def _flux_installed(work: Work, cluster: Resource) -> None:
    """Wait until microsoft.flux is installed. The wait is short unless its installation is in progress."""
    deadline = asyncio.create_task(_timer(work.sandbox))
    watch = work.sandbox.store.watch(records.PARTITION, cluster.id.key + "/")
    try:
        while True:
            extension = clusters.flux_extension(work.sandbox.store, cluster.id)
            if extension is not None and (
                extension.state == "Succeeded" or extension.properties.get("currentVersion") and extension.state == "Updating"
            ):
                return
            if deadline.done() and (extension is None or extension.state != "Creating"):
                raise errors.flux_not_installed()
            change = asyncio.ensure_future(anext(watch))
            await asyncio.wait({change} if deadline.done() else {change, deadline}, return_when=asyncio.FIRST_COMPLETED)
            change.cancel()
    finally:
        watch.close()
        deadline.cancel()


async def _timer(sandbox: Sandbox) -> None:
    await sandbox.clock.wait(data.PATIENCE["extension missing"])


async def _delete(work: Work) -> None:
    """Ask the agent to remove the configuration with the objects that it prunes, and wait."""
    await extensions.remove(work, "flux", work.resource())


PUT, DELETE = put(_put), delete(_delete)
