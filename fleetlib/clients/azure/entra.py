"""Entra's federated exchange, as workload identity does it.

Source: Microsoft identity platform, "Access token request with a federated credential".
"""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

from fleetlib.clients.cloud import Cloud


def refusal(cloud: Cloud, tenant_id: str, client_id: str, assertion: str) -> str:
    """Entra's words if it refuses an access token for this service-account token; "" if it issues one. No token is kept."""
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import ClientAssertionCredential

    options: dict[str, Any] = {"authority": cloud.authority}
    if cloud.ca_file is not None:
        options |= {"disable_instance_discovery": True, **cloud.transport_options()}
    credential = ClientAssertionCredential(tenant_id, client_id, lambda: assertion, **options)
    logger = logging.getLogger("azure.identity")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # azure-identity logs each refusal as a warning
    try:
        credential.get_token(cloud.resource_manager + "/.default")
    except ClientAuthenticationError as error:
        return _words(str(error.message))
    finally:
        logger.setLevel(level)
    return ""


def _words(message: str) -> str:
    """The message from its code on, without the trace and correlation ids after it."""
    start = max(message.find("AADSTS"), 0)
    return message[start:].partition("Trace ID:")[0].strip()


def claims(token: str) -> dict[str, Any]:
    """The claims of a JSON Web Token; the signature is not checked."""
    payload = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found
