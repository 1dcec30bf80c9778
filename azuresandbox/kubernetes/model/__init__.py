"""What Kubernetes objects are: kinds, schemas, patches, selectors, defaults, validation. Pure functions; nothing is kept here.

May import the sandbox's shared modules; nothing of `state`, `api` or `life`.
"""
