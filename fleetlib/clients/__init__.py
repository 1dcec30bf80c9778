"""Clients of Azure, clusters, Git and registries: the only modules that talk to other programs."""
