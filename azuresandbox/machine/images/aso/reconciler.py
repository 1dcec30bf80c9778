"""ASO's reconciliation of one object with Azure: claim, send, watch the operation, copy the state, delete.

Source: `v2/internal/reconcilers/{generic,arm}` of Azure/azure-service-operator, with its reasons, severities, messages and
retry intervals. One difference: an object that waits for its owner is reconciled as soon as the owner is ready, not only after
its backoff.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable

from azuresandbox import trees
from azuresandbox.clock import Clock
from azuresandbox.machine.client import KubeClient
from azuresandbox.machine.controller import Key
from azuresandbox.machine.images.aso import convert, objects
from azuresandbox.machine.images.aso.azure import FAST, SLOW, Answer, Arm, AzureError, Credential, CredentialError, ReadyError
from azuresandbox.machine.images.aso.credentials import Credentials
from azuresandbox.machine.images.aso.kinds import KINDS, Kind
from azuresandbox.machine.images.aso.objects import FINALIZER, POLL_ID, POLL_TOKEN, Writer, annotations_of, set_ready
from azuresandbox.machine.images.aso.references import References, owner_reference
from azuresandbox.machine.types import Object
from azuresandbox.wire import Unreachable

POLICIES = ("manage", "skip", "detach-on-delete")
CREATE_POLLER, DELETE_POLLER = "GenericClient.CreateOrUpdate", "GenericClient.DeleteByID"
LONGEST = {FAST: 30.0, SLOW: 180.0}
SETTLED_STATES = ("succeeded", "failed", "canceled")


class Reconciler:
    """Reconciles ASO's objects. `connect`: returns the client of ARM for a credential; `sync_period`: seconds, 0 for never."""

    def __init__(
        self,
        kube: KubeClient,
        clock: Clock,
        credentials: Credentials,
        connect: Callable[[Credential], Arm],
        *,
        namespace: str,
        version: str,
        sync_period: float,
        default_policy: str,
        log: Callable[..., None],
    ) -> None:
        self._kube, self._clock, self._credentials, self._connect = kube, clock, credentials, connect
        self._namespace, self._version, self._sync = namespace, version, sync_period
        self._default_policy, self._log = default_policy, log
        self.writer = Writer(kube, clock, "aso")
        self._failures: dict[Key, int] = {}
        self._announced: set[tuple[str, str]] = set()

    async def reconcile(self, key: Key) -> float | None:
        """Reconcile one object. Returns the seconds until it is reconciled again, or `None`."""
        kind = next(kind for kind in KINDS if kind.kind == key.kind)
        obj = await self._kube.find(kind.api_version, kind.kind, key.name, key.namespace)
        if obj is None:
            self._failures.pop(key, None)
            return None
        turn = _Turn(self, kind, {**obj, "apiVersion": kind.api_version, "kind": kind.kind})
        try:
            after = await (turn.remove() if "deletionTimestamp" in obj["metadata"] else turn.manage())
        except ReadyError as error:
            return await self._failed(key, turn, error)
        except (CredentialError, Unreachable) as error:
            return await self._failed(key, turn, ReadyError("Warning", "UnknownError", str(error)))
        self._failures.pop(key, None)
        return after

    async def _failed(self, key: Key, turn: _Turn, error: ReadyError) -> float | None:
        """Report the error in the Ready condition. Returns the seconds until a retry, or `None` for a fatal error."""
        turn.log("Encountered error impacting Ready condition", error=str(error), severity=error.severity, reason=error.reason)
        await turn.show("False", error.severity, error.reason, str(error))
        action = "DeleteActionError" if "deletionTimestamp" in turn.obj["metadata"] else "CreateOrUpdateActionError"
        await self.writer.event(turn.obj, "Warning", action, str(error))
        if error.severity == "Error":
            self._failures.pop(key, None)
            return None
        count = self._failures[key] = self._failures.get(key, 0) + 1
        return float(min(2.0 ** (count - 1), LONGEST[error.retry]))

    def sync_after(self, obj: Object) -> float | None:
        """Return the seconds until a settled object is compared with Azure again: the sync period, up to 25% more or less."""
        if not self._sync:
            return None
        spread = zlib.crc32(obj["metadata"]["uid"].encode()) / 0xFFFFFFFF
        return self._sync * (0.75 + 0.5 * spread)

    async def policy(self, obj: Object) -> str:
        """Return the reconcile policy: the object's, its namespace's or the operator's. An unknown one counts as unset."""
        chosen = obj["metadata"].get("annotations", {}).get(objects.POLICY, "")
        if not chosen:
            namespace = await self._kube.find("v1", "Namespace", obj["metadata"]["namespace"]) or {"metadata": {}}
            chosen = namespace["metadata"].get("annotations", {}).get(objects.POLICY, "")
        if chosen and chosen not in POLICIES:
            self._log("failed to get reconcile policy. Applying default policy instead", obj, policyAnnotation=chosen)
            chosen = ""
        return chosen or self._default_policy

    async def announce(self, obj: Object, credential: Credential) -> None:
        """Record once, as an event, which credential is used."""
        key = (obj["metadata"]["uid"], credential.origin)
        if key not in self._announced:
            self._announced.add(key)
            await self.writer.event(obj, "Normal", "CredentialFrom", f'Using credential from "{credential.origin}"')


class _Turn:
    """One reconciliation of one object. `obj`: as it is stored; `work`: the copy that is changed and then stored."""

    def __init__(self, parent: Reconciler, kind: Kind, obj: Object) -> None:
        self._parent, self.kind = parent, kind
        self.obj, self.work = obj, trees.copy(obj)
        self._kube, self._clock = parent._kube, parent._clock

    @property
    def _references(self) -> References:
        return References(self._kube, self.kind, self.obj)

    def log(self, message: str, **values: str) -> None:
        self._parent._log(message, self.obj, **values)

    # --- writing -----------------------------------------------------------------------------------------------------

    async def commit(self) -> None:
        """Store `work`."""
        self.obj = await self._parent.writer.commit(self.obj, self.work)
        self.work = trees.copy(self.obj)

    async def show(self, status: str, severity: str, reason: str, message: str) -> None:
        self._condition(status, severity, reason, message)
        await self.commit()

    def _condition(self, status: str, severity: str, reason: str, message: str = "") -> None:
        set_ready(self.work, status, severity, reason, message, self._clock.now())

    async def _event(self, kind: str, reason: str, message: str) -> None:
        await self._parent.writer.event(self.obj, kind, reason, message)

    # --- creating and updating ---------------------------------------------------------------------------------------

    async def manage(self) -> float | None:
        """Create or update the Azure resource, or only read it, as the policy says."""
        holder = annotations_of(self.obj).get(objects.OPERATOR)
        if holder and holder != self._parent._namespace:
            text = f'Operators in "{self._parent._namespace}" and "{holder}" are both configured to manage this resource'
            await self._event("Warning", "Overlap", text)
            return None
        await self._claim()
        arm = await self._connection()
        if await self._parent.policy(self.obj) == "skip":
            return await self._look(arm)
        if POLL_TOKEN in annotations_of(self.obj):
            return await self._monitor(arm)
        return await self._send(arm)

    async def _claim(self) -> None:
        """Set owner, name in Azure and finalizer, once, before the first request to Azure."""
        owner_id = await self._references.owner_id()
        if FINALIZER in (self.obj["metadata"].get("finalizers") or ()):
            self._check_unmoved(owner_id)
            return
        credential = await self._parent._credentials.of(self.obj)
        metadata, spec = self.work["metadata"], self.work["spec"]
        if not spec.get("azureName"):
            spec["azureName"] = convert.default_name(self.kind, self.obj, owner_id)
        annotations = annotations_of(self.work)
        annotations[objects.OPERATOR] = self._parent._namespace
        name, subscription = spec["azureName"], credential.subscription
        annotations[objects.RESOURCE_ID] = convert.resource_id(self.kind, name, owner_id, subscription)
        metadata.setdefault("labels", {})[objects.LAST_VERSION] = self._parent._version
        metadata["finalizers"] = [*(metadata.get("finalizers") or ()), FINALIZER]
        owner = await self._references.owner()
        if owner is not None:
            metadata["ownerReferences"] = [*(metadata.get("ownerReferences") or ()), owner_reference(owner)]
        self.log("adding finalizer")
        await self.commit()

    def _check_unmoved(self, owner_id: str) -> None:
        """Raise `ReadyError` if owner or name have changed. ASO's webhook refuses that; here the condition reports it."""
        stored = annotations_of(self.obj).get(objects.RESOURCE_ID, "")
        if not stored or (self.kind.owner is not None and not owner_id):
            return
        name = self.obj["spec"].get("azureName", "")
        expected = convert.resource_id(self.kind, name, owner_id, stored.split("/")[2])
        if stored.lower() == expected.lower():
            return
        member = (
            "spec.azureName" if stored.rpartition("/")[0].lower() == expected.rpartition("/")[0].lower() else "spec.owner.name"
        )
        what = f"{self.kind.group}/{self.kind.kind} : {self.obj['metadata']['name']}"
        raise ReadyError("Error", "Failed", f"updating '{member}' is not allowed for '{what}'")

    async def _connection(self) -> Arm:
        credential = await self._parent._credentials.of(self.obj)
        stored = annotations_of(self.obj).get(objects.RESOURCE_ID, "")
        subscription = stored.split("/")[2] if stored.lower().startswith("/subscriptions/") else credential.subscription
        if subscription != credential.subscription:
            text = f'SubscriptionID "{subscription}" for "{stored}" resource does not match with Client Credential: '
            raise ReadyError("Error", "SubscriptionMismatch", text + json.dumps(credential.subscription))
        await self._parent.announce(self.obj, credential)
        return self._parent._connect(credential)

    async def _look(self, arm: Arm) -> float | None:
        """Copy the state from Azure without a change there (policy skip)."""
        self.log("Skipping creation/update of resource due to policy", policy="skip")
        await self._refresh(arm, f'error getting status for resource ID "{self._id}": getting resource with ID: "{self._id}": ')
        return await self._succeed()

    async def _send(self, arm: Arm) -> float | None:
        await self._check_idle(arm)
        body = await convert.to_arm(
            self.kind, self.obj, self.obj["spec"]["azureName"], self._references.resolve, self._references.look_up
        )
        self._condition("False", "Info", "Reconciling", objects.RECONCILING)
        self.log("About to send resource to Azure")
        answer = await self._put(arm, body)
        self.log("Successfully sent resource to Azure", id=self._id)
        await self._event("Normal", "BeginCreateOrUpdate", f'Successfully sent resource to Azure with ID "{self._id}"')
        if not answer.poll:
            return await self._created(arm)
        return await self._follow(answer, CREATE_POLLER)

    async def _put(self, arm: Arm, body: Object) -> Answer:
        try:
            return await arm.put(self._id, self.kind.arm_api_version, body)
        except AzureError as error:
            self.log("Resource creation failure", resourceID=self._id, error=str(error))
            raise error.classified() from None

    async def _monitor(self, arm: Arm) -> float | None:
        """Poll the operation under way, and report its end."""
        if annotations_of(self.obj).get(POLL_ID) != CREATE_POLLER:
            self._stop_polling()
            await self.commit()
            return 1.0
        try:
            answer = await arm.poll(annotations_of(self.obj)[POLL_TOKEN])
        except AzureError as error:
            self._stop_polling()
            self.log("Resource creation failure", resourceID=self._id, error=str(error))
            raise error.classified() from None
        if answer.poll:
            return max(answer.retry_after, 1.0)
        self._stop_polling()
        return await self._created(arm)

    async def _created(self, arm: Arm) -> float | None:
        self.log("Resource successfully created/updated", resourceID=self._id)
        resource = await self._refresh(arm, "")
        await self._references.export(arm, resource)
        return await self._succeed()

    async def _succeed(self) -> float | None:
        self.work["metadata"].setdefault("labels", {})[objects.LAST_VERSION] = self._parent._version
        await self.show("True", "", "Succeeded", "")
        return self._parent.sync_after(self.obj)

    async def _refresh(self, arm: Arm, prefix: str) -> Object:
        """Copy ARM's state into the status. Raises `ReadyError`, its message after `prefix`."""
        try:
            resource: Object = await arm.get(self._id, self.kind.arm_api_version)
        except AzureError as error:
            reason = "AzureResourceNotFound" if error.status == 404 else "Failed"
            raise ReadyError("Warning", reason, prefix + str(error)) from None
        except CredentialError as error:
            raise ReadyError("Warning", "Failed", prefix + str(error)) from None
        self.work["status"] = convert.to_status(resource, self.work.get("status", {}).get("conditions") or [])
        return resource

    async def _check_idle(self, arm: Arm) -> None:
        """Raise `ReadyError` while another change of the cluster is under way: AKS would refuse the request.

        Source: `PreReconcileCheck` and `PreReconcileOwnerCheck` in `v2/api/containerservice/customizations`.
        """
        owner = (self.obj["spec"].get("owner") or {}).get("name") or self._id.rsplit("/", 3)[1]
        checked = {
            "ManagedCluster": [("Managed cluster", self._id)],
            "ManagedClustersAgentPool": [
                (f'Managed cluster "{owner}"', self._id.rsplit("/", 2)[0]),
                ("Managed cluster agent pool", self._id),
            ],
        }
        for what, resource_id in checked.get(self.kind.kind, ()):
            try:
                resource = await arm.get(resource_id, self.kind.arm_api_version)
            except AzureError as error:
                if error.status == 404:
                    continue
                raise error.classified() from None
            state = str((resource.get("properties") or {}).get("provisioningState") or "")
            if state and state.lower() not in SETTLED_STATES:
                raise ReadyError("Warning", "ReconciliationBlocked", f'{what} is in provisioning state "{state}"')

    async def _follow(self, answer: Answer, poller: str) -> float:
        annotations = annotations_of(self.work)
        annotations[POLL_ID], annotations[POLL_TOKEN] = poller, answer.poll
        await self.commit()
        return max(answer.retry_after, 1.0)

    def _stop_polling(self) -> None:
        for name in (POLL_ID, POLL_TOKEN):
            annotations_of(self.work).pop(name, None)

    # --- deleting ----------------------------------------------------------------------------------------------------

    async def remove(self) -> float | None:
        """Delete the resource in Azure, unless the policy forbids it, then remove the finalizer."""
        if FINALIZER not in (self.obj["metadata"].get("finalizers") or ()):
            return None
        policy = await self._parent.policy(self.obj)
        if policy != "manage":
            self.log("Bypassing delete of resource due to policy", policy=policy)
            return await self._release()
        if not annotations_of(self.obj).get(objects.RESOURCE_ID):
            self.log("Not issuing delete as resource had no ResourceID annotation")
            return await self._release()
        arm = await self._connection()
        try:
            answer = await self._delete(arm)
        except AzureError as error:
            if error.status == 404:
                self.log("Successfully issued DELETE to Azure - resource was already gone")
                return await self._release()
            self._stop_polling()
            self.log("Resource deletion failure", resourceID=self._id, error=str(error))
            raise error.classified() from None
        if not answer.poll:
            return await self._release()
        if annotations_of(self.obj).get(POLL_ID) != DELETE_POLLER:
            self._condition("False", "Info", "Deleting", objects.DELETING)
            return await self._follow(answer, DELETE_POLLER)
        return max(answer.retry_after, 1.0)

    async def _delete(self, arm: Arm) -> Answer:
        annotations = annotations_of(self.obj)
        if annotations.get(POLL_ID) == DELETE_POLLER and POLL_TOKEN in annotations:
            await self._event("Normal", "MonitorDelete", "Continue monitoring deletion")
            return await arm.poll(annotations[POLL_TOKEN])
        self.log("Starting delete of resource")
        await self._event("Normal", "BeginDelete", "Starting delete of resource")
        answer = await arm.delete(self._id, self.kind.arm_api_version)
        self.log("Successfully issued DELETE to Azure")
        return answer

    async def _release(self) -> float | None:
        self.work["metadata"]["finalizers"] = [f for f in self.work["metadata"]["finalizers"] if f != FINALIZER]
        self.log("Deleted resource")
        await self.commit()
        return None

    @property
    def _id(self) -> str:
        return annotations_of(self.obj)[objects.RESOURCE_ID]
