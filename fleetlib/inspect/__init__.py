"""The fleet as tables, for notebooks, the command line and the report: `fleet.Fleet` is the entry."""
