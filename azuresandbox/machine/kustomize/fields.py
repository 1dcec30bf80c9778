"""The fields of a kustomization file: the supported ones, and alternatives for the others."""

from __future__ import annotations

FILE_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
FIELDS = frozenset(
    {
        "apiVersion",
        "kind",
        "metadata",
        "resources",
        "bases",
        "components",
        "namespace",
        "namePrefix",
        "nameSuffix",
        "labels",
        "commonLabels",
        "commonAnnotations",
        "patches",
        "patchesStrategicMerge",
        "patchesJson6902",
        "configMapGenerator",
        "secretGenerator",
        "generatorOptions",
        "images",
        "replicas",
        "replacements",
        "buildMetadata",
        "sortOptions",
        "configurations",
    }
)
UNSUPPORTED = {
    "helmCharts": "use a HelmRelease",
    "helmGlobals": "use a HelmRelease",
    "helmChartInflationGenerator": "use a HelmRelease",
    "generators": "write the objects as resources",
    "transformers": "use the transformers' own fields",
    "validators": "validate the manifests in CI",
    "crds": "name the references with replacements",
    "openapi": "use JSON 6902 patches for custom resources",
    "vars": "use replacements",
    "imageTags": "use images",
}
"""Field that is not supported -> the alternative."""

REMOTE = ("git::", "gh:", "ssh://", "https://", "http://", "git@", "github.com:", "github.com/")
"""Beginnings of a path that is not local."""

BUILD_METADATA = ("originAnnotations",)
