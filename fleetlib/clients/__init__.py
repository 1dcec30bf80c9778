"""How the runbook reaches Azure, clusters, Git and registries: the only modules that talk to another program.

May import `parameters`, `errors`, `change`, `diagnosis` and `progress`.
"""
