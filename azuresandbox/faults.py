"""Named, deterministic faults: an operator arms one, and it strikes where the real system has this failure.

A fault is armed with a number of times and a target: a glob over the name of the affected object (a resource id, a URL, a
cluster id).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from fnmatch import fnmatch

from azuresandbox.store import Store

PARTITION = "faults"

KNOWN = {
    "principal-not-found": "a new identity is not yet known to Authorization (replication delay)",
    "fic-concurrency": "a second federated credential is written while the first still is",
    "vcpu-quota": "the region's vCPU quota is used up",
    "version-unsupported": "the region has stopped offering the Kubernetes version",
    "operation-not-allowed": "another operation is in progress on the managed cluster",
    "extension-failed": "the extension's installation fails in the cluster",
    "throttled": "Azure Resource Manager answers 429 with Retry-After",
    "server-error": "Azure Resource Manager answers 500",
    "lro-failed": "a long-running operation ends in Failed",
    "token-revoked": "Entra's tokens of the principal are no longer accepted",
    "git-unreachable": "the Git host does not answer",
    "registry-unreachable": "the OCI registry does not answer",
    "watch-expired": "the API server ends watches with 410 Gone",
    "finalizer-stuck": "Azure refuses to delete a resource (a lock), so that ASO keeps its finalizer on the object",
    "cluster-deleted-out-of-band": "the managed cluster is deleted by another client than the fleet",
}


class UnknownFault(ValueError):
    """There is no fault of that name."""


@dataclass
class Fault:
    """An armed fault. `times`: how many times it still strikes (-1: until disarmed); `detail`: an argument of some faults."""

    name: str
    target: str = "*"
    times: int = 1
    detail: str = ""


class Faults:
    """The armed faults, kept in the store so that they outlive a restart."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._armed = {record.key: Fault(**json.loads(record.value)) for record in store.list(PARTITION).records}

    def arm(self, name: str, target: str = "*", times: int = 1, detail: str = "") -> Fault:
        if name not in KNOWN:
            raise UnknownFault(f"no fault is named {name!r}: the known ones are {', '.join(KNOWN)}")
        if times < 1 and times != -1:
            raise ValueError(f"a fault strikes once or more, or until it is disarmed (-1), not {times} times")
        fault = Fault(name, target, times, detail)
        self._save(fault)
        return fault

    def disarm(self, name: str | None = None) -> int:
        """Disarm the faults of that name, or all. Return how many there were."""
        chosen = [key for key, fault in self._armed.items() if name in (None, fault.name)]
        for key in chosen:
            del self._armed[key]
            self._store.delete(PARTITION, key)
        return len(chosen)

    def armed(self) -> list[Fault]:
        return list(self._armed.values())

    def take(self, name: str, target: str) -> Fault | None:
        """Return the fault armed for `target` and use up one of its times; `None` if there is no such fault."""
        for fault in self._armed.values():
            if fault.name == name and fnmatch(target.lower(), fault.target.lower()):
                return self._use(fault)
        return None

    def _use(self, fault: Fault) -> Fault:
        if fault.times > 0:
            fault.times -= 1
            if fault.times == 0:
                self._armed.pop(_key(fault))
                self._store.delete(PARTITION, _key(fault))
            else:
                self._save(fault)
        return fault

    def _save(self, fault: Fault) -> None:
        self._armed[_key(fault)] = fault
        self._store.put(PARTITION, _key(fault), json.dumps(asdict(fault)).encode())


def _key(fault: Fault) -> str:
    return f"{fault.name}@{fault.target}"
