"""Which Azure: endpoints, authority, CA and credential. After this module nobody asks which cloud it is.

The sandbox is reached like a sovereign cloud: through an endpoint, an authority, a CA and a credential. What is set here wins
over REQUESTS_CA_BUNDLE, SSL_CERT_FILE and proxies in the environment. May import `parameters`, `errors` and
`sandbox.lifecycle` (the one place that starts the sandbox).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fleetlib.clients import sandbox
from fleetlib.errors import FinalError
from fleetlib.parameters import Parameters

ENDPOINTS = {
    "AzureCloud": ("https://management.azure.com", "https://login.microsoftonline.com", "https://portal.azure.com"),
    "AzureUSGovernment": (
        "https://management.usgovcloudapi.net",
        "https://login.microsoftonline.us",
        "https://portal.azure.us",
    ),
    "AzureChinaCloud": ("https://management.chinacloudapi.cn", "https://login.chinacloudapi.cn", "https://portal.azure.cn"),
}
"""Cloud -> (Azure Resource Manager, Entra's authority, the portal). Source: `az cloud list`."""


@dataclass
class Cloud:
    """One Azure. `mirrors` maps public URL prefixes to where they are served instead (a proxy, a mirror, the sandbox); `pace` is
    how many seconds here one of the cloud's own takes, by which its controllers try again: 1, unless its clock is a faster one."""

    name: str
    resource_manager: str
    authority: str
    home: Path
    ca_file: Path | None = None
    tenant_id: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    mirrors: dict[str, str] = field(default_factory=dict)
    pace: float = 1.0
    portal: str = ""

    @cached_property
    def credential(self) -> Any:
        """`DefaultAzureCredential` for this cloud. With an account of the cloud's own, its environment credential is used."""
        from azure.identity import DefaultAzureCredential

        options: dict[str, Any] = {"authority": self.authority}
        if self.ca_file is not None:
            options |= {"disable_instance_discovery": True, **self.transport_options()}
        with _environment(self._account()):
            return DefaultAzureCredential(**options)

    def _account(self) -> dict[str, str]:
        if not self.client_secret:
            return {}
        return {
            "AZURE_TENANT_ID": self.tenant_id,
            "AZURE_CLIENT_ID": self.client_id,
            "AZURE_CLIENT_SECRET": self.client_secret,
        }

    def _transport(self) -> Any:
        from azure.core.pipeline.transport import RequestsTransport

        return RequestsTransport(use_env_settings=False, connection_verify=str(self.ca_file))

    def client(self, client_class: Any, *arguments: Any, **options: Any) -> Any:
        """An `azure-mgmt-*` client of this cloud."""
        options |= {"base_url": self.resource_manager, "credential_scopes": [self.resource_manager + "/.default"]}
        return client_class(self.credential, *arguments, **options, **self.transport_options())

    def transport_options(self) -> dict[str, Any]:
        """What a client of azure-core needs to reach this cloud: its own CA, if it has one."""
        return {} if self.ca_file is None else {"transport": self._transport()}

    def fetch_json(self, url: str) -> dict[str, Any]:
        """A public JSON document, such as an OIDC discovery document, with this cloud's CA. Raises `FinalError`."""
        import requests

        with requests.Session() as session:
            session.trust_env = self.ca_file is None
            try:
                answer = session.get(url, timeout=30, verify=str(self.ca_file) if self.ca_file else True)
                answer.raise_for_status()
                document: dict[str, Any] = answer.json()
            except (requests.RequestException, ValueError) as error:
                raise FinalError("a public document could not be read", target=url, said=str(error)) from error
        return document

    def mirrored(self, url: str) -> str:
        """Where `url` is really served."""
        prefix = max((p for p in self.mirrors if url.startswith(p)), key=len, default=None)
        return url if prefix is None else self.mirrors[prefix] + url[len(prefix) :]

    def git_environment(self) -> dict[str, str]:
        """Environment for the `git` command: this cloud's mirrors, CA and credential, none of them on a command line."""
        settings: list[tuple[str, str]] = []
        for public, target in self.mirrors.items():
            if public.startswith("https://"):
                settings += [(f"url.{target}.insteadOf", public), (f"http.{target}.sslCAInfo", str(self.ca_file))]
                settings += [(f"http.{target}.proxy", ""), (f"http.{target}.extraHeader", f"Authorization: {self._basic()}")]
        variables = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_COUNT": str(len(settings))}
        for number, (key, value) in enumerate(settings):
            variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        if self.mirrors and self.ca_file is not None:
            variables["GIT_SSL_CAINFO"] = str(self.ca_file)
        return variables

    def _basic(self) -> str:
        import base64

        return "Basic " + base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()


def connect(parameters: Parameters) -> Cloud:
    """The cloud the parameters name; the sandbox is started if it does not run."""
    home = fleet_home()
    if parameters.cloud == "sandbox":
        return sandbox_cloud(home)
    resource_manager, authority, portal = ENDPOINTS[parameters.cloud]
    return Cloud(parameters.cloud, resource_manager, authority, home, portal=portal)


def sandbox_cloud(home: Path, clock: str = "instant") -> Cloud:
    """The sandbox kept under `home`, running."""
    where = sandbox.up(home / "sandbox", os.environ.get("FLEET_CLOCK", clock), project_root())
    return Cloud(
        "sandbox",
        where.base,
        where.base,
        home,
        where.ca_file,
        where.tenant_id,
        where.client_id,
        where.client_secret,
        where.mirrors,
        where.pace,
    )


def project_root() -> Path:
    """The checkout that is worked in: the nearest folder upwards with both notebooks/ and parameters/, or the current one."""
    here = Path.cwd()
    return next((f for f in (here, *here.parents) if (f / "notebooks").is_dir() and (f / "parameters").is_dir()), here)


def fleet_home() -> Path:
    """Where state is kept: `FLEET_HOME`, or `.fleet/` in the project."""
    return Path(os.environ.get("FLEET_HOME") or project_root() / ".fleet").absolute()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """The process's environment with `values` for the length of the block: the credential reads it when it is made."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
