"""Addresses and names that are the same each time: derived from what they belong to. Pure; may import nothing."""

from __future__ import annotations

import hashlib

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' alphabet for generated names."""

_DOCUMENTATION = ("192.0.2", "198.51.100", "203.0.113")
"""RFC 5737: addresses that are nobody's."""


def number(text: str, below: int) -> int:
    """A number from 0 to `below`-1 that belongs to a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % below


def safe_hash(text: str, length: int = 10) -> str:
    """A short name part that belongs to a text."""
    digest = hashlib.sha256(text.encode()).digest()
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:length])


def node_ip(index: int) -> str:
    """The address of the n-th node of a cluster in AKS' default virtual network, 10.224.0.0/12."""
    return f"10.224.{(index + 4) // 256}.{(index + 4) % 256}"


def pod_ip(uid: str) -> str:
    """An address in AKS' default overlay, 10.244.0.0/16."""
    value = number(uid, 254 * 254)
    return f"10.244.{value // 254}.{value % 254 + 1}"


def public_ip(text: str) -> str:
    """The public address of something outside the cluster's network."""
    value = number(text, 3 * 253)
    return f"{_DOCUMENTATION[value // 253]}.{value % 253 + 1}"
