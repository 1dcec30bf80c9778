"""The mirror table: public URL prefixes that this server answers for (partition `sources`, `mirror/<prefix>`).

The Wire reads it. A URL without an entry fails as on a machine without a network.
"""

from __future__ import annotations

import json

from azuresandbox.context import Sandbox
from azuresandbox.store import Store

PARTITION = "sources"
KINDS = ("git", "oci", "helm")


def mirror(sandbox: Sandbox | Store, url: str, kind: str, target: str | None = None) -> str:
    """Answer for the public `url` (https://... or oci://host) from here. Return the path that answers.

    `kind` is git, oci or helm; `target`, a path of this server, is by default the one at which `kind` serves the host.
    """
    if kind not in KINDS:
        raise ValueError(f"a mirror's kind is one of {', '.join(KINDS)}, not {kind!r}")
    store = sandbox.store if isinstance(sandbox, Sandbox) else sandbox
    scheme, separator, rest = url.rstrip("/").partition("://")
    if not separator or scheme not in ("https", "http", "oci") or not rest:
        raise ValueError(f"{url!r} cannot be mirrored: it must start with https:// or oci://")
    if kind == "oci":
        host = rest.partition("/")[0]
        prefix, default = f"https://{host}/v2/", f"/v2/{host}/"
    else:
        rest = rest.removesuffix(".git") if kind == "git" else rest
        prefix, default = f"{scheme}://{rest}", f"/{kind}/{rest}"
    value = json.dumps({"kind": kind, "target": target or default}).encode()
    key = f"mirror/{prefix}"
    known = store.get(PARTITION, key)
    if known is None or known.value != value:
        store.put(PARTITION, key, value)
    return target or default


def mirrors(store: Store) -> dict[str, str]:
    """Return public URL prefix -> path of this server."""
    records = store.list(PARTITION, "mirror/").records
    return {record.key.removeprefix("mirror/"): json.loads(record.value)["target"] for record in records}
