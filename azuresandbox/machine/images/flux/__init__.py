"""Flux's controllers and the Azure agent that configures them, as programs.

May import the machine's `helm`, `kustomize`, `client` and `program`.
"""
