"""The tests: one folder for each behaviour. Helpers are imported by their full names.

`harness` opens a sandbox in this process, `given` passes a running system to an async test, and `processes` starts child
processes.
"""
