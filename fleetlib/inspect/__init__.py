"""The fleet as tables, for notebooks and the command line. May import `session`, `azure`, `kube`, `environments`."""
