"""Requests are shown without their secrets, and waits without times."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetlib.request import MASK, Shown, as_json, masked
from fleetlib.stages.conditions import Conditions


@pytest.mark.parametrize("field", ["data", "stringData"])
def test_values_of_a_secret_are_masked_and_its_keys_kept(field: str) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, field: {"values.yaml": "c2VjcmV0"}}
    assert masked(secret) == {**secret, field: {"values.yaml": MASK}}


def test_secrets_inside_of_lists_are_masked() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"key": "c2VjcmV0"}}
    assert masked({"kind": "List", "items": [secret]}) == {"kind": "List", "items": [{**secret, "data": {"key": MASK}}]}


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "adminPassword",
        "secret",
        "clientSecret",
        "token",
        "kubeconfig",
        "accountKey",
        "access_key",
        "connectionString",
    ],
)
def test_properties_with_the_name_of_a_secret_are_masked(key: str) -> None:
    assert masked({"properties": {key: "hunter2"}}) == {"properties": {key: MASK}}


@pytest.mark.parametrize("key", ["secretName", "secretRef", "tokenAudience", "clientId", "publicKey", "key"])
def test_names_and_identifiers_stay_readable(key: str) -> None:
    assert masked({key: "aso-identity"}) == {key: "aso-identity"}


def test_protected_settings_of_an_extension_are_masked() -> None:
    assert masked({"configurationProtectedSettings": {"a": "b"}}) == {"configurationProtectedSettings": {"a": MASK}}


@given(st.text(min_size=8))
def test_the_credential_is_masked_wherever_it_stands(secret: str) -> None:
    shown = Shown(f"PUT /a?key={secret}", f"data: {secret}").without([secret, ""])
    assert secret not in shown.head + shown.body


def test_the_command_stands_beside_the_request() -> None:
    shown = Shown("PUT /groups/a", '{\n  "location": "<x>"\n}', "json", "create group: a", "az group create -n a")
    assert repr(shown).endswith("the same by hand:\n  az group create -n a")
    html = shown._repr_html_()
    assert "az group create -n a" in html
    assert "&lt;x&gt;" in html


def test_a_diff_shows_added_and_removed_lines_in_colours() -> None:
    html = Shown("commit", "--- a\n+++ b\n-clusterCount: 0\n+clusterCount: 3", "diff")._repr_html_()
    assert html.count("<span") == 4


def test_objects_in_the_same_condition_share_a_row() -> None:
    rows = tuple(("aso", f"ManagedCluster c-{number}", "Ready: True") for number in range(5))
    assert repr(Conditions((*rows, ("release", "HelmRelease a", "Ready: True")))) == (
        "aso      ManagedCluster c-0, c-1 and 3 more  Ready: True\nrelease  HelmRelease a                       Ready: True"
    )
    assert repr(Conditions(())) == "nothing to wait for"


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=20)
)
def test_json_for_people_is_json(document: object) -> None:
    assert json.loads(as_json(document)) == document


def test_small_arrays_and_objects_are_on_one_line() -> None:
    body = {"properties": {"audiences": ["api://AzureADTokenExchange"], "subject": "x" * 80}}
    assert as_json(body).splitlines()[2] == '    "audiences": ["api://AzureADTokenExchange"],'
