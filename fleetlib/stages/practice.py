"""Mistakes made on purpose, one each in notebooks 02, 04 and 06, so that people recognize the faults later.

A drill makes one mistake by the same interfaces that people use, waits until the fault shows, and leaves the fix to the stage's
own steps. It runs only if the parameter `practice` is true and the object concerned is new in this run; a second run changes
nothing. A run that was killed in a drill is put right by the next one: the mistake is a difference like any other.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from html import escape

from fleetlib.change import Change, Step, aligned, table
from fleetlib.clients.azure import entra, identities, managed_clusters
from fleetlib.clients.azure.providers import pause
from fleetlib.clients.kube import condition
from fleetlib.progress import waiting
from fleetlib.request import Shown
from fleetlib.stages.aso_identity import DRILL, SUBJECT, AsoIdentity, is_of_drill
from fleetlib.stages.deploy_workloads import STAGING, DeployWorkloads
from fleetlib.stages.prepare_fleet import PrepareFleet
from fleetlib.stages.rollout import MANAGED_CLUSTER, RESOURCE_GROUP, Kind, await_ready, follow_commit
from fleetlib.stages.stage import Stage

NOT_NOW = "no drill in this run: the parameter practice is false, or the object exists already"


@dataclass(frozen=True, repr=False)
class Fault:
    """Where a fault shows: a table, and the words of the other side. `fixed`: the same after the fix. No rows: no drill."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    said: str
    fixed: bool = False

    def __repr__(self) -> str:
        return f"{aligned([self.header, *self.rows])}\n\n{self.gist}" if self.rows else self.said

    def _repr_html_(self) -> str:
        shown = table(self.header, self.rows) if self.rows else ""
        style = f"border-left:3px solid {'#0b6e4f' if self.fixed else '#b3261e'};margin:.5em 0;padding:.2em .8em"
        return f"{shown}<blockquote style='{style}'>{escape(self.gist)}</blockquote>"

    @property
    def gist(self) -> str:
        """`said`, shortened: code and message of an answer that ASO quotes in full, long lists cut."""
        code, message = (re.search(rf'"{key}": "([^"]+)"', self.said) for key in ("code", "message"))
        text = f"{code[1]}: {message[1]}" if code and message else self.said
        return re.sub(r"('[^',]+)(,[^',]+){3,}'", r"\1, ...'", text)


SKIPPED = Fault((), (), NOT_NOW)


class Drill(ABC):
    """One mistake. `active` is decided once, before anything is spoiled."""

    mistake = ""

    def __init__(self, stage: Stage) -> None:
        self.session, self.parameters = stage.session, stage.parameters
        self.active = self.parameters.practice and self._due()

    @abstractmethod
    def _due(self) -> bool:
        """Whether the object concerned is new in this run, or still as an interrupted drill left it."""

    @abstractmethod
    def _fault(self) -> Fault:
        """Wait until the fault shows. Raises `TimeoutExpired` if it does not."""

    def fault(self) -> Fault:
        """Where the fault shows, or that there is no drill."""
        return self._fault() if self.active else SKIPPED

    def __repr__(self) -> str:
        return self.mistake if self.active else NOT_NOW


class Spoiling(Drill):
    """A mistake that is a request of its own."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        super().__init__(stage)

    @abstractmethod
    def _step(self) -> Step:
        """The step to the wrong state."""

    def show(self) -> Shown:
        """The request that makes the mistake."""
        return self._step().show() if self.active else Shown(NOT_NOW)

    def spoil(self) -> Change:
        """Make the mistake. The change is counted among those of the stage."""
        if not self.active:
            return Change("drill", NOT_NOW, "unchanged")
        change = self._step().apply()
        self._stage.note(change)
        return change


class WrongSubject(Spoiling):
    """Notebook 02: the federated credential names another service account than ASO's.

    ASO is not installed yet, so the drill does what ASO will do: it gets a token for ASO's service account from the API server
    (`kubectl create token`) and shows it to Entra. For this it creates the service account, and `end` deletes it again.
    """

    mistake = "the federated credential will name the service account `default`"
    SUBJECT = "system:serviceaccount:azureserviceoperator-system:default"

    def __init__(self, stage: AsoIdentity) -> None:
        self.stage = stage
        _, _, self.namespace, self.account = SUBJECT.split(":")
        super().__init__(stage)

    def _due(self) -> bool:
        p, found = self.parameters, self.stage.service_account()
        trusts = identities.federated_credentials(self.session.azure, p.controlplane_group, p.aso_identity)
        if not any(trust["name"] == p.aso_federated_credential for trust in trusts):
            return False
        return self.stage.changed if found is None else is_of_drill(found)

    def _step(self) -> Step:
        p = self.parameters
        issuer = managed_clusters.issuer(self.stage.cluster() or {"properties": {}})
        return identities.ensure_federated(
            self.session.azure, p.controlplane_group, p.aso_identity, p.aso_federated_credential, issuer, self.SUBJECT
        )

    def _fault(self) -> Fault:
        return self._ask(lambda answer: "AADSTS7002" in answer)

    def proof(self) -> Fault:
        """Entra's answer to ASO's token after the fix: it issues an access token."""
        return self._ask(lambda answer: not answer) if self.active else SKIPPED

    def _ask(self, expected: Callable[[str], bool]) -> Fault:
        """Show ASO's token to Entra until the answer is as expected: Entra takes a while to know a changed credential."""
        token, delay = self._token(), 0.2
        client, tenant = self.stage.values()["azureClientID"], self.stage.values()["azureTenantID"]
        with waiting("Entra's answer", self.session.timeout) as wait:
            while not expected(answer := entra.refusal(self.session.cloud, tenant, client, token)):
                wait.update(0, 1, answer or "access token issued")
                pause(min(delay, wait.remaining()))
                delay = min(delay * 1.5, 15)
        header = ("claim", "ASO's token", "federated credential", "")
        return Fault(header, self._compared(token), answer or "access token issued", fixed=not answer)

    def _compared(self, token: str) -> tuple[tuple[str, ...], ...]:
        p, claims = self.parameters, entra.claims(token)
        found = identities.federated_credentials(self.session.azure, p.controlplane_group, p.aso_identity)
        trusted = next(item["properties"] for item in found if item["name"] == p.aso_federated_credential)
        pairs = (
            ("issuer", claims["iss"], trusted["issuer"]),
            ("subject", claims["sub"], trusted["subject"]),
            ("audience", claims["aud"][0], trusted["audiences"][0]),
        )
        return tuple((name, said, wanted, "✓" if said == wanted else "✗ differs") for name, said, wanted in pairs)

    def _token(self) -> str:
        """A token for ASO's service account, which is created if it is not there."""
        hub = self.session.hub
        metadata = {"name": self.account, "namespace": self.namespace, "labels": DRILL}
        hub.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        hub.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        return hub.token(self.account, self.namespace, identities.AUDIENCE)

    def end(self) -> None:
        """Delete the service account, if it is the drill's: ASO's Helm chart creates its own."""
        if is_of_drill(self.stage.service_account()):
            self.session.hub.delete("v1", "ServiceAccount", self.account, self.namespace)


class ForgottenRole(Drill):
    """Notebook 04: the role assignment on the fleet's group is left out until ASO has reported the error."""

    mistake = "left out for now: the role assignment on the fleet's group"

    def __init__(self, stage: PrepareFleet) -> None:
        self.stage = stage
        super().__init__(stage)

    def _due(self) -> bool:
        return bool(self.stage.steps()["role"]().plan())

    def _fault(self) -> Fault:
        p = self.parameters
        return _failing(self, RESOURCE_GROUP, [p.fleet_group], "ASO is refused")


class WrongSize(Spoiling):
    """Notebook 06: staging is committed with a VM size that does not exist."""

    mistake = "staging will be committed with a VM size that does not exist"

    def __init__(self, stage: DeployWorkloads) -> None:
        self.stage = stage
        size = stage.parameters.cluster_vm_size
        self.size = size + size[-1]
        super().__init__(stage)

    def _due(self) -> bool:
        staging = self.stage.environments().get(STAGING)
        if staging is None or not self.stage.counts()[STAGING]:
            return False
        return staging.count == 0 or staging.values.get("vmSize") == self.size

    def _step(self) -> Step:
        right = self.stage.declaration(STAGING)
        wrong = replace(right, values={**right.values, "vmSize": self.size})
        return Step(
            "declaration in Git",
            STAGING,
            lambda: wrong.environment,
            lambda current: wrong.commit(self.session.repository, f" of {self.size}"),
            wrong.compare,
            settle=self.stage.remember,
        )

    def _fault(self) -> Fault:
        follow_commit(self.session, self.stage.commit or self.session.repository.head(), ["clusters"])
        return _failing(self, MANAGED_CLUSTER, self.stage.environments()[STAGING].clusters(), "Azure refuses the VM size")


def _failing(drill: Drill, kind: Kind, names: list[str], title: str) -> Fault:
    """Wait until these objects of the control plane fail; their conditions."""
    session, namespace = drill.session, drill.parameters.cluster_namespace
    found = await_ready(session, session.hub, kind, namespace, names, title, lambda obj: condition(obj)[0] == "False")
    conditions = {name: condition(found[name]) for name in sorted(found)}
    rows = tuple((f"{kind[1]} {name}", f"Ready: {status}", reason) for name, (status, reason, _) in conditions.items())
    return Fault(("object", "condition", "reason"), rows, next(iter(conditions.values()))[2])
