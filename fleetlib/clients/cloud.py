"""The Azure cloud: endpoints, authority, CA and credential. Other modules treat all clouds alike.

The sandbox is reached like a sovereign cloud: through an endpoint, an authority, a CA and a credential. These settings win over
REQUESTS_CA_BUNDLE, SSL_CERT_FILE and the proxies of the environment.
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
    """One Azure cloud: `resource_manager` and `authority` are base URLs, `home` is the folder where fleetlib keeps its state.

    `ca_file`: the CA of the cloud's endpoints; `None` for public CAs. `client_id`, `client_secret`, `tenant_id`: the cloud's
    own account; empty to use the user's sign-in. `mirrors` maps public URL prefixes to the URLs that serve them instead. `pace`
    is the number of real seconds in one second of the cloud's clock: 1, or less on a sandbox with a faster clock. `portal` is
    the URL of the portal; empty if there is none.
    """

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
        """`DefaultAzureCredential` for this cloud; with the cloud's own account if it has one."""
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
        """Return an `azure-mgmt-*` client of this cloud."""
        options |= {"base_url": self.resource_manager, "credential_scopes": [self.resource_manager + "/.default"]}
        return client_class(self.credential, *arguments, **options, **self.transport_options())

    def transport_options(self) -> dict[str, Any]:
        """Return the transport for clients of azure-core: with the cloud's CA and without proxies; empty for public CAs."""
        return {} if self.ca_file is None else {"transport": self._transport()}

    def fetch_json(self, url: str) -> dict[str, Any]:
        """Fetch a public JSON document, such as an OIDC discovery document. Raises `FinalError` if it cannot be read."""
        import requests

        with requests.Session() as session:
            session.trust_env = self.ca_file is None
            try:
                answer = session.get(url, timeout=30, verify=str(self.ca_file) if self.ca_file else True)
                answer.raise_for_status()
                document: dict[str, Any] = answer.json()
            except (requests.RequestException, ValueError) as error:
                raise FinalError("could not read a public document", target=url, said=str(error)) from error
        return document

    def mirrored(self, url: str) -> str:
        """Return the URL that serves `url`: the mirror's, or `url` itself."""
        prefix = max((p for p in self.mirrors if url.startswith(p)), key=len, default=None)
        return url if prefix is None else self.mirrors[prefix] + url[len(prefix) :]

    def git_environment(self) -> dict[str, str]:
        """Return the environment for the `git` command: mirrors, CA and credential, which must not appear on a command line."""
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
    """Return the cloud that the parameters name. Starts the sandbox if it does not run."""
    home = fleet_home()
    if parameters.cloud == "sandbox":
        return sandbox_cloud(home)
    resource_manager, authority, portal = ENDPOINTS[parameters.cloud]
    return Cloud(name=parameters.cloud, resource_manager=resource_manager, authority=authority, home=home, portal=portal)


def sandbox_cloud(home: Path, clock: str = "instant") -> Cloud:
    """Start the sandbox under `home` if it does not run, and return it as a cloud."""
    where = sandbox.up(home / "sandbox", os.environ.get("FLEET_CLOCK", clock), project_root())
    return Cloud(
        name="sandbox",
        resource_manager=where.base,
        authority=where.base,
        home=home,
        ca_file=where.ca_file,
        tenant_id=where.tenant_id,
        client_id=where.client_id,
        client_secret=where.client_secret,
        mirrors=where.mirrors,
        pace=where.pace,
    )


def project_root() -> Path:
    """Return the current checkout: the nearest folder upwards with both notebooks/ and parameters/, or the current folder."""
    here = Path.cwd()
    return next((f for f in (here, *here.parents) if (f / "notebooks").is_dir() and (f / "parameters").is_dir()), here)


def fleet_home() -> Path:
    """Return the folder for state: `FLEET_HOME`, or `.fleet/` in the checkout."""
    return Path(os.environ.get("FLEET_HOME") or project_root() / ".fleet").absolute()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables during the block: the credential reads them when it is created."""
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
