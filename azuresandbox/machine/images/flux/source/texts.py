"""The reasons and messages of source-controller. Source: fluxcd/source-controller 1.6, internal/.

Conditions, events and log lines take their texts from here. The texts of the client libraries, which some of these quote, are
in `git` (go-git), `oci` (go-containerregistry) and `semver` (Masterminds/semver), those about a chart's contents in `charts`.
"""

from __future__ import annotations

from azuresandbox.machine.images.flux.texts import Text

# --- all kinds
UNSUPPORTED = Text("Unsupported", "the sandbox does not emulate {subject}: {instead}")
NO_SECRET = Text("AuthenticationFailed", "{problem} '{namespace}/{name}': {error}")
RECONCILING = Text("Progressing", "reconciliation in progress")
NEW_GENERATION = Text("Progressing", "processing object: new generation {observed} -> {generation}")
BUILDING = Text("Progressing", "building artifact")
BUILDING_AGAIN = Text("Progressing", "building artifact: disappeared from storage")
BUILDING_NEW = Text("Progressing", "building artifact: {news}")
UP_TO_DATE = Text("ArtifactUpToDate", "artifact up-to-date with remote revision: '{revision}'")
SUSPENDED = Text("", "reconciliation is suspended for this object")
WAITING = Text("", "reconciliation waiting")
STALLED = Text("", "reconciliation stalled")
ERROR = Text("", "Reconciler error")

# --- GitRepository
GIT_STORED = Text("Succeeded", "stored artifact for revision '{revision}'")
GIT_STORED_EVENT = Text("NewArtifact", "stored artifact for commit '{commit}'")
GIT_UNCHANGED = Text(  # spelled as in source-controller 1.6
    "GitOperationSucceeded", "no changes since last reconcilation: observed revision '{revision}'"
)
GIT_NEW = Text("NewRevision", "new upstream revision '{revision}'")
GIT_FAILED = Text("GitOperationFailed", "failed to checkout and determine revision: {error}")
GIT_EMPTY = Text("EmptyGitRepository", "git repository is empty")
GIT_NO_USERNAME = Text(
    "AuthenticationFailed",
    "failed to configure authentication options: invalid 'https' auth option: 'password' requires 'username' to be set",
)
GIT_TWO_CREDENTIALS = Text("", "basic auth and bearer token cannot be set at the same time")
GIT_NO_FOLDER = Text(
    "GitOperationFailed",
    "failed to sparse checkout directories : sparse checkout dir '{folder}' does not exist in repository",
)

# --- OCIRepository
OCI_STORED = Text("Succeeded", "stored artifact for digest '{revision}'")
OCI_STORED_EVENT = Text("NewArtifact", "stored artifact with revision '{revision}' from '{url}'{origin}")
OCI_ORIGIN = Text("", ", origin source '{source}', origin revision '{revision}'")
OCI_NEW = Text("NewRevision", "new revision '{revision}' for '{reference}'")
OCI_NO_TRANSPORT = Text("", "failed to generate transport for '{url}': failed to get secret")
OCI_NO_PULL_SECRET_EVENT = Text("AuthenticationFailed", "auth secret '{name}' not found")
OCI_NO_PULL_SECRET = Text("AuthenticationFailed", "failed to get credential: {error}")
OCI_NO_ACCOUNT = Text("AuthenticationFailed", 'failed to get credential: ServiceAccount "{name}" not found')
OCI_INVALID_URL = Text("URLInvalid", "URL validation failed for '{url}': {problem}")
OCI_URL_WITH_TAG = Text("", "URL must not contain a tag; remove ':{tag}'")
OCI_URL_CHARACTERS = Text("", "repository can only contain the characters `abcdefghijklmnopqrstuvwxyz0123456789_-./`: {name}")
OCI_NO_DIGEST = Text("OCIArtifactPullFailed", "failed to determine artifact digest: {error}")
OCI_NO_TAG = Text("ReadOperationFailed", "failed to determine the artifact tag for '{url}': {error}")
OCI_INVALID_RANGE = Text("", "semver '{expression}' parse error: {error}")
OCI_NO_MATCH = Text("", "no match found for semver: {expression}")
OCI_NOT_PULLED = Text("OCIArtifactPullFailed", "failed to pull artifact from '{url}': {error}")
OCI_NO_LAYERS = Text("OCIArtifactLayerOperationFailed", "no layers found in artifact")
OCI_NO_LAYER = Text("OCIArtifactLayerOperationFailed", "failed to find layer with media type '{media_type}' in artifact")
OCI_LAYER_UNREADABLE = Text("OCIArtifactLayerOperationFailed", "failed to extract the first layer from artifact: {error}")
OCI_LAYER_NOT_EXTRACTED = Text("OCIArtifactLayerOperationFailed", "failed to extract layer contents from artifact: {error}")

# --- HelmRepository
INDEX_STORED = Text("Succeeded", "stored artifact: revision '{revision}'")
INDEX_STORED_EVENT = Text("NewArtifact", "stored fetched index of size {size} from '{url}'")
INDEX_NEW = Text("NewRevision", "new index revision '{revision}'")
INDEX_URL_INVALID = Text(
    "URLInvalid", "invalid Helm repository URL: 'oci' URL scheme cannot be used with 'default' HelmRepository type"
)
INDEX_NOT_FETCHED = Text("Failed", "failed to fetch Helm repository index: failed to cache index to temporary file: {error}")
INDEX_INVALID = Text(
    "IndexationFailed",
    "failed to load Helm repository from index YAML: failed to load index: no API version specified",
)
HELM_NO_TLS_SECRET = Text("", "failed to get TLS authentication secret")
HELM_NO_SECRET = Text("", "failed to get authentication secret")
HELM_SECRET_INCOMPLETE = Text(
    "AuthenticationFailed",
    "failed to configure Helm client: invalid '{namespace}/{name}' secret data: required fields 'username' and 'password'",
)

# --- HelmChart
CHART_NO_SOURCE = Text("SourceUnavailable", 'failed to get source: {kind}.source.toolkit.fluxcd.io "{name}" not found')
CHART_NO_ARTIFACT = Text("NoSourceArtifact", "no artifact available for {kind} source '{name}'")
CHART_REGISTRY_INVALID = Text("Failed", "failed to construct Helm client: invalid OCI registry URL: {url}")
CHART_PULLED = Text("ChartPullSucceeded", "pulled '{name}' chart with version '{version}'{values}")
CHART_PACKAGED = Text("ChartPackageSucceeded", "packaged '{name}' chart with version '{version}'{values}")
CHART_NEW = Text("NewChart", "new '{name}' chart with version '{version}'{values}")
CHART_VALUES = Text("", " and merged values files [{files}]")
