"""Bad parameters get one clear message and exit status 2, before anything is created."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fleetlib.cli import runs  # noqa: F401  # adds `fleet run`
from fleetlib.cli.command import main
from fleetlib.errors import ParameterError
from fleetlib.parameters import MAX_CLUSTERS, Parameters


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"locaton": "eastus2"}, "there is no parameter 'locaton' (did you mean 'location'?)"),
        ({"prod_cluster_count": "three"}, "prod_cluster_count 'three': input should be a valid integer"),
        ({"prod_cluster_count": True}, "prod_cluster_count True: input should be a valid integer"),
        ({"prod_cluster_count": -1}, "prod_cluster_count -1: input should be greater than or equal to 0"),
        ({"staging_cluster_count": MAX_CLUSTERS + 1}, f"less than or equal to {MAX_CLUSTERS}"),
        ({"location": "East US 2"}, "location 'East US 2' is not a region's name"),
        ({"controlplane_cluster": "-hub"}, "controlplane_cluster '-hub' is not a cluster's DNS prefix"),
        ({"controlplane_cluster": "x" * 55}, "is not a cluster's DNS prefix"),
        ({"cloud": "azure"}, "cloud 'azure': input should be 'sandbox', 'AzureCloud'"),
        ({"kubernetes_version": "latest"}, "kubernetes_version 'latest' is not a Kubernetes version"),
        ({"fleet_repository": "git@github.com:contoso/fleet"}, "is not an https:// Git URL"),
        ({"fleet_repository": "https://user:password@github.com/contoso/fleet"}, "without credentials"),
        ({"chart_registry": "https://contoso.azurecr.io"}, "is not an oci:// URL"),
        ({"new_environment": "prod"}, "new_environment must not be staging or prod"),
        ({"fleet_group": "controlplane-rg"}, "controlplane_group and fleet_group must differ"),
    ],
)
def test_a_wrong_parameter_has_one_message(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError) as error:
        Parameters.check(values)
    assert words in str(error.value)
    assert "nothing has been created" in str(error.value)


def test_all_wrong_parameters_are_in_one_message() -> None:
    with pytest.raises(ParameterError, match="locaton.*prodcount|prodcount.*locaton"):
        Parameters.check({"locaton": "x", "prodcount": 1})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", "prod_cluster_count", "many"], "prod_cluster_count 'many'"),
        (["-p", "nosuch", "1"], "there is no parameter 'nosuch'"),
        (["-f", "missing.yaml"], "the parameters file does not exist"),
        (["-f", "broken.yaml"], "the parameters file is not valid YAML"),
        (["-f", "list.yaml"], "must be a mapping"),
        (["no_such_stage"], "there is no stage 'no_such_stage'"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_wrong_usage_exits_with_2_and_starts_no_sandbox(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))
    (tmp_path / "broken.yaml").write_text("location: [unclosed\n")
    (tmp_path / "list.yaml").write_text("- location\n")
    given = [str(tmp_path / item) if item.endswith(".yaml") else item for item in arguments]
    result = CliRunner().invoke(main, ["run", *given, "--runs", str(tmp_path / "runs")])
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert not (tmp_path / "home").exists()
    assert not (tmp_path / "runs").exists()


def test_a_pair_wins_over_the_file(tmp_path: Path) -> None:
    from fleetlib.cli.command import values_of

    file = tmp_path / "p.yaml"
    file.write_text("prod_cluster_count: 4\n")
    assert values_of(file, (("prod_cluster_count", "7"),)) == {"prod_cluster_count": 7}


@given(
    st.dictionaries(st.text(max_size=12), st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers())), max_size=4)
)
def test_any_values_are_accepted_or_refused_by_a_parameter_error(values: dict[str, Any]) -> None:
    try:
        Parameters.check(values)
    except ParameterError as error:
        assert str(error)


def test_a_relative_file_is_found_from_the_notebooks_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parameters").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "parameters" / "mine.yaml").write_text("location: westeurope\n")
    monkeypatch.setenv("FLEET_PARAMETERS", "parameters/mine.yaml")
    monkeypatch.chdir(tmp_path / "notebooks")
    assert Parameters.from_namespace({}).location == "westeurope"
    monkeypatch.setenv("FLEET_PARAMETERS", "parameters/yours.yaml")
    with pytest.raises(ParameterError, match="the parameters file does not exist"):
        Parameters.from_namespace({})
