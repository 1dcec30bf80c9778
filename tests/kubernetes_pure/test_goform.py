"""Built-in objects in the form of Go's types, and the messages of Go's decoders; tests/conformance compares the real ones."""

from __future__ import annotations

import pytest

from azuresandbox.kubernetes.model import builtin, decoding, goform


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0.1", "100m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1024Mi", "1Gi"),
        ("0.5Gi", "512Mi"),
        ("1.5Gi", "1536Mi"),
        ("1000", "1k"),
        ("1e3", "1e3"),
        ("0", "0"),
        ("1024", "1024"),
        ("0.0001", "100u"),
        ("512Ki", "512Ki"),
        ("100k", "100k"),
        ("lots", "lots"),
    ],
)
def test_quantities(text: str, canonical: str) -> None:
    assert goform.quantity(text) == canonical


def test_members_that_go_always_writes_or_omits() -> None:
    schema = builtin.schema_for("apps", "v1", "Deployment")
    assert schema is not None
    obj = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"labels": {}}, "spec": {"replicas": 0, "paused": False}}
    goform.form(obj, schema)
    template = {"metadata": {}, "spec": {"containers": None}}
    assert obj["spec"] == {"replicas": 0, "selector": None, "strategy": {}, "template": template}
    assert (obj["metadata"], obj["status"]) == ({}, {})


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "unexpected end of JSON input"),
        (b"{", "unexpected end of JSON input"),
        (b'{"a"}', "invalid character '}' after object key"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b"{a}", "invalid character 'a' looking for beginning of object key string"),
        (b'{"a":[1 2]}', "invalid character '2' after array element"),
        (b"{} x", "invalid character 'x' after top-level value"),
    ],
)
def test_broken_json(body: bytes, complaint: str) -> None:
    with pytest.raises(decoding.Malformed) as caught:
        decoding.parse(body)
    assert str(caught.value) == complaint


def test_duplicate_fields() -> None:
    body = b'{"data":{"a":"1","a":"2"},"data":{"b":"3"}}'
    assert decoding.duplicates(body, decoding.parse(body), as_yaml=False) == ["data.a", "data"]
    assert decoding.merged(body) == {"data": {"a": "2", "b": "3"}}
    assert decoding.duplicates(b'{"a":{"b":"c"}}', {"a": {"b": "c"}}, as_yaml=False) == []
