"""The reasons and messages of kustomize-controller, in the order of a reconciliation. Source: its release 1.6, internal/.

Conditions, events and log lines take their texts from here. The reason of an event is that of Ready. Texts of kustomize
itself are in `machine.kustomize`, those of server-side apply in `flux.ssa`.
"""

from __future__ import annotations

from azuresandbox.machine.images.flux.texts import Text

# --- refusals of the sandbox
FIELD_UNSUPPORTED = Text("BuildFailed", "the sandbox does not support spec.{field}: {instead}")
READY_EXPR_UNSUPPORTED = Text(
    "BuildFailed", "the sandbox does not support spec.dependsOn.readyExpr: leave it out, Ready is waited for"
)

# --- Ready while it works; Reconciling has the step
PROGRESSING = Text("Progressing", "Reconciliation in progress")
FETCHING = Text("Progressing", "Fetching manifests for revision {revision} with a timeout of {timeout}")
BUILDING = Text("Progressing", "Building manifests for revision {revision} with a timeout of {timeout}")
DETECTING = Text("Progressing", "Detecting drift for revision {revision} with a timeout of {timeout}")
CHECKING = Text("Progressing", "Running health checks for revision {revision} with a timeout of {timeout}")

# --- source and dependencies
ACCESS_DENIED = Text("AccessDenied", "can't access '{kind}/{namespace}/{name}', cross-namespace references have been blocked")
SOURCE_KIND = Text("ArtifactFailed", "source `{name}` kind '{kind}' not supported")
NO_SOURCE = Text("ArtifactFailed", '{kind}.source.toolkit.fluxcd.io "{name}" not found')
SOURCE_UNREADABLE = Text("ArtifactFailed", "unable to get source '{namespace}/{name}': {error}")
SOURCE_WITHOUT_ARTIFACT = Text("ArtifactFailed", "Source artifact not found, retrying in {again}")
NO_ARTIFACT = Text("ArtifactFailed", "Source is not ready, artifact not found, retrying in {again}")
ARTIFACT_FAILED = Text("ArtifactFailed", "{error}")
NO_PATH = Text("ArtifactFailed", "kustomization path not found: stat {folder}/{path}: no such file or directory")
NO_DEPENDENCY = Text(
    "DependencyNotReady",
    "dependency '{namespace}/{name}' not found: kustomizations.kustomize.toolkit.fluxcd.io \"{name}\" not found",
)
DEPENDENCY_NOT_READY = Text("DependencyNotReady", "dependency '{namespace}/{name}' is not ready")
DEPENDENCY_OUTDATED = Text("DependencyNotReady", "dependency '{namespace}/{name}' revision is not up to date")
DEPENDENCIES_EVENT = Text("", "Dependencies do not meet ready condition, retrying in {again}")

# --- build
NO_CLIENT = Text("ReconciliationFailed", "failed to build kube client: {error}")
BUILD_FAILED = Text("BuildFailed", "{error}")
KUSTOMIZE_FAILED = Text("", "kustomize build failed: {error}")
POST_BUILD_FAILED = Text("", "post build failed for '{subject}': {error}")
NO_SUBSTITUTES = Text("", "substitute from '{kind}/{name}' error: {error}")
NOT_AN_OBJECT = Text("BuildFailed", "failed to decode Kubernetes apiVersion, kind and name from: {document}")

# --- apply, prune, health
ENCRYPTED = Text(
    "ReconciliationFailed",
    "Secret/{namespace}/{name} is SOPS encrypted, configuring decryption is required for this secret to be reconciled",
)
NOT_APPLIED = Text("ReconciliationFailed", "{error}\n{changes}")
NOT_PRUNED = Text("PruneFailed", "{error}")
UNHEALTHY = Text("HealthCheckFailed", "{error}")
HEALTH_CHECK_FAILED = Text("HealthCheckFailed", "health check failed after {took}: {error}")
HEALTHY = Text("Succeeded", "Health check passed in {took}")
APPLIED = Text("ReconciliationSucceeded", "Applied revision: {revision}")

# --- events and log lines of the end
FINISHED = Text("", "Reconciliation finished in {took}, next run in {again}")
RECONCILIATION_FAILED = Text("", "Reconciliation failed after {took}, next try in {again}")
APPLY_COMPLETED = Text("", "server-side apply completed: {changes}")
PRUNE_COMPLETED = Text("", "garbage collection completed: {changes}")
SUSPENDED = Text("", "Reconciliation is suspended for this object")

# --- deletion
NO_ACCOUNT = Text("", "skiping pruning, failed to find account to impersonate: {error}")
NOT_PRUNABLE = Text("", "unable to prune objects: \n{subjects}")
DELETION_FAILED = Text("", "pruning for deleted resource failed")
NOT_TERMINATED = Text("", "failed to wait for resources termination")
NOT_TERMINATED_LOG = Text("", "failed to wait for resources termination: {error}")
