"""The extension is installed in a cluster, and a flux configuration becomes Flux objects whose state is reported."""

from __future__ import annotations

from pathlib import Path

from azuresandbox import fabric, sources
from azuresandbox.fabric import ExtensionGoal, FluxConfigurationGoal
from azuresandbox.machine.types import Object
from tests.harness import World
from tests.machine.machine_world import ID, running, until

URL = "https://github.com/contoso/nowhere"
PROPERTIES: Object = {
    "namespace": "cluster-config",
    "scope": "cluster",
    "sourceKind": "GitRepository",
    "suspend": False,
    "gitRepository": {
        "url": URL,
        "syncIntervalInSeconds": 600,
        "timeoutInSeconds": 600,
        "repositoryRef": {"branch": "main", "tag": None},
    },
    "kustomizations": {
        "infra": {"path": "./infra", "prune": True, "syncIntervalInSeconds": 90, "timeoutInSeconds": 600, "dependsOn": []},
        "apps": {
            "path": "./apps",
            "prune": True,
            "syncIntervalInSeconds": 600,
            "timeoutInSeconds": 600,
            "dependsOn": ["infra"],
        },
    },
}


def extension(version: str = "1.19.5") -> ExtensionGoal:
    return ExtensionGoal(cluster_id=ID, name="flux", extension_type="microsoft.flux", version=version)


async def settled(world: World, kind: str, name: str, *states: str) -> fabric.Report:
    """Wait until a goal's report has one of the states, and return the report."""

    async def done() -> bool:
        report = fabric.get_report(world.sandbox.store, kind, ID, name)
        return report is not None and report.state in states

    await until(world, done)
    found = fabric.get_report(world.sandbox.store, kind, ID, name)
    assert found is not None
    return found


async def test_the_extension_and_a_configuration_from_beginning_to_end(tmp_path: Path) -> None:
    async with running(tmp_path) as (world, kube):
        store = world.sandbox.store
        fabric.put_goal(store, extension())
        report = await settled(world, "extension", "flux", "Succeeded", "Failed")
        assert (report.state, report.details) == ("Succeeded", {"version": "1.19.5"})
        pods = {p["metadata"]["labels"]["app"]: p["status"]["phase"] for p in await kube.list("v1", "Pod", "flux-system")}
        assert pods == dict.fromkeys(
            (
                "source-controller",
                "kustomize-controller",
                "helm-controller",
                "notification-controller",
                "fluxconfig-agent",
                "fluxconfig-controller",
            ),
            "Running",
        )
        goal = FluxConfigurationGoal(
            cluster_id=ID, name="fleet", resource_id="/x/fluxConfigurations/fleet", properties=PROPERTIES
        )
        fabric.put_goal(store, goal)
        report = await settled(world, "flux", "fleet", "Failed")
        states = {(s["kind"], s["name"]): s["complianceState"] for s in report.details["statuses"]}
        assert report.details["complianceState"] == "Non-Compliant"
        assert states[("GitRepository", "fleet")] == "Non-Compliant"
        assert report.error is not None and "no such host" in report.error["message"]
        apps = await kube.get("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "fleet-apps", "cluster-config")
        assert apps["spec"]["dependsOn"] == [{"name": "fleet-infra"}]
        assert apps["spec"]["serviceAccountName"] == "flux-applier"
        infra = await kube.get("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "fleet-infra", "cluster-config")
        assert infra["spec"]["interval"] == "1m30s"
        goal.deleted = True
        fabric.put_goal(store, goal)
        await settled(world, "flux", "fleet", "Deleted")
        assert await kube.list("source.toolkit.fluxcd.io/v1", "GitRepository", "cluster-config") == []


async def test_an_unknown_version_is_refused_by_name(tmp_path: Path) -> None:
    async with running(tmp_path) as (world, kube):
        fabric.put_goal(world.sandbox.store, extension(version="0.1.0"))
        report = await settled(world, "extension", "flux", "Failed")
        assert report.error is not None and "1.19.5" in report.error["message"]


async def test_a_configuration_whose_repository_exists_becomes_compliant_and_is_pruned(tmp_path: Path) -> None:
    files = {
        "infra": "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
        "apps": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\ndata: {x: '1'}\n",
    }
    for folder, text in files.items():
        (tmp_path / "tree" / folder).mkdir(parents=True)
        (tmp_path / "tree" / folder / "objects.yaml").write_text(text)

    async with running(tmp_path, ("kubernetes", "machine", "sources")) as (world, kube):
        store = world.sandbox.store
        sources.seed_repository(world.sandbox.state, URL, tmp_path / "tree")
        sources.mirror(world.sandbox, URL, "git")
        fabric.put_goal(store, extension())
        goal = FluxConfigurationGoal(
            cluster_id=ID, name="fleet", resource_id="/x/fluxConfigurations/fleet", properties=PROPERTIES
        )
        fabric.put_goal(store, goal)
        report = await settled(world, "flux", "fleet", "Succeeded")
        assert report.details["complianceState"] == "Compliant"
        assert report.details["sourceSyncedCommitId"].startswith("main@sha1:")
        assert (await kube.get("v1", "ConfigMap", "a", "shop"))["data"] == {"x": "1"}
        goal.deleted = True
        fabric.put_goal(store, goal)
        await settled(world, "flux", "fleet", "Deleted")
        assert await kube.find("v1", "ConfigMap", "a", "shop") is None
