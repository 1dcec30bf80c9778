"""PUT of a managed cluster, and its actions: start, stop, abort, credentials."""

from __future__ import annotations

import copy
import uuid

from azuresandbox import directory
from azuresandbox.arm import access, models, operation_records, operations, records
from azuresandbox.arm.containerservice import credentials, data, defaults, errors, quota, rules, state, versions, work
from azuresandbox.arm.errors import ArmError, group_not_found, not_emulated, resource_not_found
from azuresandbox.arm.operation_records import Operation
from azuresandbox.arm.provider import Answer, Document, Handler, Request, Write
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resource_id import ResourceId

ASSIGN_IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"
"""The action that a caller needs on an identity to assign it to a cluster."""


def prepare(write: Write) -> None:
    """Check a PUT and complete the cluster's document; write its pools as records of their own. A PATCH changes tags only."""
    struck = write.sandbox.faults.take("operation-not-allowed", str(write.id))
    if struck is not None:
        raise errors.busy(struck.detail or "Updating")
    if write.request.method != "PATCH":
        _put(write)


def _put(write: Write) -> None:
    rules.cluster_name(write.id.name)
    wanted = models.without_nulls(write.document.get("properties") or {})
    before = write.before
    rules.emulated(wanted, data.NOT_EMULATED)
    _addons(wanted)
    if write.current is None:
        rules.dns_prefix(wanted)
    else:
        rules.immutable(wanted, before, rules.IMMUTABLE)
        if before["powerState"]["code"] == "Stopped":
            raise errors.stopped("updating")
    properties = defaults.cluster(wanted, write.current.properties if write.current else None)
    _shell(write)
    tier = write.document["sku"]["tier"]
    version = _version(write, wanted, properties, tier)
    _issuer(write, wanted, properties, version)
    pools = _pools(write, wanted, properties, version)
    quota.check(write, pools)
    _identity(write)  # no check may fail after this line, because it creates identities
    _fixed(write, properties)
    write.document["properties"] = properties
    write.private["version"] = version
    for pool in pools:
        records.put(write.sandbox.store, pool)


def _addons(wanted: Document) -> None:
    for name, addon in (wanted.get("addonProfiles") or {}).items():
        if addon.get("enabled"):
            raise not_emulated(f"the add-on {name}")


def _shell(write: Write) -> None:
    """Complete the members beside the properties: sku and kind."""
    current = write.current.document if write.current else {}
    sku = {"name": "Base", "tier": "Free", **(current.get("sku") or {}), **(write.document.get("sku") or {})}
    if sku["name"] not in ("Base", "Automatic") or sku["tier"] not in data.TIERS:
        raise errors.invalid("sku")
    if sku["name"] == "Automatic":
        raise not_emulated("AKS Automatic (sku Automatic)")
    write.document["sku"] = sku
    write.document["kind"] = "Base"


def _version(write: Write, wanted: Document, properties: Document, tier: str) -> str:
    """Return the full version of the control plane after this PUT."""
    location, name = write.document["location"], write.id.name
    asked = wanted.get("kubernetesVersion")
    plan = state.plan_of(properties, tier)
    if write.current is None:
        _strike_version(write, asked or versions.default(location))
        full = rules.version(location, name, asked or versions.default(location), properties["supportPlan"], tier)
        properties["kubernetesVersion"] = asked or full
        properties["currentKubernetesVersion"] = full
        return full
    current = str(write.current.private["version"])
    full = rules.upgrade(location, current, asked, plan) if asked else current
    if full != current:
        _strike_version(write, full)
        rules.skew((str(pool.private["version"]) for pool in state.pools(write.sandbox.store, write.id)), full)
    return full


def _strike_version(write: Write, version: str) -> None:
    """Raise K8sVersionNotSupported if the fault `version-unsupported` is armed for the cluster."""
    if write.sandbox.faults.take("version-unsupported", str(write.id)) is not None:
        raise errors.version_not_supported(version)


def _issuer(write: Write, wanted: Document, properties: Document, version: str) -> None:
    """Enable the OIDC issuer of new clusters of 1.34 and later, unless the request says otherwise."""
    if write.current is None and rules.at(wanted, "oidcIssuerProfile.enabled") is None:
        properties["oidcIssuerProfile"] = {"enabled": versions.parse(version) >= (1, 34, 0)}
    rules.issuer(properties, write.before or None)


def _identity(write: Write) -> None:
    """Complete the cluster's own identity: a new one in the directory, or an existing one that the request names."""
    identity = models.without_nulls(write.document.get("identity") or {})
    current = (write.current.document.get("identity") if write.current else None) or {}
    kind = identity.get("type") or current.get("type") or "None"
    if kind == "None":
        profile = rules.at(write.document, "properties.servicePrincipalProfile.clientId")
        if profile and profile != "msi":
            raise not_emulated("clusters with a service principal instead of a managed identity")
        raise errors.missing("servicePrincipalProfile")
    if kind not in ("SystemAssigned", "UserAssigned"):
        raise errors.invalid("identity.type")
    if kind == "UserAssigned":
        named = identity.get("userAssignedIdentities") or {}
        given = named or current.get("userAssignedIdentities") or {}
        write.document["identity"] = {"type": kind, "userAssignedIdentities": _assigned(write, given)}
        for identity_id in map(ResourceId, named):
            caller, action = write.request.caller, f"{data.CLUSTERS}/write"
            access.require_linked(write.sandbox.store, caller, action, write.id, ASSIGN_IDENTITY, identity_id)
    elif current.get("type") == "SystemAssigned":
        write.document["identity"] = current
    else:
        principal = _principal(write, write.id.name, str(write.id))
        write.document["identity"] = {"type": kind, "principalId": principal.object_id, "tenantId": write.sandbox.tenant_id}


def _assigned(write: Write, given: Document) -> Document:
    if len(given) != 1:
        raise errors.invalid("identity.userAssignedIdentities")
    (identity_id,) = given
    found = records.get(write.sandbox.store, identity_id)
    if found is None:
        name = ResourceId(identity_id)
        raise resource_not_found(name.label, name.group)
    return {identity_id: {key: found.properties[key] for key in ("principalId", "clientId")}}


def _principal(write: Write, name: str, resource_id: str) -> directory.Principal:
    principal = directory.Principal(str(uuid.uuid4()), str(uuid.uuid4()), name, "ManagedIdentity", resource_id)
    directory.put_principal(write.sandbox.store, principal)
    return principal


def _fixed(write: Write, properties: Document) -> None:
    """Complete the properties that AKS decides once: names, addresses, the kubelet's identity, the issuer's address."""
    before, name, location = write.before, write.id.name, write.document["location"]
    if write.current is None:
        properties["resourceUID"] = uuid.uuid4().hex[:24]
        properties.setdefault("nodeResourceGroup", defaults.node_resource_group(write.id.group, name, location))
        host = f"{properties['dnsPrefix']}-{defaults.fqdn_suffix(properties['resourceUID'])}".lower()
        properties["fqdn"] = f"{host}.hcp.{location}.azmk8s.io"
        properties["azurePortalFQDN"] = f"{host}.portal.hcp.{location}.azmk8s.io"
        properties["maxAgentPools"] = defaults.MAX_AGENT_POOLS
        properties["powerState"] = {"code": "Running"}
        _kubelet(write, properties)
    else:
        properties |= {key: copy.deepcopy(before[key]) for key in defaults.READ_ONLY if key in before}
    if properties["oidcIssuerProfile"]["enabled"]:
        properties["oidcIssuerProfile"]["issuerURL"] = f"{write.sandbox.base}/oidc/{properties['resourceUID']}/"


def _kubelet(write: Write, properties: Document) -> None:
    group_id = f"/subscriptions/{write.id.subscription}/resourcegroups/{properties['nodeResourceGroup']}"
    resource_id = f"{group_id}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{write.id.name}-agentpool"
    principal = _principal(write, f"{write.id.name}-agentpool", resource_id)
    defaults.identities(properties, group_id, write.id.name, principal.app_id, principal.object_id)


def _pools(write: Write, wanted: Document, properties: Document, version: str) -> list[Resource]:
    """Return the records of the pools that the PUT names, completed and checked. The other pools are left unchanged."""
    profiles = wanted.get("agentPoolProfiles")
    existing = {pool.document["name"]: pool for pool in state.pools(write.sandbox.store, write.id)}
    if not profiles and not existing:
        raise errors.missing("agentPoolProfiles")
    made = [pool_of(write, profile, existing.get(profile.get("name", "")), version) for profile in profiles or []]
    names = [one.document["name"] for one in made]
    if len(set(names)) != len(names):
        raise errors.invalid("agentPoolProfile.name")
    after = {**existing, **{one.document["name"]: one for one in made}}
    rules.system_pool([one.properties for one in after.values()])
    if any(one.properties["enableAutoScaling"] for one in after.values()):
        properties["autoScalerProfile"] = defaults.merged(defaults.AUTO_SCALER, properties.get("autoScalerProfile") or {})
    return made


def pool_of(write: Write, profile: Document, current: Resource | None, control_plane: str) -> Resource:
    """Return the record of a pool for one entry of `agentPoolProfiles`."""
    name = profile.get("name", "")
    given = {key: value for key, value in profile.items() if key not in ("name", "powerState")}
    resource_id = write.id.child("agentPools", name)
    document = current.document if current else {"id": str(resource_id), "name": name, "type": data.POOLS}
    version = complete_pool(write, document, given, current, control_plane, name)
    document["properties"]["provisioningState"] = "Creating" if current is None else "Updating"
    private = {**(current.private if current else {}), "version": version, "with_cluster": True}
    return Resource(resource_id, document, private)


def complete_pool(
    write: Write, document: Document, given: Document, current: Resource | None, control_plane: str, name: str
) -> str:
    """Write the completed and checked properties into the pool's document. Return its full version."""
    location = str(write.document.get("location") or _cluster_location(write))
    rules.emulated(given, data.POOL_NOT_EMULATED)
    if current is not None:
        rules.immutable(given, current.properties, rules.POOL_IMMUTABLE, "agentPoolProfile.")
    elif not given.get("vmSize"):
        given = {**given, "vmSize": quota.default_size(write, location, int(given.get("count") or 1))}
    properties = defaults.pool(given, current.properties if current else None, control_plane)
    if properties["osType"] != "Linux":
        raise not_emulated("Windows nodes")
    if properties["type"] != "VirtualMachineScaleSets":
        raise not_emulated(f"pools of type {properties['type']}")
    rules.pool(properties, name, write.id.subscription, location)
    asked = given.get("orchestratorVersion") or control_plane
    version = rules.pool_version(location, asked, current.private["version"] if current else None, control_plane)
    properties["orchestratorVersion"] = asked
    properties.setdefault("currentOrchestratorVersion", version)
    document["properties"] = properties
    return version


def _cluster_location(write: Write) -> str:
    cluster = state.cluster_of(write.sandbox.store, write.id)
    return cluster.location if cluster else ""


def show(request: Request, cluster: Resource) -> Document:
    """Return the document with its pools. The fault `cluster-deleted-out-of-band` deletes the cluster and raises its 404."""
    asked = request.method == "GET" and request.id.key == cluster.id.key
    if asked and request.sandbox.faults.take("cluster-deleted-out-of-band", str(request.id)) is not None:
        state.forget(request.sandbox, cluster)
        records.delete(request.sandbox.store, cluster.id)
        raise resource_not_found(request.id.label, request.id.group)
    return state.shown(request.sandbox.store, cluster)


def found(request: Request, resource_id: ResourceId | None = None) -> Resource:
    """Return the cluster that a request is about. Raises ResourceNotFound or ResourceGroupNotFound."""
    wanted = resource_id or request.id
    cluster = records.get(request.sandbox.store, wanted)
    if cluster is None and not records.group_exists(request.sandbox.store, wanted):
        raise group_not_found(wanted.group)
    if cluster is None:
        raise resource_not_found(wanted.label, wanted.group)
    return cluster


def busy(resource: Resource, operation: Operation) -> ArmError:
    """Return AKS's 409 for an operation that runs on the cluster or on one of its pools."""
    running = ResourceId(operation.resource_id)
    doing = {
        work.PUT_CLUSTER.name: "Creating" if operation.creates else "Updating",
        work.DELETE_CLUSTER.name: "Deleting",
        work.START_CLUSTER.name: "Starting",
        work.STOP_CLUSTER.name: "Stopping",
    }
    what = doing.get(operation.kind, "Updating")
    return errors.busy(f"{running.name} - {what}" if running.kind.lower().endswith("agentpools") else what)


async def start(request: Request) -> Answer:
    cluster = found(request)
    operations.check_idle(request, cluster)
    if cluster.properties["powerState"]["code"] == "Running":
        raise errors.not_stopped(cluster.state)
    return operations.accepted(operations.begin(request, work.START_CLUSTER, "Starting", resource=cluster))


async def stop(request: Request) -> Answer:
    cluster = found(request)
    operations.check_idle(request, cluster)
    if cluster.properties["powerState"]["code"] == "Stopped":
        raise errors.stopped("stopping")
    return operations.accepted(operations.begin(request, work.STOP_CLUSTER, "Stopping", resource=cluster))


async def abort(request: Request) -> Answer:
    """End the operations that run on the cluster and on its pools. Their resources become Canceled."""
    cluster, store = found(request), request.sandbox.store
    own = f"{data.NAMESPACE}/".lower()
    running = [o for o in operation_records.active(store, str(cluster.id)) if o.type.lower().startswith(own) and not o.deletes]
    if not running:
        raise errors.nothing_to_abort()
    for operation in running:
        operations.cancel(request.sandbox, operation)
    return Answer(204)


def credential(role: str) -> Handler:
    """Return the handler of listCluster{Admin,User}Credential."""

    async def handle(request: Request) -> Answer:
        cluster = found(request)
        if cluster.properties.get("disableLocalAccounts"):
            raise errors.local_accounts_disabled()
        return Answer(200, credentials.results(request.sandbox, cluster, role))

    return handle
