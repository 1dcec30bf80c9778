"""The subresources with behaviour of their own: scale, token, log, binding, eviction, finalize.

Pod logs are read from the store's partition `machine`, where the machine writes them:
`log/<cluster>/<namespace>/<pod>/<container>/<n>` -> `timestamp text`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

from azuresandbox import trees
from azuresandbox.kubernetes.api.request import Request
from azuresandbox.kubernetes.api.stored import find, load
from azuresandbox.kubernetes.api.streaming import chunks, close_on_disconnect
from azuresandbox.kubernetes.api.write.common import pending_finalizers
from azuresandbox.kubernetes.api.write.delete import delete
from azuresandbox.kubernetes.api.write.patch import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from azuresandbox.kubernetes.api.write.update import update
from azuresandbox.kubernetes.model import decoding, errors
from azuresandbox.kubernetes.model.jsonpath import json_path
from azuresandbox.kubernetes.model.patch import json_patch, merge_patch
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.selectors import label_selector
from azuresandbox.kubernetes.model.types import Object, dump
from azuresandbox.kubernetes.state import tokens
from azuresandbox.store import Record, Watch

LOGS = "machine"
"""The store's partition of Pod logs."""

# --- scale -----------------------------------------------------------------------------------------------------------


def _paths(resource: Resource) -> tuple[list[str], list[str], str]:
    """Return the paths of the desired and the actual replicas, and the JSONPath of the selector ("" if there is none)."""
    declared = ((resource.custom or {}).get("subresources") or {}).get("scale")
    if declared:
        split = [declared[name].lstrip(".").split(".") for name in ("specReplicasPath", "statusReplicasPath")]
        return split[0], split[1], str(declared.get("labelSelectorPath", ""))
    return ["spec", "replicas"], ["status", "replicas"], ""


def _at(obj: Any, path: list[str]) -> int | None:
    for part in path:
        obj = obj.get(part) if isinstance(obj, dict) else None
    return None if obj is None else int(obj)


def scale_of(resource: Resource, obj: Object) -> Object:
    """Return the autoscaling/v1 Scale of an object."""
    spec, status, selector = _paths(resource)
    metadata = {
        k: v for k, v in obj["metadata"].items() if k in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    }
    shown: Object = {"replicas": _at(obj, status) or 0}
    if resource.custom is not None and _at(obj, spec) is None:
        raise errors.internal(f'the spec replicas field ".{".".join(spec)}" does not exist')
    if resource.custom is None:
        found = obj["spec"].get("selector") or {}
        shown["selector"] = ",".join(
            f"{k}={v}" for k, v in sorted((found.get("matchLabels") or found).items()) if isinstance(v, str)
        )
    elif selector:
        shown["selector"] = str((json_path(obj, selector) or [""])[0])
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": _at(obj, spec) or 0},
        "status": shown,
    }


async def scale(request: Request, resource: Resource, namespace: str, name: str) -> bytes:
    """Get, replace or patch the scale. Returns the Scale's bytes."""
    record = find(request.cluster, resource, namespace, name)
    if request.method == "GET":
        return dump(scale_of(resource, load(record.value, resource)))
    data = await request.body()
    record = find(request.cluster, resource, namespace, name)
    old = load(record.value, resource)
    wanted = _wanted_scale(request, resource, old, data)
    given = (wanted.get("metadata") or {}).get("name")
    if given != name:
        raise errors.bad_request(f"the name of the object ({given or ''}) does not match the name on the URL ({name})")
    replicas = (wanted.get("spec") or {}).get("replicas") or 0
    _check_replicas(resource, name, replicas)
    new = trees.copy(old)
    holder: Object = new
    *parents, last = _paths(resource)[0]
    for part in parents:
        holder = holder.setdefault(part, {})
    holder[last] = replicas
    version = wanted["metadata"].get("resourceVersion")
    new["metadata"]["resourceVersion"] = version or old["metadata"]["resourceVersion"]
    written = update(request, resource, record, new, "scale")
    return dump(scale_of(resource, json.loads(written.data)))


def _check_replicas(resource: Resource, name: str, replicas: Any) -> None:
    if not isinstance(replicas, int):
        raise errors.bad_request(
            'Scale in version "v1" cannot be handled as a Scale: json: cannot unmarshal '
            f"{decoding.json_name(replicas)} into Go struct field ScaleSpec.spec.replicas of type int32"
        )
    if replicas >= 0:
        return
    if resource.custom is not None:
        path = "." + ".".join(_paths(resource)[0])
        causes = [errors.cause("FieldValueInvalid", f"Invalid value: {replicas}: should be a non-negative integer", path)]
        raise errors.invalid(resource.group, resource.kind, name, causes)
    text = f"Invalid value: {replicas}: must be greater than or equal to 0"
    raise errors.invalid("autoscaling", "Scale", name, [errors.cause("FieldValueInvalid", text, "spec.replicas")])


def _wanted_scale(request: Request, resource: Resource, old: Object, data: bytes) -> Object:
    """Return the Scale that the request puts, or its patch applied to the present one."""
    if request.method == "PUT":
        return decoding.document(data, "Scale", as_yaml=False, typed=True)
    changes = json.loads(data)
    current = scale_of(resource, old)
    if request.content_type == JSON_PATCH:
        found = json_patch(current, changes)
    elif request.content_type in (MERGE_PATCH, STRATEGIC_MERGE_PATCH):
        found = merge_patch(current, changes)
    else:
        raise errors.unsupported_media_type((JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH))
    return dict(found)


# --- service accounts ------------------------------------------------------------------------------------------------


def token(request: Request, resource: Resource, namespace: str, name: str, body: Object) -> Object:
    """Return the TokenRequest with a token of the service account in its status."""
    cluster, spec = request.cluster, body.get("spec") or {}
    account = cluster.objects.read(f"//serviceaccounts/{namespace}/{name}")
    if account is None:
        raise errors.not_found("", "serviceaccounts", name)
    seconds = spec.get("expirationSeconds", 3600)
    if seconds < 600 or seconds > 1 << 32:
        bound_by = "less than 10 minutes" if seconds < 600 else "larger than 2^32 seconds"
        text = f"Invalid value: {seconds}: may not specify a duration {bound_by}"
        raise errors.invalid(
            "authentication.k8s.io", "TokenRequest", "", [errors.cause("FieldValueInvalid", text, "spec.expirationSeconds")]
        )
    audiences = spec.get("audiences") or [cluster.issuer]
    bound = _bound(request, namespace, name, spec.get("boundObjectRef"))
    now = cluster.sandbox.clock.now()
    identity = (name, account["metadata"]["uid"])
    claims = tokens.service_account_claims(cluster.issuer, audiences, now, seconds, namespace, identity, bound)
    status = {"token": cluster.key.sign(claims), "expirationTimestamp": tokens.expiry(now, seconds)}
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": name, "namespace": namespace, "uid": identity[1], "creationTimestamp": cluster.now()},
        "spec": {**spec, "audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": spec.get("boundObjectRef")},
        "status": status,
    }


def _bound(request: Request, namespace: str, account: str, reference: Object | None) -> dict[str, dict[str, str]]:
    """Return the object that the token is bound to, and the node of a bound Pod: kind -> its name and uid."""
    if not reference:
        return {}
    kind, name = reference.get("kind", ""), reference.get("name", "")
    if reference.get("apiVersion") != "v1" or kind not in ("Pod", "Secret", "Node"):
        group, _, version = str(reference.get("apiVersion") or "").rpartition("/")
        raise errors.bad_request(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
    found = request.cluster.objects.read(f"//{kind.lower()}s/{'' if kind == 'Node' else namespace}/{name}")
    if found is None:
        raise errors.not_found("", f"{kind.lower()}s", name)
    uid = found["metadata"]["uid"]
    if reference.get("uid") not in (None, "", uid):
        why = f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
        why += "The object might have been deleted and then recreated"
        raise errors.conflict("", kind, name, why)
    bound = {kind.lower(): {"name": name, "uid": uid}}
    if kind == "Pod":
        if found["spec"].get("serviceAccountName") != account:
            raise errors.bad_request(
                f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.'
            )
        node = request.cluster.objects.read(f"//nodes//{found['spec'].get('nodeName') or ''}")
        if node is not None:
            bound["node"] = {"name": node["metadata"]["name"], "uid": node["metadata"]["uid"]}
    return bound


# --- pods ------------------------------------------------------------------------------------------------------------


def bind(request: Request, resource: Resource, namespace: str, name: str, body: Object) -> Object:
    """Assign a Pod to a node."""
    record = find(request.cluster, resource, namespace, name)
    old = load(record.value, resource)
    node = (body.get("target") or {}).get("name", "")
    if not node:
        raise errors.invalid("", "Binding", name, [errors.cause("FieldValueRequired", "Required value", "target.name")])
    if old["metadata"].get("deletionTimestamp"):
        raise errors.conflict("", "pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host")
    if old["spec"].get("nodeName"):
        raise errors.conflict("", "pods/binding", name, f'pod {name} is already assigned to node "{old["spec"]["nodeName"]}"')
    new = trees.copy(old)
    new["spec"]["nodeName"] = node
    conditions = [item for item in new["status"].get("conditions") or [] if item["type"] != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": request.cluster.now()}
    new["status"]["conditions"] = [*conditions, scheduled]
    if not request.dry_run:
        request.cluster.objects.put(resource, record.key, new, old, record.revision)
    return _success(201)


def evict(request: Request, resource: Resource, namespace: str, name: str, body: Object) -> Object:
    """Delete a Pod; raise 429 if one of its PodDisruptionBudgets allows no disruption."""
    cluster = request.cluster
    record = find(cluster, resource, namespace, name)
    pod = load(record.value, resource)
    for budget in cluster.objects.all(f"/policy/poddisruptionbudgets/{namespace}/"):
        chosen = label_selector(budget["spec"].get("selector")).matches(pod["metadata"].get("labels"))
        if chosen and (budget.get("status") or {}).get("disruptionsAllowed", 0) < 1:
            text = f"The disruption budget {budget['metadata']['name']} needs more healthy pods and has no disruptions left"
            causes = {"causes": [{"reason": "DisruptionBudget", "message": text}]}
            raise errors.StatusError(
                429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", causes
            )
    delete(request, resource, record, body.get("deleteOptions") or {})
    return _success(201)


def _success(code: int) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code}


async def log(request: Request, resource: Resource, namespace: str, name: str) -> None:
    """Stream the log of a container."""
    pod = load(find(request.cluster, resource, namespace, name).value, resource)
    container = _container(request, pod, name)
    if request.flag("previous"):
        statuses = (pod.get("status") or {}).get("containerStatuses") or []
        if not any(item["name"] == container and (item.get("lastState") or {}).get("terminated") for item in statuses):
            raise errors.bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
    prefix = f"log/{request.cluster.id}/{namespace}/{name}/{container}/"
    await chunks(request, _lines(request, prefix), b"text/plain")


def _container(request: Request, pod: Object, name: str) -> str:
    """Return the container of the request, or the Pod's only one; raise 400 if the request must name it."""
    spec = pod["spec"]
    names = [item["name"] for item in spec.get("containers") or []]
    inits = [item["name"] for item in spec.get("initContainers") or []]
    asked = request.query.get("container", "")
    if asked:
        if asked not in names + inits:
            raise errors.bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(names) > 1 or inits:
        text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
        raise errors.bad_request(text + (f" or one of the init containers: [{' '.join(inits)}]" if inits else ""))
    return str(names[0])


async def _lines(request: Request, prefix: str) -> AsyncIterator[bytes]:
    """Yield the stored lines that the request chooses, then, with `follow`, new ones until the container has ended."""
    store = request.cluster.sandbox.store
    page = store.list(LOGS, prefix)
    records = _chosen(request, page.records)
    stamped = request.flag("timestamps")
    yield b"".join(_line(record, stamped) for record in records)
    if not request.flag("follow") or _finished(request):
        return
    watch = store.watch(LOGS, prefix, since=page.revision)
    pods = store.watch(request.cluster.objects.partition, _pod_key(request))
    tasks = [
        asyncio.create_task(close_on_disconnect(request, watch)),
        asyncio.create_task(_until_finished(request, pods, watch)),
    ]
    try:
        async for event in watch:
            if event.kind == "ADDED":
                yield _line(event.record, stamped)
    finally:
        watch.close()
        pods.close()
        for task in tasks:
            task.cancel()


async def _until_finished(request: Request, pods: Watch, watch: Watch) -> None:
    async for _ in pods:
        if _finished(request):
            watch.close()
            return


def _pod_key(request: Request) -> str:
    parts = request.path.split("/")
    return f"//pods/{parts[4]}/{parts[6]}"


def _finished(request: Request) -> bool:
    """Return whether the Pod writes no more lines: it is deleted or has ended."""
    pod = request.cluster.objects.read(_pod_key(request))
    return pod is None or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _chosen(request: Request, records: list[Record]) -> list[Record]:
    """Return the lines that sinceSeconds, sinceTime and tailLines select."""
    since = request.query.get("sinceSeconds")
    if since:
        moment = request.cluster.sandbox.clock.now() - timedelta(seconds=int(since))
        records = [record for record in records if _time(record) >= moment]
    if request.query.get("sinceTime"):
        start = datetime.fromisoformat(request.query["sinceTime"].replace("Z", "+00:00"))
        records = [record for record in records if _time(record) >= start]
    tail = request.query.get("tailLines")
    if tail is not None and int(tail) >= 0:
        records = records[len(records) - int(tail) :] if int(tail) < len(records) else records
    return records


def _time(record: Record) -> datetime:
    text = record.value.split(b" ", 1)[0].decode()
    seconds, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{seconds}.{fraction[:6] or '0'}+00:00")


def _line(record: Record, stamped: bool) -> bytes:
    return (record.value if stamped else record.value.split(b" ", 1)[-1]) + b"\n"


# --- namespaces ------------------------------------------------------------------------------------------------------


def finalize(request: Request, resource: Resource, name: str, body: Object) -> bytes:
    """Replace a namespace's own finalizers; delete the namespace if it is being deleted and has no finalizer left."""
    cluster = request.cluster
    record = find(cluster, resource, "", name)
    old = load(record.value, resource)
    new = trees.copy(old)
    new["spec"] = {"finalizers": (body.get("spec") or {}).get("finalizers") or []}
    if new["metadata"].get("deletionTimestamp") and not pending_finalizers(resource, new):
        return cluster.objects.remove(record.key, new, record.revision).value
    return cluster.objects.put(resource, record.key, new, old, record.revision).value
