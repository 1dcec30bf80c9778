"""The controllers of kube-controller-manager, and the scheduler: they turn a Deployment into Pods on nodes."""
