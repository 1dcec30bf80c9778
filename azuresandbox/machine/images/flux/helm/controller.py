"""The reconciliation of HelmReleases, step by step. Each step is a module of this package."""

from __future__ import annotations

from azuresandbox.machine.durations import seconds
from azuresandbox.machine.images.flux import conditions, objects
from azuresandbox.machine.images.flux.access import AccessError
from azuresandbox.machine.images.flux.helm import actions, decide, source, texts, values
from azuresandbox.machine.images.flux.helm.release import release
from azuresandbox.machine.images.flux.helm.run import API, KIND, MANAGER, After, Retry, Run, Terminal
from azuresandbox.machine.images.flux.reconciler import Reconciler, serve
from azuresandbox.machine.images.flux.registries import images
from azuresandbox.machine.node.program import Pod, image
from azuresandbox.machine.types import Object


@image(*images("helm-controller"))
async def program(pod: Pod) -> None:
    """Run helm-controller until its Pod is stopped."""
    await serve(pod, HelmReleaseController)


class HelmReleaseController(Reconciler):
    """Reconciles HelmReleases."""

    api_version, kind, manager = API, KIND, MANAGER
    sources = {"OCIRepository": source.SOURCE_API, "HelmChart": source.SOURCE_API}
    suspended = texts.SUSPENDED().message
    backoff = (0.75, 900.0)

    # --- triggers ----------------------------------------------------------------------------------------------------

    def became_ready(self, obj: Object, old: Object) -> bool:
        return conditions.is_true(obj, conditions.READY) and not conditions.is_true(old, conditions.READY)

    def is_new(self, source_: Object, old: Object | None) -> bool:
        return old is None or source.state(source_) != source.state(old)

    def is_concerned(self, obj: Object, source_: Object) -> bool:
        return source.source_of(obj) == (source_["kind"], source_["metadata"]["namespace"], source_["metadata"]["name"])

    # --- one reconciliation ------------------------------------------------------------------------------------------

    def _run(self, obj: Object) -> Run:
        return Run(self.pod, self.recorder, obj, objects.draft(obj), self.settings, self.pod.kube)

    async def reconcile_object(self, obj: Object) -> float | None:
        run = self._run(obj)
        done = True
        try:
            await _reconcile(run)
            return seconds(run.spec["interval"])
        except After as after:
            done = False
            return after.seconds
        except Retry:
            done = False
            raise
        except Terminal:
            return None
        finally:
            if done:
                run.observe_generation()
            objects.record_request(run.obj)
            await run.write()

    async def finalize(self, obj: Object) -> None:
        """Uninstall the release and delete the HelmChart, unless the object is suspended. Raises `Retry`."""
        run = self._run(obj)
        if not obj["spec"].get("suspend"):
            try:
                if run.status.get("storageNamespace"):
                    await _uninstall(run)
                if run.status.get("helmChart"):
                    await source.delete_chart(run)
            finally:
                await run.write()
        await objects.remove_finalizer(self.pod.kube, run.before, MANAGER)


async def _reconcile(run: Run) -> None:
    """Prepare the release, then act. Raises `After`, `Retry` or `Terminal`."""
    _refuse_unsupported(run)
    await source.keep_chart(run)
    if not run.is_routine:
        run.reconciling(texts.PREREQUISITES())
        await run.write()
    await _await_dependencies(run)
    found = await source.find(run)
    await values.compose(run)
    await source.load_chart(run, found)
    await _impersonate(run)
    if decide.target_changed(run):
        await _leave_target(run)
    decide.note_attempt(run)
    await release(run)


def _refuse_unsupported(run: Run) -> None:
    if run.section("test").get("enable"):
        said = texts.TESTS_UNSUPPORTED()
        run.not_ready(said)
        run.stall(said)
        raise Terminal(said.message)


async def _await_dependencies(run: Run) -> None:
    """Raise `After` if an object of `spec.dependsOn` is missing or not ready."""
    for namespace, name in objects.dependencies(run.obj):
        found = await run.pod.kube.find(API, KIND, name, namespace)
        if found is not None and objects.is_ready(found):
            continue
        text = texts.NO_DEPENDENCY if found is None else texts.DEPENDENCY_NOT_READY
        said = text(namespace=namespace, name=name)
        run.not_ready(said)
        await run.recorder.normal(run.obj, *said)
        raise After(run.settings.requeue_dependency)
    run.resolve(texts.DEPENDENCY_NOT_READY.reason)


async def _impersonate(run: Run) -> None:
    """Set the client that the release is made with. Raises `Retry`."""
    try:
        run.client = await run.impersonate()
    except AccessError as error:
        run.not_ready(texts.NO_CLIENT(error=error))
        raise Retry(str(error)) from error
    run.resolve(texts.NO_CLIENT.reason)


async def _leave_target(run: Run) -> None:
    """Uninstall a release whose name, namespace, storage or chart has changed. Raises `After`, always: installing follows."""
    run.log(texts.TARGET_CHANGED().message)
    await actions.uninstall(run)
    run.status["history"] = []
    run.clear_failures()
    run.status.pop("storageNamespace", None)
    raise After(0)


async def _uninstall(run: Run) -> None:
    """Uninstall the release of a deleted object, unless its account or kubeconfig is missing. Raises `Retry`."""
    try:
        run.client = await run.impersonate()
        await actions.uninstall(run)
    except AccessError as error:
        if not error.not_found:
            run.not_ready(texts.UNINSTALL_REFUSED(error=error))
            raise Retry(str(error)) from error
        run.log(texts.UNINSTALL_SKIPPED(error=error).message)
