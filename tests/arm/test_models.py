"""The properties of bodies are those of the installed SDKs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from azuresandbox.arm import models

PROJECT = Path(__file__).parents[2]


def test_the_data_file_matches_the_installed_sdks() -> None:
    program = "import runpy; print(runpy.run_path('tools/arm_models.py')['render'](), end='')"
    made = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=300
    ).stdout
    assert made == (PROJECT / "azuresandbox/arm/data/models.json").read_text(), "run: python tools/arm_models.py"


def test_the_server_needs_no_sdk() -> None:
    program = (
        "import sys, azuresandbox.arm, azuresandbox.entra; print([m for m in sys.modules if m.partition('.')[0] == 'azure'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_mismatches_are_found_in_depth() -> None:
    cluster = {"properties": {"agentPoolProfiles": [{"name": "a", "vmsize": "x", "count": "three"}]}}
    found = models.first_mismatch("containerservice.ManagedCluster", cluster)
    assert found is not None
    assert (found.problem, found.path, found.expected, found.value) == (
        "type",
        "properties.agentPoolProfiles[0].count",
        "int",
        "three",
    )
    cluster = {"properties": {"agentPoolProfiles": [{"name": "a", "vmSizes": "x"}]}}
    found = models.first_mismatch("containerservice.ManagedCluster", cluster)
    assert found is not None
    assert (found.problem, found.member, found.model) == ("unknown", "vmSizes", "ManagedClusterAgentPoolProfile")
    assert models.first_mismatch("containerservice.ManagedCluster", {"tags": {"a": 1}}) is not None
    assert models.first_mismatch("containerservice.ManagedCluster", {"tags": None, "properties": {"enableRBAC": True}}) is None


def test_names_are_read_without_regard_to_case() -> None:
    given = {"PROPERTIES": {"DNSPrefix": "x", "agentpoolprofiles": [{"VMSize": "y"}]}, "tags": {"Keep": "Me"}}
    assert models.normalized("containerservice.ManagedCluster", given) == {
        "properties": {"dnsPrefix": "x", "agentPoolProfiles": [{"vmSize": "y"}]},
        "tags": {"Keep": "Me"},
    }
