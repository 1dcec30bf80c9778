"""Writes: a file for each verb, after the generic registry of kube-apiserver.

All of it is synchronous once the body has been read, so nothing can change between reading the old object and writing the
new one.
"""
