"""The controllers of kube-controller-manager and the scheduler, a file each: what turns a Deployment into Pods on nodes.

May import the machine's `base`, `client` and `controller`; nothing of `node` or `images`.
"""
