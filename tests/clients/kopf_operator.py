"""An operator for `kopf run`: a Note's text becomes a ConfigMap, and an annotation can hold its deletion."""

from __future__ import annotations

from typing import Any

import kopf
import kubernetes.client
import kubernetes.config


@kopf.on.startup()
def settings(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.loggers = True
    kubernetes.config.load_kube_config()
    settings.persistence.finalizer = "notes.example.org/kopf"


def _core() -> Any:
    configuration = kubernetes.client.Configuration.get_default_copy()
    configuration.proxy = None
    return kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(configuration))


@kopf.on.create("example.org", "v1", "notes")
def create(spec: Any, name: str, namespace: str | None, body: Any, **_: Any) -> dict[str, str]:
    if not spec.get("text"):
        raise kopf.PermanentError("a note needs a text")
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": spec["text"]}}
    kopf.adopt(made, owner=body)
    _core().create_namespaced_config_map(namespace, made)
    return {"text": spec["text"]}


@kopf.on.create("example.org", "v1", "notes", id="flaky", retries=3, when=lambda spec, **_: spec.get("flaky", False))
def flaky(retry: int, patch: Any, **_: Any) -> None:
    if retry < 2:
        raise kopf.TemporaryError("not yet", delay=0.2)
    patch.status["retries"] = retry


@kopf.on.update("example.org", "v1", "notes", field="spec.text")
def update(name: str, namespace: str | None, new: Any, old: Any, patch: Any, **_: Any) -> None:
    _core().patch_namespaced_config_map(name, namespace, {"data": {"text": new}})
    patch.status["previous"] = old


@kopf.on.delete("example.org", "v1", "notes")
def delete(meta: Any, **_: Any) -> None:
    if meta.get("annotations", {}).get("hold") == "yes":
        raise kopf.TemporaryError("held", delay=0.2)


@kopf.on.event("", "v1", "configmaps", labels={"counted": kopf.PRESENT})
def counted(event: Any, logger: Any, name: str, **_: Any) -> None:
    logger.info(f"saw {event['type']} of {name}")
