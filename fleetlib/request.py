"""Requests that people can read before they are sent: the ARM request, the manifest, the commit's diff, the pushed artifact.

A step makes one `Request`. `send` sends it, `shown` describes the same request; both work on the same object, so that what a
notebook shows is what `apply` sends. Secrets are masked in everything that is shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from html import escape
from typing import Any, Protocol

MASK = "***"

_SECRET_KEY = re.compile(
    r"(password|secret|token|kubeconfig|(private|access|account|shared)_?key|connection_?string)$", re.IGNORECASE
)
"""Property names whose texts are secrets. `secretRef` and `aadClientId` are names and identifiers, and stay readable."""

_SECRET_MAPPINGS = ("configurationProtectedSettings", "protectedSettings")
"""ARM properties whose values are all secrets (Microsoft.KubernetesConfiguration, Microsoft.Compute extensions)."""


class Request(Protocol):
    """One write: to Azure Resource Manager, to a cluster, to Git or to a registry."""

    def send(self) -> Any:
        """Send it; the answer. Raises `FleetError`."""

    def shown(self) -> Shown:
        """Describe it without sending it."""


@dataclass(frozen=True, repr=False)
class Shown:
    """A request as people read it.

    `action` is what it changes, in words; `head` says what is sent where (`PUT /subscriptions/...`); `body` is JSON, YAML or a
    diff, as `language` says; `command` does the same by hand, "" where there is no such command.
    """

    head: str
    body: str = ""
    language: str = ""
    action: str = ""
    command: str = ""

    def __repr__(self) -> str:
        parts = [self.action, "\n".join(part for part in (self.head, self.body) if part)]
        if self.command:
            parts.append("the same by hand:\n" + "\n".join(f"  {line}" for line in self.command.splitlines()))
        return "\n\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        sent = f"<b>{escape(self.action)}</b>{_code(self.head, _coloured(self.body, self.language))}"
        if not self.command:
            return f"<div>{sent}</div>"
        by_hand = f"<b>The same by hand</b>{_code('', escape(self.command))}"
        return (
            "<div style='display:flex;flex-wrap:wrap;gap:0 2em;align-items:flex-start'>"
            f"<div style='flex:6 1 30em;min-width:0'>{sent}</div><div style='flex:5 1 26em;min-width:0'>{by_hand}</div></div>"
        )

    def without(self, secrets: Collection[str]) -> Shown:
        """The same with these texts masked, wherever they stand."""
        head, body = self.head, self.body
        for text in filter(None, secrets):
            head, body = head.replace(text, MASK), body.replace(text, MASK)
        return replace(self, head=head, body=body)


def masked(document: Any) -> Any:
    """The document with its secrets as `***`: a Secret's `data` and `stringData`, and properties whose names say so."""
    if isinstance(document, Mapping):
        kubernetes_secret = document.get("kind") == "Secret" and document.get("apiVersion") == "v1"
        return {key: _masked_value(key, value, kubernetes_secret) for key, value in document.items()}
    return [masked(item) for item in document] if isinstance(document, list) else document


def _masked_value(key: str, value: Any, kubernetes_secret: bool) -> Any:
    if isinstance(value, Mapping) and (key in _SECRET_MAPPINGS or (kubernetes_secret and key in ("data", "stringData"))):
        return dict.fromkeys(value, MASK)
    if isinstance(value, str) and value and _SECRET_KEY.search(key):
        return MASK
    return masked(value)


LINE = 72
"""Characters of a JSON array or object that is written on one line."""


def as_json(document: Any, indent: str = "") -> str:
    """The document as JSON, small arrays and objects on one line, so that a request fits a screen."""
    text = json.dumps(document, ensure_ascii=False)
    if not isinstance(document, dict | list) or len(indent) + len(text) <= LINE:
        return text
    inner = indent + "  "
    if isinstance(document, dict):
        parts = [f"{json.dumps(key)}: {as_json(value, inner)}" for key, value in document.items()]
    else:
        parts = [as_json(value, inner) for value in document]
    start, end = ("{", "}") if isinstance(document, dict) else ("[", "]")
    return f"{start}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{end}"


_BOX = (
    "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:90%;line-height:1.45;"
    "white-space:pre-wrap;overflow-wrap:anywhere;margin:.4em 0;padding:.5em .8em;"
    "border-left:3px solid #8aa4c4;background:rgba(128,128,128,.08)"
)
_KEYS = {
    "json": re.compile(r"()(&quot;[^&]+&quot;)(: )"),
    "yaml": re.compile(r"^(\s*(?:- )?)([\w./-]+)(:)", re.MULTILINE),
}
_SIGNED = {"+": "#0b6e4f", "-": "#b3261e", "@": "#7a7a7a"}


def _code(head: str, body: str) -> str:
    verb, _, rest = head.partition(" ")
    first = f"<b>{escape(verb)}</b> {escape(rest)}" if head else ""
    return f'<pre style="{_BOX}">{first}{chr(10) if first and body else ""}{body}</pre>'


def _coloured(text: str, language: str) -> str:
    """The text as HTML: keys of JSON and YAML in a colour, added and removed lines of a diff in theirs."""
    if language == "diff":
        return "\n".join(_signed(line) for line in text.splitlines())
    if language in _KEYS:
        return _KEYS[language].sub(r"\1<span style='color:#3b73b9'>\2</span>\3", escape(text))
    return escape(text)


def _signed(line: str) -> str:
    colour = _SIGNED.get(line[:1])
    return f"<span style='color:{colour}'>{escape(line)}</span>" if colour else escape(line)
