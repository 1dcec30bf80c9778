"""The reasons and messages of helm-controller, in the order of a release's life. Source: fluxcd/helm-controller 1.3, internal/.

Conditions, events and log lines take their texts from here; texts of Helm itself are in `machine.helm`, those of server-side
apply in `flux.ssa`.
"""

from __future__ import annotations

from azuresandbox.machine.images.flux.texts import Text

# --- Ready and Reconciling while a release is prepared
PREREQUISITES = Text("Progressing", "Fulfilling prerequisites")
PROGRESSING = Text("Progressing", "reconciliation in progress")
TESTS_UNSUPPORTED = Text("TestFailed", "the sandbox does not support spec.test: leave it out, the release itself is waited for")
NO_DEPENDENCY = Text(
    "DependencyNotReady",
    "unable to get '{namespace}/{name}' dependency: helmreleases.helm.toolkit.fluxcd.io \"{name}\" not found",
)
DEPENDENCY_NOT_READY = Text("DependencyNotReady", "dependency '{namespace}/{name}' is not ready")
ACCESS_DENIED = Text("AccessDenied", "cross-namespace references are not allowed: cannot access {kind} {namespace}/{name}")
CHART_NOT_APPLIED = Text("", "failed to run server-side apply: {error}")
NO_SOURCE = Text("ArtifactFailed", "could not get Source object: {problem}")
NO_SUCH_SOURCE = Text("", '{kind}.source.toolkit.fluxcd.io "{name}" not found')
SOURCE_NOT_READY = Text("SourceNotReady", "{kind} '{namespace}/{name}' is not ready: {problem}")
SOURCE_NOT_OBSERVED = Text("", "latest generation of object has not been reconciled")
SOURCE_WITHOUT_ARTIFACT = Text("", "does not have an artifact")
VALUES_UNRESOLVED = Text(
    "ValuesError", "could not resolve{optional} {kind} chart values reference '{namespace}/{name}' with key '{key}': {problem}"
)
NO_ARTIFACT = Text("ArtifactFailed", "Source not ready: artifact not found. Retrying in {again}")
CHART_NOT_LOADED = Text("ArtifactFailed", "Could not load chart: {error}")
CHART_NOT_LOADED_EVENT = Text("ArtifactFailed", "{error}")
REVISION_MISMATCH = Text("ChartMutateError", "artifact revision {tag} does not match chart version {version}")
REVISION_INVALID = Text("ChartMutateError", "invalid artifact revision {revision}")
NO_CLIENT = Text("RESTClientError", "{error}")

# --- decisions
RUNNING = Text("Progressing", "Running '{action}' action with timeout of {timeout}")
STATE_UNKNOWN = Text("StateError", "Could not determine release state: {problem}")
STATUS_UNKNOWN = Text("", "unable to determine state for release with status '{status}'")
RETRIES_EXCEEDED = Text("RetriesExceeded", "Failed to {action} after {count} attempt(s)")
NO_ROLLBACK_TARGET = Text(
    "MissingRollbackTarget",
    "Failed to perform remediation: missing target release for rollback: cannot remediate failed release",
)

# --- Released, Remediated, and their events
SUCCEEDED = {
    "install": Text("InstallSucceeded", "Helm install succeeded for release {release} with chart {chart}"),
    "upgrade": Text("UpgradeSucceeded", "Helm upgrade succeeded for release {release} with chart {chart}"),
}
FAILED = {
    "install": Text("InstallFailed", "Helm install failed for release {release} with chart {chart}: {error}"),
    "upgrade": Text("UpgradeFailed", "Helm upgrade failed for release {release} with chart {chart}: {error}"),
}
ROLLED_BACK = Text("RollbackSucceeded", "Helm rollback to previous release {release} with chart {chart} succeeded")
ROLLBACK_FAILED = Text("RollbackFailed", "Helm rollback to previous release {release} with chart {chart} failed: {error}")
REMEDIATED_BY_UNINSTALL = Text(
    "UninstallSucceeded", "Helm uninstall remediation for release {release} with chart {chart} succeeded"
)
UNINSTALL_REMEDIATION_FAILED = Text(
    "UninstallFailed", "Helm uninstall remediation for release {release} with chart {chart} failed: {error}"
)
UNLOCKED = Text("PendingRelease", "Unlocked Helm release {release} with chart {chart} in {status} state")
UNINSTALLED = Text("UninstallSucceeded", "Helm uninstall succeeded for release {release} with chart {chart}")
UNINSTALL_FAILED = Text("UninstallFailed", "Helm uninstall failed for release {release} with chart {chart}: {error}")
UNINSTALL_REFUSED = Text("UninstallFailed", "{error}")
UNINSTALLED_BEFORE = Text("UninstallSucceeded", "Release {release} was already uninstalled")
RELEASE_NOT_FOUND = Text("UninstallSucceeded", "Release {release} was not found, assuming it is uninstalled")
CRDS_NOT_APPLIED = Text(
    "", "failed to apply CustomResourceDefinitions: failed to create CustomResourceDefinition {name}: {error}"
)

# --- events of drift detection
DRIFTED = Text("DriftDetected", "Cluster state of release {release} has drifted from the desired state:\n{changes}")
CORRECTED = Text("DriftCorrected", "Cluster state of release {release} has been corrected:\n{changes}")
NOT_CORRECTED = Text("DriftCorrectionFailed", "Failed to correct cluster state of release {release}:\n{error}")
STATE_UNDETERMINED = Text("", "unable to determine cluster state: {error}")

# --- log lines
SUSPENDED = Text("", "reconciliation is suspended for this object")
CHART_APPLIED = Text("", "{entry} with SourceRef '{source}'")
CHART_DELETED = Text("", "deleted HelmChart '{chart}'")
TARGET_CHANGED = Text("", "release target configuration changed: running uninstall for current release")
NOT_MANAGED = Text("", "release not managed by controller: release not observed to be made for object")
UNINSTALL_SKIPPED = Text("", "skipping Helm release uninstallation: {error}")
