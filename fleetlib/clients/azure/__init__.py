"""Azure Resource Manager, one module for each resource type: functions that read it, and steps that create or delete it."""
