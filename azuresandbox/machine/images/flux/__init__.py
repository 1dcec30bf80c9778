"""Flux's controllers and the Azure agent that configures them, as programs.

`helm`, `kustomize` and `source` are packages of one controller each; its texts are in their `texts` modules. `reconciler`,
`run`, `conditions`, `events` and `objects` are shared by them, `ssa` by the controllers that apply objects.
"""
