"""The life of a cluster: its creation and removal, and the controllers that belong to its API server."""
