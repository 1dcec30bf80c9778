"""`fleet sandbox env`: the lines by which a POSIX shell makes the Azure CLI, SDKs, kubectl and curl use the sandbox.

Every variable is set, also one that the user's shell has already: otherwise a leftover certificate, proxy or kubeconfig would
win or be written to. The secret is never printed: the lines read it from a file of mode 0600. The Azure CLI and kubectl get
folders of their own below the sandbox's, so that the user's sign-ins and contexts stay untouched, and `fleet sandbox reset`
removes them.
"""

from __future__ import annotations

import shlex
import ssl
from collections.abc import Mapping
from pathlib import Path

from azuresandbox.lifecycle import Endpoint
from azuresandbox.pki import write_private

CLOUD = "FleetSandbox"
"""The cloud's name in the Azure CLI."""

CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "GIT_SSL_CAINFO")
LOOPBACK = ("127.0.0.1", "localhost")
UNSET = (
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_USERNAME",
    "AZURE_PASSWORD",
    "AZURE_TOKEN_CREDENTIALS",
    "AZURE_CLOUD_NAME",
)
"""Other variables that say who signs in and where. They would be read before or beside the operator's secret."""


def lines(state: Path, where: Endpoint, environment: Mapping[str, str]) -> list[str]:
    """Return the shell lines and write the files that they name. `environment` is that of the shell that will evaluate them."""
    secret, bundle = state / "operator.secret", state / "ca-bundle.pem"
    write_private(secret, where.client_secret)
    write_private(bundle, _bundle(where, environment, bundle))
    exempt = _exempt(environment)
    values = {
        "AZURE_AUTHORITY_HOST": where.base,
        "AZURE_TENANT_ID": where.tenant_id,
        "AZURE_CLIENT_ID": where.client_id,
        "AZURE_SUBSCRIPTION_ID": where.subscription_id,
        "ARM_ENDPOINT": where.base,
        **dict.fromkeys(CA_VARIABLES, str(bundle)),
        "NO_PROXY": exempt,
        "no_proxy": exempt,
        "KUBECONFIG": str(state / "kubeconfig"),
        "AZURE_CONFIG_DIR": str(state / "azure"),
        "AZURE_CORE_INSTANCE_DISCOVERY": "false",
        "AZURE_CORE_COLLECT_TELEMETRY": "false",
    }
    return [
        f"unset {' '.join(UNSET)}",
        *(f"export {name}={shlex.quote(value)}" for name, value in values.items()),
        f'export AZURE_CLIENT_SECRET="$(cat {shlex.quote(str(secret))})"',
        *_azure_cli(secret),
    ]


def _azure_cli(secret: Path) -> list[str]:
    """Return the lines that register the cloud and sign in. Each runs once for a configuration folder of the Azure CLI.

    Without the CLI they do nothing.
    """
    return [
        "if command -v az >/dev/null; then",
        f'  grep -qs "^\\[{CLOUD}\\]" "$AZURE_CONFIG_DIR/clouds.config" ||',
        f'    az cloud register --name {CLOUD} --endpoint-resource-manager "$ARM_ENDPOINT" --only-show-errors',
        f'  grep -qs "^name = {CLOUD}$" "$AZURE_CONFIG_DIR/config" || az cloud set --name {CLOUD} --only-show-errors',
        '  grep -qs "$AZURE_CLIENT_ID" "$AZURE_CONFIG_DIR/azureProfile.json" ||',
        '    az login --service-principal --username "$AZURE_CLIENT_ID" --tenant "$AZURE_TENANT_ID" \\',
        f"      --password {shlex.quote(f'@{secret}')} --output none --only-show-errors",
        "fi",
    ]


def _bundle(where: Endpoint, environment: Mapping[str, str], own: Path) -> str:
    """Return the CAs that the shell trusted so far and the sandbox's CA, so that public hosts stay reachable."""
    named = (environment.get(name) for name in CA_VARIABLES)
    defaults = ssl.get_default_verify_paths()
    candidates = [Path(name) for name in (*named, defaults.cafile, defaults.openssl_cafile) if name]
    trusted = next((path for path in candidates if path != own and path.is_file()), None)
    return (trusted.read_text().rstrip("\n") + "\n" if trusted else "") + where.ca_file.read_text()


def _exempt(environment: Mapping[str, str]) -> str:
    """Return the hosts that are reached without a proxy: the loopback interface and those exempt before."""
    before = f"{environment.get('no_proxy', '')},{environment.get('NO_PROXY', '')}".split(",")
    return ",".join(dict.fromkeys(name.strip() for name in (*LOOPBACK, *before) if name.strip()))
