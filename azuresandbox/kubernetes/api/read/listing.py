"""Lists, whole or page by page, and the options of lists and watches."""

from __future__ import annotations

import base64
import binascii
import json

from azuresandbox.kubernetes.api.read.filter import Filter
from azuresandbox.kubernetes.api.read.view import View
from azuresandbox.kubernetes.api.request import Request
from azuresandbox.kubernetes.model import decoding, errors
from azuresandbox.kubernetes.model.resources import Resource
from azuresandbox.kubernetes.model.types import Object
from azuresandbox.store import Compacted, Page, Record

_EXPIRED = "The resourceVersion for the provided list is too old."


_EXPIRED_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the "
    "continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with "
    "the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)


_LATEST = -1
"""The revision in a continue token whose list continues at the current revision."""


def listing(request: Request, resource: Resource, namespace: str) -> bytes:
    """Return a list, or a page of it if the request has a limit."""
    found, metadata = select(request, resource, namespace)
    return View(request, resource).many([record.value for record in found], metadata)


def select(request: Request, resource: Resource, namespace: str) -> tuple[list[Record], Object]:
    """Return the records of a list or a page, and the list's metadata."""
    store, partition = request.cluster.sandbox.store, request.cluster.objects.partition
    prefix = resource.prefix + (f"{namespace}/" if namespace else "")
    wanted = Filter(request, resource)
    check_options(request, watching=False)
    limit = request.number("limit") or None
    after, at = _position(request, store.revision(partition))
    found: list[Record] = []
    remaining, revision = 0, 0
    try:
        while True:
            room = None if limit is None else limit - len(found)
            page: Page = store.list(partition, prefix, after=after, limit=room, at=at)
            revision, remaining = page.revision, page.remaining
            found += [record for record in page.records if wanted.matches(record.value)]
            if not remaining or limit is None or len(found) >= limit:
                break
            after, at = page.records[-1].key, page.revision
    except Compacted:
        raise _too_old(request, after) from None
    metadata: Object = {"resourceVersion": str(revision)}
    if remaining:
        metadata["continue"] = _continue(revision, page.records[-1].key)
        if wanted.everything:
            metadata["remainingItemCount"] = remaining
    return found, metadata


def _too_old(request: Request, after: str) -> errors.StatusError:
    """Return 410 Expired; for a further page, with a token for the rest at the current revision.

    Source: apiserver, `storage/etcd3/errors.go`.
    """
    if not request.query.get("continue"):
        return errors.expired(_EXPIRED)
    return errors.expired(_EXPIRED_CONTINUE, {"continue": _continue(_LATEST, after)})


def check_options(request: Request, *, watching: bool) -> None:
    """Refuse options of a list or a watch that contradict each other. Source: apimachinery, `ValidateListOptions`."""
    causes: errors.Causes = []

    def forbid(field: str, why: str) -> None:
        causes.append(errors.cause("FieldValueForbidden", f"Forbidden: {why}", field))

    asked = request.query
    match, initial = asked.get("resourceVersionMatch", ""), "sendInitialEvents" in asked
    if watching and initial and match != "NotOlderThan":
        forbid("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    elif watching and match and not initial:
        forbid("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
    if watching and match not in ("", "NotOlderThan"):
        text = f'Unsupported value: {json.dumps(match)}: supported values: "NotOlderThan"'
        causes.append(errors.cause("FieldValueNotSupported", text, "resourceVersionMatch"))
    if match and not watching:
        if not asked.get("resourceVersion"):
            forbid("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")
        if asked.get("continue"):
            forbid("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
        if match not in ("Exact", "NotOlderThan"):
            text = f'Unsupported value: {json.dumps(match)}: supported values: "Exact", "NotOlderThan", ""'
            causes.append(errors.cause("FieldValueNotSupported", text, "resourceVersionMatch"))
        if match == "Exact" and asked.get("resourceVersion") == "0":
            forbid("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
    if initial and not watching:
        forbid("sendInitialEvents", "sendInitialEvents is forbidden for list")
    if causes:
        raise errors.invalid("meta.k8s.io", "ListOptions", "", causes)


def _position(request: Request, current: int) -> tuple[str, int | None]:
    """Return the key after which a list starts, and the revision it is read at; `None` is the current one."""
    token = request.query.get("continue")
    if token:
        if request.query.get("resourceVersion") not in (None, "", "0"):
            raise errors.bad_request("specifying resource version is not allowed when using continue")
        return _continued(token)
    revision = _revision(request)
    if revision > current:
        raise errors.too_large_resource_version(revision, current)
    if request.query.get("resourceVersionMatch") == "Exact":
        return "", revision
    return "", None


def _continued(token: str) -> tuple[str, int | None]:
    """Return the position in a continue token; raise 400 if it is not one."""
    why = "encoded continue token is invalid"
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        found = json.loads(text)
        at = int(found["rv"])
        return str(found["start"]), None if at == _LATEST else at
    except binascii.Error:
        pass
    except ValueError:
        why = decoding.json_problem(text)
    except (KeyError, TypeError):
        pass
    raise errors.bad_request(f"invalid continue token: continue key is not valid: {why}")


def _revision(request: Request) -> int:
    text = request.query.get("resourceVersion") or "0"
    if not text.isdigit():
        raise errors.bad_request(f"invalid resource version: {version_problem(text)}")
    return int(text)


def version_problem(text: str) -> str:
    return f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'


def _continue(revision: int, key: str) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": key}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
