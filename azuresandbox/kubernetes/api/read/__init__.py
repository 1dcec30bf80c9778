"""Reads: get, list and watch. Only selectors, Tables and metadata-only answers decode the stored objects."""
