"""Executable runbooks for fleets of AKS clusters: the package behind the notebooks."""

__version__ = "0.1.0"
