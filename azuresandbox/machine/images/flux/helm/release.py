"""The loop that performs actions until a release is as wanted: fluxcd/helm-controller's atomic release."""

from __future__ import annotations

from azuresandbox.machine.durations import go_duration
from azuresandbox.machine.images.flux import conditions
from azuresandbox.machine.images.flux.conditions import READY
from azuresandbox.machine.images.flux.helm import outcome, remediation, texts
from azuresandbox.machine.images.flux.helm.actions import Action
from azuresandbox.machine.images.flux.helm.decide import next_action
from azuresandbox.machine.images.flux.helm.run import After, Run
from azuresandbox.machine.images.flux.texts import Said


async def release(run: Run) -> None:
    """Perform actions until the release is as wanted, or the next action is of a kind performed before.

    Raises `After` or `Terminal`.
    """
    done: set[str] = set()
    while True:
        action = await next_action(run)
        if action is None:
            conditions.remove(run.obj, conditions.RECONCILING)
            outcome.summarize(run)
            return
        if action.kind in done:
            _give_up_or_retry(run)
            return
        await _announce(run, action)
        await action.perform(run)
        if action.kind == "remediate":
            await _after_remediation(run)
        done.add(action.kind)
        await run.write()


async def _announce(run: Run, action: Action) -> None:
    said = texts.RUNNING(action=action.name, timeout=go_duration(run.timeout(action.section)))
    run.reconciling(said)
    if action.kind == "release":
        run.mark(READY, "Unknown", *said)
    await run.write()
    run.log(said.message[0].lower() + said.message[1:])


async def _after_remediation(run: Run) -> None:
    """Begin again if a retry is left (or a failed upgrade was uninstalled), else stall."""
    uninstalled = remediation.strategy(run) == remediation.UNINSTALL and remediation.is_upgrade(run)
    if remediation.exhausted(run) and not uninstalled:
        remediation.stall(run)
    _mark_retrying(run)
    await run.write()
    raise After(0)


def _give_up_or_retry(run: Run) -> None:
    if not remediation.exhausted(run):
        _mark_retrying(run)
        raise After(0)
    conditions.remove(run.obj, conditions.RECONCILING)


def _mark_retrying(run: Run) -> None:
    ready = conditions.find(run.obj, READY)
    run.reconciling(Said(conditions.RETRYING, ready["message"] if ready else ""))
