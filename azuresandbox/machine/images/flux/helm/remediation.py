"""The remediation of a failed release: how often it is retried, and whether it is rolled back or uninstalled first.

Source: `spec.install.remediation` and `spec.upgrade.remediation` of the HelmRelease API.
"""

from __future__ import annotations

from typing import NoReturn

from azuresandbox.machine.images.flux.helm import texts
from azuresandbox.machine.images.flux.helm.run import Run, Terminal
from azuresandbox.machine.types import Object

ROLLBACK, UNINSTALL = "rollback", "uninstall"


def is_upgrade(run: Run) -> bool:
    """Return whether the last attempt was an upgrade."""
    return bool(run.status.get("lastAttemptedReleaseAction") == "upgrade")


def counter(run: Run) -> str:
    """Return the name of the status field that counts the failures of the last attempt's action."""
    return "upgradeFailures" if is_upgrade(run) else "installFailures"


def exhausted(run: Run) -> bool:
    """Return whether the last attempt's action has failed more often than it may be retried."""
    return counter_exhausted(run, "upgrade" if is_upgrade(run) else "install")


def counter_exhausted(run: Run, action: str) -> bool:
    """Return whether an action has failed more often than it may be retried; negative `retries` set no limit."""
    retries = int((run.section(action).get("remediation") or {}).get("retries", 0))
    return retries >= 0 and run.failures(f"{action}Failures") > retries


def remediates_last(run: Run) -> bool:
    """Return whether the last failure is remediated too. By default it is for upgrades with retries."""
    remediation = _section(run)
    wanted = remediation.get("remediateLastFailure")
    return bool(wanted) if wanted is not None else is_upgrade(run) and int(remediation.get("retries", 0)) > 0


def strategy(run: Run) -> str:
    """Return ROLLBACK or UNINSTALL. A failed install is always uninstalled."""
    return str(_section(run).get("strategy") or ROLLBACK) if is_upgrade(run) else UNINSTALL


def stall(run: Run) -> NoReturn:
    """Set Stalled. Raises `Terminal`, always."""
    action = run.status.get("lastAttemptedReleaseAction", "")
    said = texts.RETRIES_EXCEEDED(action=action, count=run.failures(counter(run)))
    run.stall(said)
    raise Terminal(said.message)


def _section(run: Run) -> Object:
    found: Object = run.section("upgrade" if is_upgrade(run) else "install").get("remediation") or {}
    return found
