"""The registry's errors, by the table of the distribution spec."""

from __future__ import annotations

from typing import Any

from azuresandbox.sources.oci_store import DIGEST

API = {"docker-distribution-api-version": "registry/2.0"}
"""A header of every answer."""


class RegistryError(Exception):
    """An answer of the registry other than success. `code` is one of the distribution spec's table."""

    def __init__(self, status: int, code: str, message: str, detail: Any = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.detail = status, code, message, detail
        self.headers: dict[str, str] = {}

    def document(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.detail is not None:
            error["detail"] = self.detail
        return {"errors": [error]}


def manifest_unknown(reference: str) -> RegistryError:
    kind = "revision" if DIGEST.fullmatch(reference) else "tag"
    return RegistryError(404, "MANIFEST_UNKNOWN", "manifest unknown", f"unknown {kind}={reference}")


def name_unknown(repository: str) -> RegistryError:
    detail = {"name": repository.partition("/")[2]}
    return RegistryError(404, "NAME_UNKNOWN", "repository name not known to registry", detail)
