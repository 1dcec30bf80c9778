"""Azure Service Operator v2 (mcr.microsoft.com/k8s/azureserviceoperator): manages Azure resources by Kubernetes objects.

It reads its settings, installs the definitions, becomes leader, and reconciles. Source: `v2/cmd/controller` and
`v2/internal/config` of Azure/azure-service-operator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from azuresandbox.machine.client import ApiError
from azuresandbox.machine.controller import Controller, Informers, Key, key_of
from azuresandbox.machine.durations import seconds
from azuresandbox.machine.images.aso import crds
from azuresandbox.machine.images.aso.azure import Arm, Credential, Settings, Tokens
from azuresandbox.machine.images.aso.credentials import CREDENTIAL_FROM, Credentials
from azuresandbox.machine.images.aso.kinds import BY_CRD, Kind
from azuresandbox.machine.images.aso.leader import Leader
from azuresandbox.machine.images.aso.objects import POLICY
from azuresandbox.machine.images.aso.reconciler import POLICIES, Reconciler
from azuresandbox.machine.node.program import Pod, image
from azuresandbox.machine.objects import condition, is_established, is_ready
from azuresandbox.machine.types import Object

WATCHED_ANNOTATIONS = (POLICY, CREDENTIAL_FROM)
SYNC_PERIOD = "1h"


class Logger:
    """Writes log lines as ASO's klog does."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod

    def setup(self, message: str) -> None:
        self._write("I", "setup.go", message if message.startswith('"msg"') else f'"msg"="{message}"')

    def error(self, message: str, error: object) -> None:
        self._write("E", "setup.go", f'"msg"="{message}" "error"="{error}" "logger"="setup"')

    def about(self, message: str, obj: Object, **values: str) -> None:
        """Write a line about an object. With `error=`, its level is error."""
        metadata = obj["metadata"]
        fields = {**values, "name": metadata["name"], "namespace": metadata["namespace"]}
        name = obj["spec"].get("azureName")
        fields |= {"azureName": name} if name else {}
        shown = "".join(f' "{key}"="{_line(value)}"' for key, value in sorted(fields.items()))
        level = "E" if "error" in values else "I"
        text = f'"msg"="{message}" "logger"="controllers.{obj["kind"]}Controller"{shown}'
        self._write(level, "azure_generic_arm_reconciler_instance.go", text)

    def _write(self, level: str, source: str, text: str) -> None:
        now = self._pod.clock.now()
        self._pod.log(f"{level}{now:%m%d %H:%M:%S.%f}       1 {source}] {text}")


def _line(text: str) -> str:
    return text.replace("\n", "\\n").replace('"', '\\"')


class ConfigError(Exception):
    """The operator's settings are unusable, so that it exits."""


@image("mcr.microsoft.com/k8s/azureserviceoperator")
async def run(pod: Pod) -> None:
    """Run ASO's container."""
    log = Logger(pod)
    version = pod.image.rpartition(":")[2] if ":" in pod.image.rpartition("/")[2] else "v2"
    log.setup(f"Launching with flags crd-pattern={pod.flag('crd-pattern')} version={version}")
    sync, policy = _sync_period(pod), _default_policy(pod)
    await _install(pod, log, version)
    settings = Settings(
        pod.env.get("AZURE_AUTHORITY_HOST") or Settings.authority,
        pod.env.get("AZURE_RESOURCE_MANAGER_ENDPOINT") or Settings.endpoint,
        pod.env.get("AZURE_RESOURCE_MANAGER_AUDIENCE") or Settings.audience,
    )
    pod.ready(True)
    namespace = pod.env.get("POD_NAMESPACE") or pod.namespace
    leader = Leader(pod.kube, pod.clock, namespace, pod.name, log.setup)
    await leader.acquire()
    tokens = Tokens(pod.wire, pod.clock, pod.files, settings)
    agent = f"aso-controller/{version}" + (f" {suffix}" if (suffix := pod.env.get("AZURE_USER_AGENT_SUFFIX")) else "")

    def connect(credential: Credential) -> Arm:
        return Arm(pod.wire, pod.clock, tokens, settings, credential, agent, log.setup)

    reconciler = Reconciler(
        pod.kube,
        pod.clock,
        Credentials(pod.kube, pod.env, namespace),
        connect,
        namespace=namespace,
        version=version,
        sync_period=sync,
        default_policy=policy,
        log=log.about,
    )
    kinds = [BY_CRD[name] for name in await crds.installed(pod.kube) if name in BY_CRD]
    await _work(pod, log, leader, reconciler, kinds)


async def _install(pod: Pod, log: Logger, version: str) -> None:
    """Install the definitions, unless `--crd-management=none`. Raises `CrdError`, `ApiError`."""
    if pod.flag("crd-management", "auto") == "none":
        log.setup("CRD management mode was set to 'none', the operator will not manage CRDs")
        return
    try:
        await crds.install(pod.kube, pod.flag("crd-pattern"), version, log.setup)
        await _established(pod)
    except (crds.CrdError, ApiError) as error:
        log.error("failed to apply CRDs", error)
        raise


async def _established(pod: Pod) -> None:
    while not all(is_established(crd) for crd in (await crds.installed(pod.kube)).values()):
        await pod.clock.wait(1)
    pod.kube.forget_mappings()


async def _work(pod: Pod, log: Logger, leader: Leader, reconciler: Reconciler, kinds: list[Kind]) -> None:
    informers = Informers(pod.kube, pod.clock, log.setup)
    controller = Controller("aso", informers, pod.clock, log.setup, workers=8, backoff=(1.0, 60.0))
    namespaces = {name for name in pod.env.get("AZURE_TARGET_NAMESPACES", "").split(",") if name}
    caches = [informers.cache(kind.api_version, kind.kind) for kind in kinds]
    changed = _listener(controller.queue.add, reconciler, namespaces, lambda: [obj for c in caches for obj in c.list()])
    for cache in caches:
        cache.listeners.append(changed)
        for obj in cache.list():
            changed(obj, None)
    for kind in kinds:
        log.setup(f'"msg"="Starting Controller" "controller"="{kind.kind}Controller" "controllerGroup"="{kind.group}"')
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(leader.hold())
            group.create_task(controller.run(reconciler.reconcile))
    finally:
        await informers.stop()


def _listener(
    add: Callable[[Key], None], reconciler: Reconciler, namespaces: set[str], everything: Callable[[], list[Object]]
) -> Callable[[Object, Object | None], None]:
    """Return a listener that queues objects whose generation or ASO annotations changed, or whose owner became ready."""

    def changed(obj: Object, old: Object | None) -> None:
        metadata = obj["metadata"]
        if namespaces and metadata["namespace"] not in namespaces:
            return
        if old is None or _differs(obj, old, reconciler.writer.own_generations.get(metadata["uid"])):
            add(key_of(obj))
        if is_ready(obj) and (old is None or not is_ready(old)):
            for child in everything():
                if _waits_for(child, obj):
                    add(key_of(child))

    return changed


def _differs(obj: Object, old: Object, own_generation: int | None) -> bool:
    new, before = obj["metadata"], old["metadata"]
    if ("deletionTimestamp" in new) != ("deletionTimestamp" in before):
        return True
    if new.get("generation") != before.get("generation") and new.get("generation") != own_generation:
        return True
    ours, theirs = new.get("annotations") or {}, before.get("annotations") or {}
    return any(ours.get(name) != theirs.get(name) for name in WATCHED_ANNOTATIONS)


def _waits_for(child: Object, owner: Object) -> bool:
    ready = condition(child, "Ready")
    return (
        ready is not None
        and ready["reason"] == "WaitingForOwner"
        and child["metadata"]["namespace"] == owner["metadata"]["namespace"]
        and (child["spec"].get("owner") or {}).get("name") == owner["metadata"]["name"]
    )


def _sync_period(pod: Pod) -> float:
    text = pod.env.get("AZURE_SYNC_PERIOD") or SYNC_PERIOD
    if text == "never":
        return 0.0
    try:
        return seconds(text)
    except ValueError as error:
        raise ConfigError(f'parsing "AZURE_SYNC_PERIOD": {error}') from None


def _default_policy(pod: Pod) -> str:
    text = pod.env.get("DEFAULT_RECONCILE_POLICY") or "manage"
    if text not in POLICIES:
        raise ConfigError(f'parsing "DEFAULT_RECONCILE_POLICY": "{text}" is not a known reconcile policy')
    return text
