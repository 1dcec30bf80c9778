"""Kubernetes objects: kinds, schemas, patches, selectors, defaults, validation. Pure functions without state."""
