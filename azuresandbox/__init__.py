"""An Azure on loopback. Clients reach it as any other cloud: by an endpoint, an authority, a CA and a credential.

Callers import `lifecycle` and `shell` only. The server runs in a process of its own.
"""

__version__ = "0.1.0"
