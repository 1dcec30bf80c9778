"""Helm without the command line: charts rendered by Helm's own code, releases stored in Helm's format, and its actions.

`charts` loads and renders, `manifests` splits the output, `releases` stores, `resources` applies and deletes objects,
`hooks` runs hooks, `actions` installs, upgrades, rolls back and uninstalls.
"""
