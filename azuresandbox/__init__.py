"""An Azure on loopback: one more cloud, reached through an endpoint, an authority, a CA and a credential.

Callers import `lifecycle` and `shell` only. The server runs in a process of its own.
"""

__version__ = "0.1.0"
