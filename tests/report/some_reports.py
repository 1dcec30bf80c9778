"""Reports made by hand, small and large, good and bad; and a browser to look at them with."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pandas
import pytest

from fleetlib.inspect import plots
from fleetlib.parameters import Parameters
from fleetlib.report import gather
from fleetlib.report.model import Report, Table
from fleetlib.run import Run, StageResult

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to look with")
LONG = (
    "the request failed: " + "a sentence that goes on and on, " * 12 + "<script>document.title='taken over'</script> & 'more'"
)
MADE = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def clusters(count: int, broken: tuple[int, ...] = ()) -> pandas.DataFrame:
    """`count` clusters in three environments; those at `broken` failed in Azure."""
    rows = [
        {
            "environment": f"podinfo-{('dev', 'prod', 'staging')[n % 3]}", "declared": True, "aso": "Failed" if n in broken else "Succeeded",
            "provisioning": "Failed" if n in broken else "Succeeded", "compliance": "missing" if n in broken else "Compliant",
            "version": f"1.{33 + n % 3}.1", "nodes": n % 4 + 1, "location": "eastus2", "revision": "bfdf6a41", "message": LONG if n in broken else "",
        }
        for n in range(count)
    ]  # fmt: skip
    return pandas.DataFrame(rows, index=pandas.Index([f"podinfo-{n}-aks" for n in range(count)], name="cluster"))


def sources(ready: bool = True) -> pandas.DataFrame:
    rows = [
        (
            "cluster-config",
            "GitRepository",
            ready,
            "main@sha1:84a24e5a",
            "Succeeded" if ready else "GitOperationFailed",
            "" if ready else LONG,
        ),
        ("charts", "OCIRepository", True, "0.1.0", "Succeeded", "stored artifact"),
    ]
    return pandas.DataFrame(rows, columns=["name", "kind", "ready", "revision", "reason", "message"]).set_index("name")


def run(folder: Path, failed: bool = False) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    results = [
        StageResult("00_check_prerequisites", "skipped", 1.5, "00_check_prerequisites.ipynb", "", [["p", "o", "create", ""]], [["ok", "yes", True, ""]]),
        StageResult("06_deploy_workload_clusters", "done", 9.1, "06_deploy_workload_clusters.ipynb", "", [["commit", "main", "update", "0 -> 3"]]),
        StageResult("07_scale_environments", "failed" if failed else "done", 4.0, "07_scale_environments.ipynb",
                    f"it went wrong\n  answer: {LONG}\x1b[0m\x00" if failed else "", [["commit", "main", "update", "3 -> 5"]],
                    [["all compliant", LONG if failed else "yes", not failed, "run 06 again"]]),
    ]  # fmt: skip
    return Run(folder, Parameters().model_dump(), results)


def report(folder: Path, count: int = 9, broken: tuple[int, ...] = (), failed: bool = False) -> Report:
    frame, feeds = clusters(count, broken), sources()
    found = Report(MADE, Parameters().model_dump(), run(folder, failed))
    found.tables = [Table("clusters", "Clusters", frame), Table("sources", "Sources", feeds)]
    found.findings = gather.findings(frame, feeds)
    found.plots = [plots.topology("asocluster-aks", frame, feeds), plots.environments(frame), plots.versions(frame)]
    return found


def dom(page: Path, script: str = "") -> str:
    """The page's document after its own scripts and `script`, which may write into `document.title`."""
    if script:
        page = page.with_name("driven.html")
        page.write_text(page.with_name("report.html").read_text().replace("</body>", f"<script>{script}</script></body>"))
    return _chromium(page, "--dump-dom").stdout


def title(page: Path, script: str) -> str:
    found = re.search(r"<title>(.*?)</title>", dom(page, script))
    assert found
    return found[1]


def screenshot(page: Path, name: str, *options: str) -> Path:
    target = page.with_name(f"{name}.png")
    _chromium(page, "--hide-scrollbars", "--window-size=1200,1000", f"--screenshot={target}", *options)
    return target


def pdf(page: Path) -> bytes:
    target = page.with_suffix(".pdf")
    _chromium(page, "--no-pdf-header-footer", f"--print-to-pdf={target}")
    return target.read_bytes()


def _chromium(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM
    profile = page.parent / "profile"
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
        *options,
    ]
    return subprocess.run([*command, page.absolute().as_uri()], capture_output=True, text=True, check=True, timeout=120)
