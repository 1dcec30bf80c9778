"""The source-controller: fetches sources and serves them to the cluster as artifacts, after fluxcd/source-controller 1.6.

It has a controller for each of GitRepository, OCIRepository, HelmRepository, HelmChart and Bucket (which is refused by name).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from azuresandbox.machine.controller import Controller, Informers
from azuresandbox.machine.images.flux import registries
from azuresandbox.machine.images.flux.artifacts import Storage, serving
from azuresandbox.machine.images.flux.source import bucket, git_repository, helm_chart, helm_repository, oci_repository
from azuresandbox.machine.images.flux.source.engine import API_VERSION, Engine, SourceError
from azuresandbox.machine.node.program import Pod, image

KINDS = (git_repository.KIND, oci_repository.KIND, helm_repository.KIND, helm_chart.KIND, bucket.KIND)
BACKOFF = (0.75, 900.0)
"""Seconds: the controller's --min-retry-delay and --max-retry-delay."""


@image(*registries.images("source-controller"))
async def source_controller(pod: Pod) -> None:
    """Run source-controller until its Pod is stopped."""
    storage = Storage()
    engine = Engine(pod, storage)
    informers = Informers(pod.kube, pod.clock, pod.log)
    with serving(pod, storage):
        try:
            async with asyncio.TaskGroup() as group:
                for kind in KINDS:
                    controller = Controller(kind.name.lower(), informers, pod.clock, _unexpected(pod), backoff=BACKOFF)
                    controller.watch(API_VERSION, kind.name, engine.concerned)
                    if kind is helm_chart.KIND:
                        helm_chart.watch_sources(controller)
                    group.create_task(controller.run(partial(engine.reconcile, kind)))
                pod.ready(True)
        finally:
            await informers.stop()


def _unexpected(pod: Pod) -> Callable[[str], None]:
    """Return a function that logs retried errors, except those of sources, which the engine has logged already."""

    def log(text: str) -> None:
        if f": {SourceError.__name__}: " not in text:
            pod.log(text)

    return log
