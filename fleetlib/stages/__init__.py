"""One module a notebook: plan, apply, verify. May import `session`, `azure`, `kube`, `gitops`, `diagnosis`, never `run` or `cli`."""
