"""`--no-wait` and `az aks wait`: the Azure CLI returns to work that takes time."""

from __future__ import annotations

import pytest

from tests.clients_az.conftest import Shell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ON = "-g rg -n one"
POOL = "-g rg --cluster-name one"


def test_no_wait_and_wait_while_time_passes(shell: Shell) -> None:
    """The demo clock finishes the work that `--no-wait` started.

    Until then the clock `realistic` keeps it unfinished, however slow this machine is.
    """
    shell("az provider register -n Microsoft.ContainerService; az group create -n rg -l eastus2 -o none")
    shell.clock("realistic")
    shell(f"az aks create {ON} --node-count 1 --generate-ssh-keys --no-wait")
    assert shell.json(f"az aks show {ON} --query provisioningState") == "Creating"
    busy = shell.fails(f"az aks scale {ON} --node-count 2")
    assert "(OperationNotAllowed) Operation is not allowed: Another operation (Creating) is in progress" in busy
    shell.clock("demo")
    shell(f"az aks wait {ON} --created --interval 1 --timeout 120")
    assert shell.json(f"az aks show {ON} --query provisioningState") == "Succeeded"
    shell(f"az aks nodepool add {POOL} -n more --node-count 1 --no-wait")
    shell(f"az aks nodepool wait {POOL} -n more --created --interval 1 --timeout 120")
    assert shell.json(f"az aks nodepool show {POOL} -n more --query provisioningState") == "Succeeded"
    shell.clock("realistic")
    shell(f"az aks delete {ON} --yes --no-wait")
    assert shell.json(f"az aks show {ON} --query provisioningState") == "Deleting"
    shell.clock("demo")
    shell(f"az aks wait {ON} --deleted --interval 1 --timeout 120")
    assert shell.json("az aks list") == []
