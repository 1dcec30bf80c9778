"""The values of a release: those of `spec.valuesFrom` in their order, then `spec.values`. Source: fluxcd/pkg/chartutil."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from azuresandbox.machine.client import ApiError
from azuresandbox.machine.helm.charts import ChartError, merge_values, read_values, set_value
from azuresandbox.machine.images.flux.helm import texts
from azuresandbox.machine.images.flux.helm.run import Retry, Run
from azuresandbox.machine.types import Object


class ValuesError(Exception):
    """A reference that leads to no values: fluxcd/pkg/chartutil.ErrValuesReference."""

    def __init__(self, reference: Mapping[str, Any], namespace: str, problem: str) -> None:
        self.said = texts.VALUES_UNRESOLVED(
            optional=" optional" if reference.get("optional") else "",
            kind=reference["kind"],
            namespace=namespace,
            name=reference["name"],
            key=_key(reference),
            problem=problem,
        )
        super().__init__(self.said.message)


async def compose(run: Run) -> None:
    """Set `run.values`. Raises `Retry`."""
    try:
        run.values = await _composed(run)
    except ValuesError as error:
        run.not_ready(error.said)
        await run.recorder.warning(run.obj, *error.said)
        raise Retry(str(error)) from error
    run.resolve("ValuesError")


async def _composed(run: Run) -> Object:
    own: Object = run.spec.get("values") or {}
    result: Object = {}
    for reference in run.spec.get("valuesFrom") or ():
        text = await _referenced(run, reference)
        if text is None:
            continue
        try:
            if reference.get("targetPath"):
                result = _set_path(merge_values(result, own), reference["targetPath"], text)
            else:
                result = merge_values(result, read_values(text))
        except ChartError as error:
            raise ValuesError(reference, run.namespace, str(error)) from error
    return merge_values(result, own)


async def _referenced(run: Run, reference: Mapping[str, Any]) -> str | None:
    """Return the text that a reference names, or `None` if it is missing and optional. Raises `ValuesError` or `Retry`."""
    kind, key = reference["kind"], _key(reference)
    problem = "key not found"
    try:
        data = (await run.pod.kube.get("v1", kind, reference["name"], run.namespace)).get("data") or {}
        if key in data:
            raw = base64.b64decode(data[key]) if kind == "Secret" else str(data[key]).encode()
            return raw.decode("utf-8", "replace")
    except ApiError as error:
        if not error.not_found:
            raise Retry(str(error)) from error
        problem = str(error)
    missing = ValuesError(reference, run.namespace, problem)
    if reference.get("optional"):
        run.log(str(missing))
        return None
    raise missing


def _key(reference: Mapping[str, Any]) -> str:
    return str(reference.get("valuesKey") or "values.yaml")


def _set_path(values: Object, path: str, text: str) -> Object:
    """Return `values` with `text` at a `--set` path. Text in quotes stays a string."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return merge_values(values, set_value(f"{path}={text[1:-1]}", as_string=True))
    return merge_values(values, set_value(f"{path}={text}"))
