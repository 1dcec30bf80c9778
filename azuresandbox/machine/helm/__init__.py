"""Helm without the command line: charts rendered by Helm's own code, releases stored as Helm stores them, its actions.

`charts` loads and renders, `manifests` takes apart, `releases` stores, `actions` install, upgrade, roll back and uninstall.
"""
