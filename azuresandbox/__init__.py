"""An Azure on loopback. Clients reach it as any other cloud: by an endpoint, an authority, a CA and a credential.

Callers import `lifecycle` and `shell` only. `server` runs in a process of its own and serves the parts: `entra`, `arm`,
`kubernetes`, `machine` and `sources`. The parts share the other modules: `store` keeps all state, `directory` the tenant's
principals, `fabric` the goals and reports between ARM and the clusters, and `wire` sends their requests in memory.
"""

__version__ = "0.1.0"
