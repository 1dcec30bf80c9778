"""Known causes: from the message of Azure, ASO, Flux, Helm or Kubernetes to its meaning and its fix.

The causes are a table, read from top to bottom; the first pattern that matches counts. A `final` cause needs its fix: waiting
does not end it, so a stage gives up on it after `patience_minutes`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A pattern over a message, the message's meaning, its fix, and whether only the fix ends it (`final`)."""

    pattern: str
    meaning: str
    fix: str
    final: bool = True


CAUSES = (
    Cause(
        r"\b(ErrImagePull|ImagePullBackOff|InvalidImageName)\b",
        "a node cannot fetch a container's image",
        "correct the image's name or tag in Git; attach a private registry to the cluster (az aks update --attach-acr)",
        final=False,
    ),
    Cause(
        r"\bCrashLoopBackOff\b",
        "a container crashes after every start",
        "read its log before the crash (kubectl logs --previous), correct the error in Git, and commit",
        final=False,
    ),
    Cause(
        r"\bCreateContainerConfigError\b",
        "a container needs a Secret or ConfigMap, or a key in one, that does not exist",
        "add the object or key that the message names, in the repository that the workload comes from",
        final=False,
    ),
    Cause(
        r"\bUnschedulable\b|nodes are available: ",
        "no node on which the Pod may run has room for it",
        "if the pool is below its limit (fleet pools), the autoscaler adds a node; "
        "else raise nodeCount.max, or lower the Pod's requests",
        final=False,
    ),
    Cause(
        r"AADSTS700211|AADSTS70021\b",
        "no federated credential of the identity has this token's issuer",
        "run 02_create_aso_identity again: it sets the credential's issuer to the cluster's current OIDC issuer",
    ),
    Cause(
        r"AADSTS700213",
        "the federated credential is for another service account (subject)",
        "run 02_create_aso_identity again: it compares and corrects issuer, subject and audience",
    ),
    Cause(r"AADSTS700212", "the federated credential is for another audience", "run 02_create_aso_identity again"),
    Cause(
        r"AADSTS700016",
        "Entra does not know the client id in the aso-identity Secret",
        "run 02_create_aso_identity again: it writes the Secret from the current identity",
    ),
    Cause(
        r"AADSTS90002|AADSTS900023",
        "Entra does not know the tenant in the aso-identity Secret",
        "run 02_create_aso_identity again",
    ),
    Cause(
        r"ScopeLocked|following scope\(s\) are locked",
        "a lock in Azure forbids deleting the resource, so the object keeps its finalizer",
        "remove the lock that the message names (az lock list, az lock delete), then run 99_tear_down again; "
        "do not remove the finalizer",
    ),
    Cause(
        r"ABAC condition",
        "a condition on the caller's own role forbids this role assignment",
        "ask for a condition that allows Contributor for principalType ServicePrincipal (the runbook sends both), or for Owner",
    ),
    Cause(
        r"AuthorizationFailed|does not have authorization to perform action",
        "ASO's identity lacks a role at this scope",
        "run 02_create_aso_identity (the control plane's group) or 04_prepare_fleet (the fleet's group) again: they assign it",
    ),
    Cause(
        r'secrets? "?[^ ]*aso-identity"? not found|could not resolve Secret chart values reference .*aso-identity',
        "the Secret with ASO's identity does not exist in the release's namespace",
        "run 02_create_aso_identity again",
    ),
    Cause(
        r"unable to (read|parse|merge) .*values|could not resolve .* chart values reference|invalid YAML|error converting YAML",
        "the values that a release takes from a Secret or ConfigMap cannot be used",
        "run 02_create_aso_identity again: it writes the Secret's values.yaml",
    ),
    Cause(
        r"unable to get '[^']*' dependency: .* not found",
        "a release depends on one that does not exist",
        "add it to flux/controlplane in Git (cert-manager.yaml for ASO's certificates), then run 03_bootstrap_flux again",
    ),
    Cause(
        r"dependency '[^']*cert-manager' is not ready",
        "cert-manager is not ready, and ASO's webhooks need its certificates",
        "wait for it (03_bootstrap_flux does); if it lasts, look at the HelmRelease cert-manager (flux/controlplane in Git)",
        final=False,
    ),
    Cause(
        r"no matches for kind \"(ManagedCluster|ResourceGroup|Extension|FluxConfiguration)\"|"
        r"resource mapping not found .*kind \"(ManagedCluster|ResourceGroup|Extension|FluxConfiguration)\"",
        "the cluster does not have this custom resource definition: ASO's crdPattern does not name its group",
        "add the group (resources, containerservice, kubernetesconfiguration) to crdPattern in flux/controlplane; "
        "see 03_bootstrap_flux",
        final=False,
    ),
    Cause(
        r"ResourceGroupNotFound|Resource group '[^']*' could not be found",
        "the fleet's resource group does not exist in Azure",
        "run 04_prepare_fleet again",
    ),
    Cause(
        r"WaitingForOwner|Owner .* cannot be found",
        "the object's owner does not exist, or `owner` names a wrong kind, namespace or name",
        "publish the owner: the ResourceGroup comes from flux/clusters (04_prepare_fleet), "
        "the ManagedCluster from the chart (05_publish_cluster_chart)",
        final=False,
    ),
    Cause(
        r"couldn't find remote ref|unable to find reference|reference not found",
        "the Git repository does not have this branch",
        "set fleet_branch to a branch that exists, or push this one; then run 03_bootstrap_flux again",
    ),
    Cause(
        r"kustomization path not found|path not found",
        "the path of a kustomization does not exist in the repository",
        "correct the path (flux.kustomizationPath of the release, or the configuration's), or add the folder",
    ),
    Cause(
        r"kustomize build failed|accumulating resources",
        "Flux cannot build the folder: a kustomization.yaml or a manifest in it is wrong",
        "correct the file that the message names, and commit: Flux applies it",
    ),
    Cause(
        r"failed to find layer with media type",
        "the artifact in the registry has no layer of the chart's media type",
        "publish the chart with 05_publish_cluster_chart (or `helm push`), not as a generic artifact",
    ),
    Cause(
        r"MANIFEST_UNKNOWN|NAME_UNKNOWN|manifest unknown|not found: manifest|no such tag|name unknown",
        "the registry does not have this chart version",
        "run 05_publish_cluster_chart",
    ),
    Cause(
        r"dial tcp|no such host|connection refused|i/o timeout",
        "a host cannot be reached",
        "check network and URL; the controllers try again",
        final=False,
    ),
    Cause(
        r"ExtensionOperationFailed|extension operation failed",
        "the extension could not be installed in the cluster",
        "run 03_bootstrap_flux again: it installs the extension again; on a workload cluster ASO does so, "
        "see 06_deploy_workload_clusters",
        final=False,
    ),
    Cause(
        r"microsoft\.flux.*not installed|extension.*microsoft\.flux|ExtensionNotFound|no Extension",
        "the extension microsoft.flux is missing on the cluster",
        "add an Extension for each cluster to the chart, and publish it with 05_publish_cluster_chart",
        final=False,
    ),
    Cause(
        r"SkuNotAvailable|VMSizeNotSupported|[Vv]irtual [Mm]achine size|VM size .* not (allowed|available|supported)",
        "the region does not offer the VM size",
        "choose one that 00_check_prerequisites lists",
    ),
    Cause(
        r"ErrCode_InsufficientVCPUQuota|InsufficientVCPUQuota|[Qq]uota",
        "the region's vCPU quota is used up",
        "request more quota, or use fewer or smaller nodes: 00_check_prerequisites counts the vCPUs that are needed",
    ),
    Cause(
        r"K8sVersionNotSupported|version .* is not supported|AgentPoolK8sVersionNotSupported",
        "the region does not offer the Kubernetes version",
        "choose one that 00_check_prerequisites lists",
    ),
    Cause(
        r"status\.storedVersions\[\d+\]: Invalid value",
        "ASO's new version drops an API version in which objects may still be stored, so the API server refuses its definition",
        "return to the previous version of ASO, run asoctl clean crds (it migrates the objects), "
        "then upgrade one minor version at a time",
    ),
    Cause(
        r"field not declared in schema|unknown field",
        "a manifest has a field that its kind does not have",
        "correct the field that the message names, in Git",
    ),
    Cause(
        r"TooManyRequests|\b429\b",
        "this caller has used up its budget of requests to Azure for now",
        "wait: the request is sent again; if it lasts, lengthen ASO's resync (azureSyncPeriod), "
        "or spread the fleet over subscriptions",
        final=False,
    ),
    Cause(
        r"OperationNotAllowed|AnotherOperationInProgress|in progress",
        "another operation is still running on the resource",
        "wait: the request is sent again when that operation ends",
        final=False,
    ),
)


def explain(message: str) -> Cause | None:
    """Return the first cause whose pattern matches the message; `None` if the cause is not known."""
    return next((cause for cause in CAUSES if re.search(cause.pattern, message)), None)


def fix_for(message: str, otherwise: str = "") -> str:
    """Return `meaning: fix` of the message's cause, for a `Check` or an error; `otherwise` if the cause is not known."""
    cause = explain(message)
    return f"{cause.meaning}: {cause.fix}" if cause else otherwise
