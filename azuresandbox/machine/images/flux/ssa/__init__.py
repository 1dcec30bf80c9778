"""Server-side apply, waiting and pruning as fluxcd/pkg/ssa does it, for all Flux controllers that apply objects."""
