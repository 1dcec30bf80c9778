"""Azure Resource Manager, one module a resource type: read, the step that makes it so, and delete.

May import `cloud`, `errors`, `change`, `progress`.
"""
