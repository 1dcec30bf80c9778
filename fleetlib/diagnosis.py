"""From what a system said to what it means and which notebook mends it: a table, read from top to bottom.

Each row has a pattern over the message as Azure, ASO, Flux, Helm or Kubernetes words it. `final` rows are not waited for:
nothing but the mend will change them. May import nothing of the project.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """What a message means, what to do, and whether waiting is pointless."""

    pattern: str
    meaning: str
    fix: str
    final: bool = True


CAUSES = (
    Cause(
        r"\b(ErrImagePull|ImagePullBackOff|InvalidImageName)\b",
        "a node cannot fetch a container's image",
        "correct the image's name or tag in Git; a private registry must be attached to the cluster (az aks update --attach-acr)",
        final=False,
    ),
    Cause(
        r"\bCrashLoopBackOff\b",
        "a container starts and ends again and again",
        "read its last words (kubectl logs --previous), correct what they complain of in Git, and commit",
        final=False,
    ),
    Cause(
        r"\bCreateContainerConfigError\b",
        "a container needs a Secret or ConfigMap, or a key in one, that is not there",
        "the message names it: add it where the workload comes from",
        final=False,
    ),
    Cause(
        r"\bUnschedulable\b|nodes are available: ",
        "no node has room for a Pod, or none that it may run on",
        "if the pool has not reached its limit (fleet pools), the autoscaler adds a node; else raise nodeCount.max, or lower what the Pod requests",
        final=False,
    ),
    Cause(
        r"AADSTS700211|AADSTS70021\b",
        "Entra trusts no federated credential with this token's issuer",
        "the federated credential's issuer must be the cluster's current OIDC issuer: run 02_create_aso_identity again",
    ),
    Cause(
        r"AADSTS700213",
        "the federated credential is for another service account (subject)",
        "run 02_create_aso_identity again: it compares issuer, subject and audience",
    ),
    Cause(r"AADSTS700212", "the federated credential is for another audience", "run 02_create_aso_identity again"),
    Cause(
        r"AADSTS700016",
        "Entra does not know the client id in the aso-identity Secret",
        "run 02_create_aso_identity again: it writes the Secret from the identity as it is",
    ),
    Cause(
        r"AADSTS90002|AADSTS900023",
        "Entra does not know the tenant in the aso-identity Secret",
        "run 02_create_aso_identity again",
    ),
    Cause(
        r"ScopeLocked|following scope\(s\) are locked",
        "a lock in Azure forbids deleting the resource, so the object keeps its finalizer",
        "remove the lock that the message names (az lock list, az lock delete), then run 99_tear_down again; leave the finalizer alone",
    ),
    Cause(
        r"ABAC condition",
        "a condition on the caller's own role forbids this role assignment",
        "conditions name roles, and usually principalType ServicePrincipal, which the runbook sends: ask for one that allows Contributor, or for Owner",
    ),
    Cause(
        r"AuthorizationFailed|does not have authorization to perform action",
        "ASO's identity lacks a role at this scope",
        "the control plane's role is given in 02_create_aso_identity, the fleet group's in 04_prepare_fleet",
    ),
    Cause(
        r'secrets? "?[^ ]*aso-identity"? not found|could not resolve Secret chart values reference .*aso-identity',
        "the Secret with ASO's identity is missing in the release's namespace",
        "run 02_create_aso_identity again",
    ),
    Cause(
        r"unable to (read|parse|merge) .*values|could not resolve .* chart values reference|invalid YAML|error converting YAML",
        "the values that a release takes from a Secret or ConfigMap cannot be used",
        "run 02_create_aso_identity again: it writes the Secret's values.yaml",
    ),
    Cause(
        r"unable to get '[^']*' dependency: .* not found",
        "a release depends on one that is not there",
        "add it to flux/controlplane in Git (cert-manager.yaml for ASO's certificates), commit, and run 03_bootstrap_flux again",
    ),
    Cause(
        r"dependency '[^']*cert-manager' is not ready",
        "cert-manager is not ready, and ASO's webhooks need its certificates",
        "look at the HelmRelease cert-manager (flux/controlplane in Git); 03_bootstrap_flux waits for it",
        final=False,
    ),
    Cause(
        r"no matches for kind \"(ManagedCluster|ResourceGroup|Extension|FluxConfiguration)\"|"
        r"resource mapping not found .*kind \"(ManagedCluster|ResourceGroup|Extension|FluxConfiguration)\"",
        "the cluster has no such custom resource definition: ASO's crdPattern does not name its group",
        "add the group to crdPattern in flux/controlplane (resources, containerservice, kubernetesconfiguration); see 03_bootstrap_flux",
        final=False,
    ),
    Cause(
        r"ResourceGroupNotFound|Resource group '[^']*' could not be found",
        "the fleet's resource group does not exist in Azure",
        "run 04_prepare_fleet again",
    ),
    Cause(
        r"WaitingForOwner|Owner .* cannot be found",
        "the object's owner is not there: kind, namespace or name of `owner` is wrong, or it is missing",
        "the ResourceGroup object comes from flux/clusters (04_prepare_fleet); the cluster's from the chart (05_publish_cluster_chart)",
        final=False,
    ),
    Cause(
        r"couldn't find remote ref|unable to find reference|reference not found",
        "the Git repository has no such branch",
        "set fleet_branch to a branch that exists, or push it; then run 03_bootstrap_flux again",
    ),
    Cause(
        r"kustomization path not found|path not found",
        "the path of a kustomization does not exist in the repository",
        "correct the path (flux.kustomizationPath of the release, or the configuration's), or add the folder",
    ),
    Cause(
        r"kustomize build failed|accumulating resources",
        "Flux cannot build the folder: a kustomization.yaml or a manifest in it is wrong",
        "correct the file that the message names in Git, and commit: Flux follows by itself",
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
        "a host could not be reached",
        "check network and URL; it is tried again",
        final=False,
    ),
    Cause(
        r"ExtensionOperationFailed|extension operation failed",
        "the extension's installation failed in the cluster",
        "run 03_bootstrap_flux again, which installs it anew; on a workload cluster ASO does, see 06_deploy_workload_clusters",
        final=False,
    ),
    Cause(
        r"microsoft\.flux.*not installed|extension.*microsoft\.flux|ExtensionNotFound|no Extension",
        "the extension microsoft.flux is missing on the cluster",
        "the chart must have an Extension for each cluster: publish it with 05_publish_cluster_chart",
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
        "ask for more quota, or fewer or smaller nodes: 00_check_prerequisites counts what is needed",
    ),
    Cause(
        r"K8sVersionNotSupported|version .* is not supported|AgentPoolK8sVersionNotSupported",
        "the region does not offer the Kubernetes version",
        "choose one that 00_check_prerequisites lists",
    ),
    Cause(
        r"status\.storedVersions\[\d+\]: Invalid value",
        "ASO's new version drops an API version in which objects may still be stored, so the API server refuses its definition",
        "go back to the ASO before, run asoctl clean crds, which migrates the objects, then upgrade one minor version at a time",
    ),
    Cause(
        r"field not declared in schema|unknown field",
        "a manifest has a property that the kind does not have",
        "correct it in Git: the message names the field",
    ),
    Cause(
        r"TooManyRequests|\b429\b",
        "Azure's budget of requests for this caller is used up for the moment",
        "it is tried again by itself; if it lasts, lengthen ASO's resync (azureSyncPeriod), or spread the fleet over subscriptions",
        final=False,
    ),
    Cause(
        r"OperationNotAllowed|AnotherOperationInProgress|in progress",
        "another operation is still running on the resource",
        "it is tried again when that ends",
        final=False,
    ),
)


def explain(message: str) -> Cause | None:
    """The first row that fits, or None: then the message must speak for itself."""
    return next((cause for cause in CAUSES if re.search(cause.pattern, message)), None)


def fix_for(message: str, otherwise: str = "") -> str:
    """Meaning and mend in one sentence, for a `Check` or an error."""
    cause = explain(message)
    return f"{cause.meaning}: {cause.fix}" if cause else otherwise
