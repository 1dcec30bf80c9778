"""The stages: one module a notebook, each with its steps to plan, show and apply, and its promises to verify."""
