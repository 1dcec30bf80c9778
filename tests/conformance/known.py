"""The known differences, each with its reason; `test_known.py` checks that docs/sandbox.md has the reasons too."""

from __future__ import annotations

REASONS = {
    "protection": "PersistentVolumes and their claims have no finalizers that protect them while they are in use.",
    "node-taint": "A new Node is not tainted `not-ready`: no controller would remove the taint.",
    "status-numbers": "The counts in the status of a workload are not validated.",
    "columns": "Columns of Tables have no descriptions, except those of custom resources.",
    "plain-tables": "Tables of kinds that are seldom listed (EndpointSlices, PersistentVolumes and others) have the name and "
    "the age only.",
    "descriptions": "In OpenAPI documents, descriptions of fields are shortened.",
    "no-roles": "An empty Table of Roles has an empty list of rows, not null.",
    "review-managers": "Reviews and tokens are answered without managedFields.",
    "groups": "Discovery shows the resources and subresources that the sandbox serves.",
    "crd-at-once": "A CustomResourceDefinition is established, with its finalizer, when its creation is answered, not a moment "
    "later.",
    "crd-versions": "The refusal of a definition's versions shows their names only.",
    "applied-null": "A null that is applied to a custom resource means no value; it is not refused.",
    "empty-maps": "Applying empty labels or annotations to a custom resource again does not make a new resourceVersion.",
    "scale-patch": "The refusal of a patch that turns a Scale into another kind does not show the patched object.",
}
"""Name of a reason -> its sentence in docs/sandbox.md."""

DIFFERENCES = [
    ("life[claim]", "*", "protection"),
    ("cluster_life[volume]", "*", "protection"),
    ("cluster_life[node]", "* $.body.spec.taints", "node-taint"),
    ("status", "16 PATCH *", "status-numbers"),
    ("tables", "* $.body.columnDefinitions[*].description", "columns"),
    ("tables", "15 GET * $.body.rows", "no-roles"),
    *(("tables", f"{number} GET * $.body.columnDefinitions", "plain-tables") for number in (23, 24, 25, 26, 28, 32)),
    ("watch_sequence[configmaps]", "* $.body[0].object.columnDefinitions[*].description", "columns"),
    ("watch_sequence[conformance.example.com/v1/widgets]", "* $.body[0].object.columnDefinitions[0].description", "columns"),
    ("watch_beginnings[configmaps]", "* $.body[0].object.columnDefinitions[*].description", "columns"),
    ("watch_beginnings[conformance.example.com/v1/widgets]", "* $.body[0].object.columnDefinitions[0].description", "columns"),
    ("reviews", "* $.body.metadata.managedFields", "review-managers"),
    ("tokens", "* $.body.metadata.managedFields", "review-managers"),
    *(("openapi", f"* $.body.*.properties.{name}.description", "descriptions") for name in ("apiVersion", "kind", "metadata")),
    ("a_definition", "1 POST *", "crd-at-once"),
    *((f"definitions_refused[{case}]", "*", "crd-versions") for case in ("no-storage", "two-storages", "same-version")),
    ("discovery", "8 GET * $.body.resources", "groups"),
    ("discovery", "14 GET * $.body.resources", "groups"),
    ("applied_null", "1 PATCH *", "applied-null"),
    ("empty_maps", "* $.body.metadata.resourceVersion", "empty-maps"),
    ("scale", "7 PATCH *", "scale-patch"),
    ("scale", "19 PATCH *", "scale-patch"),
]
"""(test, place in its conversation, name of the reason); `*` matches any text."""
