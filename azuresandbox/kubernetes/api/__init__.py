"""Requests and answers: how a client reads and writes a cluster's objects.

May import `state`, `model` and the sandbox's shared modules.
"""
