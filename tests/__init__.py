"""The tests, a folder a behaviour. `harness` opens a sandbox in this process; helpers are imported by their full names."""
