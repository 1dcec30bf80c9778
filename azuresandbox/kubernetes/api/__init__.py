"""Requests and answers: how a client reads and writes a cluster's objects."""
