"""What happens in a cluster over time: how it is made, and what the API server's own controllers do.

May import `api`, `state`, `model` and the sandbox's shared modules.
"""
