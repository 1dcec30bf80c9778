"""Addresses and names that are derived from the objects they belong to, so that each run has the same."""

from __future__ import annotations

import hashlib

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' alphabet for generated names."""

_DOCUMENTATION = ("192.0.2", "198.51.100", "203.0.113")
"""RFC 5737: networks for documentation, whose addresses are never assigned."""


def number(text: str, below: int) -> int:
    """Return a number from 0 to `below`-1 that is derived from a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % below


def safe_hash(text: str, length: int = 10) -> str:
    """Return a part of a name that is derived from a text."""
    digest = hashlib.sha256(text.encode()).digest()
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:length])


def node_ip(index: int) -> str:
    """Return the address of the n-th node of a cluster in AKS' default virtual network, 10.224.0.0/12."""
    return f"10.224.{(index + 4) // 256}.{(index + 4) % 256}"


def pod_ip(uid: str) -> str:
    """Return an address in AKS' default overlay, 10.244.0.0/16."""
    value = number(uid, 254 * 254)
    return f"10.244.{value // 254}.{value % 254 + 1}"


def public_ip(text: str) -> str:
    """Return a public address that is derived from a text."""
    value = number(text, 3 * 253)
    return f"{_DOCUMENTATION[value // 253]}.{value % 253 + 1}"
