"""The client of a cluster, without a cluster."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, BrokenBarrierError, get_ident
from typing import Any

import pytest

from fleetlib.clients.kube import Kube

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
}


def test_many_threads_load_one_kubeconfig_at_a_time_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that load at once may share a certificate's file before it is written: "[SSL] PEM lib"."""
    from kubernetes import config

    load, loaded, together = config.load_kube_config_from_dict, list[int](), Barrier(2)

    def slowly(*arguments: Any, **settings: Any) -> None:
        loaded.append(get_ident())
        try:
            together.wait(0.2)
            pytest.fail("two threads loaded kubeconfigs at the same time")
        except BrokenBarrierError:
            together.reset()
        load(*arguments, **settings)

    monkeypatch.setattr(config, "load_kube_config_from_dict", slowly)
    kubes = [Kube(KUBECONFIG, f"cluster-{number}", tmp_path) for number in range(2)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: kubes[number % 2].api, range(8)))
    assert len(loaded) == 2 and {id(api) for api in found} == {id(kube.api) for kube in kubes}
