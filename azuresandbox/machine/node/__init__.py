"""One node: the kubelet that runs Pods, what it mounts into them, and what they log.

May import the machine's `base`, `client` and `program`; nothing of `controllers`.
"""
