"""The table of versions: those that run, are declared and are offered, of Kubernetes, Flux, ASO, cert-manager, the cluster
chart.

It takes one request for each region, and one to the control plane for Flux's controllers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

from fleetlib.clients.azure import rest
from fleetlib.clients.kube import Object
from fleetlib.environments import SOURCE
from fleetlib.inspect import layers
from fleetlib.inspect.reading import Inside, Item, Items, Reading
from fleetlib.inspect.rows import chart_version, pools_of

OFFICIAL = "KubernetesOfficial"
"""The default support plan of a cluster."""
CONTROLLERS = ("source-controller", "kustomize-controller", "helm-controller", "notification-controller")
"""Flux's controllers, each with its own version, in the namespace flux-system of Azure's extension."""

CHARTS = {"azure-service-operator": "aso", "cert-manager": "cert-manager"}
"""Helm chart on the control plane -> its component."""

Version = tuple[int, ...]


class VersionRow(TypedDict, total=False):
    """A row of the table `versions`; `columns.TABLES` has the meaning of each column."""

    cluster: str
    component: str
    environment: str | None
    version: str
    declared: str | None
    offered: str | None
    patch: str | None
    behind: bool | None
    supported: bool
    note: str | None


def number(version: str) -> Version:
    """Return a version as numbers to compare: v1.18.2 -> (1, 18, 2). Suffixes after + or - are ignored."""
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[+-]", version, maxsplit=1)[0]))


@dataclass(frozen=True)
class Offer:
    """A Kubernetes version that a region offers, under these support plans. Source: managedClusters/listKubernetesVersions."""

    version: str
    plans: tuple[str, ...]
    preview: bool

    @property
    def minor(self) -> str:
        return self.version.rpartition(".")[0]


def offers(reading: Reading, location: str) -> list[Offer]:
    """Return all patches that the region offers, oldest first; empty if they could not be read (`unread` has the error)."""
    azure = reading.session.azure

    def read(_: Reading) -> list[Offer]:
        provider = f"/subscriptions/{azure.subscription_id}/providers/Microsoft.ContainerService"
        path = f"{provider}/locations/{location}/kubernetesVersions"
        return parse((rest.get(azure, path, rest.CONTAINER_SERVICE) or {}).get("values") or [])

    return reading.also(f"Kubernetes versions of {location}", read, [])


def parse(values: Items) -> list[Offer]:
    """Return a region's answer as patches, oldest first."""
    found = [
        Offer(patch, tuple((item.get("capabilities") or {}).get("supportPlan") or [OFFICIAL]), bool(item.get("isPreview")))
        for item in values
        for patch in item.get("patchVersions") or [item["version"]]
    ]
    return sorted(found, key=lambda offer: number(offer.version))


def versions(reading: Reading, deep: bool) -> Iterator[VersionRow]:
    controllers, newest = _controllers(reading, deep), _newest(reading)
    for name, item in {**reading.arm.control_plane, **reading.arm.fleet}.items():
        for row in (*_kubernetes(reading, name, item), *_flux(reading, name, controllers, newest)):
            yield {**row, "cluster": name, "environment": reading.environment_of(name)}
    yield from _releases(reading)


# --- Kubernetes -------------------------------------------------------------------------------------------------------


def _kubernetes(reading: Reading, name: str, item: Item) -> Iterator[VersionRow]:
    properties = item["properties"]
    runs = str(properties.get("currentKubernetesVersion") or properties.get("kubernetesVersion") or "")
    plan = properties.get("supportPlan") or OFFICIAL
    known = offers(reading, item["location"])
    asked = wanted(reading, name)
    newest = next((offer.version for offer in reversed(known) if plan in offer.plans and not offer.preview), None)
    judged = _judged(known, runs, plan, item["location"])
    yield {
        "component": "kubernetes",
        "version": runs,
        "declared": asked,
        "offered": newest,
        "behind": _behind(runs, newest),
        **judged,
    }
    for pool in pools_of(item):
        version = str(pool.get("currentOrchestratorVersion") or pool.get("orchestratorVersion") or "")
        behind = _behind(version, runs)
        note = f"the control plane runs {runs}: upgrade the pool as well" if behind else None
        yield {
            "component": f"pool/{pool['name']}",
            "version": version,
            "declared": asked,
            "offered": runs,
            "behind": behind,
            **(judged if version == runs else _judged(known, version, plan, item["location"])),
            **({"note": note} if note else {}),
        }


def wanted(reading: Reading, name: str) -> str | None:
    """Return the declared version: of the release's values, or of the control plane's parameter; `None`: the
    region's default.
    """
    environment = reading.git.clusters.get(name)
    p = reading.session.parameters
    asked = (
        p.kubernetes_version
        if name == p.controlplane_cluster
        else (environment.values.get("kubernetesVersion") if environment else "")
    )
    return str(asked) if asked else None


def _judged(known: list[Offer], runs: str, plan: str, location: str) -> VersionRow:
    """Return the columns `patch`, `supported` and `note`; empty if the region's offers could not be read."""
    if not known or not runs:
        return {}
    minor = runs.rpartition(".")[0]
    same = [offer for offer in known if offer.minor == minor]
    here = [offer for offer in same if plan in offer.plans]
    row: VersionRow = {"patch": here[-1].version if here else None, "supported": any(offer.version == runs for offer in here)}
    if row["supported"]:
        return row | ({"note": "a preview version: not for production"} if here[-1].preview else {})
    if here:
        return row | {"note": f"{location} no longer offers this patch: upgrade to {here[-1].version}"}
    if same:
        return row | {
            "note": f"{location} offers {minor} with {' or '.join(same[-1].plans)} only, the cluster has {plan}: upgrade it"
        }
    return row | {"note": f"{location} no longer offers {minor}: upgrade, one minor version at a time"}


def _behind(runs: str, newest: str | None) -> bool | None:
    return number(runs) < number(newest) if runs and newest else None


# --- Flux as Azure builds it ------------------------------------------------------------------------------------------


def _flux(reading: Reading, name: str, controllers: dict[str, str], newest: str | None) -> Iterator[VersionRow]:
    """Yield the extension, and the versions of the upstream controllers in it if they are known."""
    for extension in (e for e in reading.graph.extensions.get(name.lower(), []) if layers.is_flux(e)):
        properties = extension["properties"]
        version = str(properties.get("currentVersion") or properties.get("version") or "")
        pinned = None if properties.get("autoUpgradeMinorVersion") else properties.get("version")
        behind = _behind(version, newest)
        yield {
            "component": "microsoft.flux",
            "version": version,
            "declared": pinned,
            "offered": newest,
            "behind": behind,
            "note": "another cluster of the fleet has a newer one" if behind else None,
        }
        if version in controllers:
            yield {
                "component": "flux",
                "version": controllers[version],
                "note": f"the upstream controllers in microsoft.flux {version}",
            }


def _newest(reading: Reading) -> str | None:
    """Return the extension's newest version in the fleet, since Azure does not list the versions that it offers."""
    found = [
        str(e["properties"].get("currentVersion") or "")
        for items in reading.graph.extensions.values()
        for e in items
        if layers.is_flux(e)
    ]
    return max(filter(None, found), key=number, default=None)


def _controllers(reading: Reading, deep: bool) -> dict[str, str]:
    """Return version of the extension -> versions of its controllers, read from the control plane; `deep`: from
    every cluster.
    """
    found: dict[str, str] = {}
    for name, inside in reading.inside(("Deployment",), hub=True, fleet=deep).items():
        extension: Item = next((e for e in reading.graph.extensions.get(name.lower(), []) if layers.is_flux(e)), {})
        version = str((extension.get("properties") or {}).get("currentVersion") or "")
        words = _words(inside)
        if version and words:
            found.setdefault(version, words)
    return found


def _words(inside: Inside) -> str:
    """Return `source 1.6.2, kustomize 1.6.1, ...` from the tags of the controllers' images."""
    tags = {
        obj["metadata"]["name"]: _tag(obj)
        for obj in inside.objects.get("Deployment", ())
        if obj["metadata"]["namespace"] == "flux-system"
    }
    return ", ".join(f"{name.removesuffix('-controller')} {tags[name]}" for name in CONTROLLERS if tags.get(name))


def _tag(deployment: Object) -> str:
    image: Any = next(
        (c["image"] for c in deployment["spec"]["template"]["spec"]["containers"] if "-controller" in c["image"]), ""
    )
    return str(image).partition("@")[0].rpartition(":")[2].removeprefix("v") if ":" in str(image) else ""


# --- Helm charts on the control plane ---------------------------------------------------------------------------------


def _releases(reading: Reading) -> Iterator[VersionRow]:
    hub = reading.session.parameters.controlplane_cluster
    environments = {environment.name: environment for environment in reading.git.environments.values()}
    charts = reading.named("OCIRepository").get(SOURCE)
    pinned = ((charts or {}).get("spec") or {}).get("ref") or {}
    for name, obj in reading.named("HelmRelease").items():
        spec, installed = (obj["spec"].get("chart") or {}).get("spec") or {}, _installed(obj)
        if spec.get("chart") in CHARTS:
            wanted = spec.get("version")
            yield {
                "cluster": hub,
                "component": CHARTS[spec["chart"]],
                "version": installed,
                "declared": wanted,
                "note": _step(installed, wanted),
            }
        elif (obj["spec"].get("chartRef") or {}).get("name") == SOURCE:
            release = environments[name].release if name in environments else obj["spec"].get("releaseName") or name
            newest = reading.git.chart or None
            behind = _behind(installed, newest)
            note = (
                f"Git has {newest}: publish it (notebook 05), then raise the tag in flux/clusters/charts.yaml"
                if behind
                else None
            )
            yield {
                "cluster": hub,
                "environment": release,
                "component": f"cluster-chart/{release}",
                "version": installed,
                "declared": pinned.get("tag") or pinned.get("semver"),
                "offered": newest,
                "behind": behind,
                "note": note,
            }


def _installed(release: Object) -> str:
    """Return the installed chart's version, without the digest that Flux appends for charts from a registry."""
    return (chart_version(release) or "").partition("+")[0]


def _step(installed: str, wanted: str | None) -> str | None:
    """Return a note if an upgrade skips a minor version: ASO drops API versions in which objects may still be stored."""
    if not installed or not wanted or number(installed)[:2] == number(wanted)[:2]:
        return None
    (major, minor), (new_major, new_minor) = number(installed)[:2], (*number(wanted), 0, 0)[:2]
    return (
        None
        if (new_major, new_minor) <= (major, minor + 1)
        else f"{wanted} is more than one minor version newer: upgrade one minor version at a time"
    )
