"""Nodes: the Node objects of a cluster's agent pools, and the kubelets that run Pods on them.

`kubelet` has a worker for each Pod: `volumes` are set up, then `runner` runs the containers, and `status` reports their state.
"""
