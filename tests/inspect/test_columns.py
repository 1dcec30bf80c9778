"""The contract of the tables: columns, dtypes and index, of empty and of filled tables."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fleetlib.inspect import columns, frames
from fleetlib.inspect.finding import FindingRow
from fleetlib.inspect.roles import RoleRow
from fleetlib.inspect.rows import Row
from fleetlib.inspect.versions import VersionRow

READ = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("name", columns.TABLES)
def test_a_table_has_its_columns_and_dtypes_even_when_it_is_empty(name: str) -> None:
    table = columns.TABLES[name]
    frame = frames.build(table, [], source="test", read=READ)
    assert list(frame.index.names) == [column.name for column in table.index]
    assert {c.name: c.dtype for c in table.columns} == {str(key): str(value) for key, value in frame.dtypes.items()}
    assert frame.attrs["source"] == "test" and frame.attrs["read"] == READ


@pytest.mark.parametrize("name", columns.TABLES)
def test_the_brief_columns_are_columns(name: str) -> None:
    table = columns.TABLES[name]
    assert set(table.brief) <= {column.name for column in table.columns}
    assert len({column.name for column in table.all}) == len(table.all)


@pytest.mark.parametrize(("name", "row"), [("findings", FindingRow), ("roles", RoleRow), ("versions", VersionRow)])
def test_a_typed_row_has_the_columns_of_its_table(name: str, row: type) -> None:
    assert row.__annotations__.keys() == {column.name for column in columns.TABLES[name].all}


def _clusters() -> frames.View:
    rows: list[Row] = [
        {"cluster": "b", "status": "ok", "nodes": 2, "since": "2026-01-02T03:04:05Z"},
        {"cluster": "a", "status": "broken", "reason": "<b>", "message": "<script>x</script>", "portal": "https://portal/#a"},
        {"cluster": "c-10", "status": "ok", "nodes": 1, "since": "2026-01-02T03:04:05.123Z"},
        {"cluster": "c-9", "status": "ok"},
    ]
    return frames.build(columns.TABLES["clusters"], rows, source="test", read=READ)


def test_missing_values_stay_missing_and_the_rows_are_sorted_by_name() -> None:
    frame = _clusters()
    assert list(frame.index) == ["a", "b", "c-9", "c-10"]
    assert frame.nodes.isna().tolist() == [True, False, True, False] and frame.nodes["b"] == 2
    assert str(frame.since["c-10"]) == "2026-01-02 03:04:05.123000+00:00"


def test_a_notebook_shows_the_worst_row_first_with_sign_and_link_and_escapes_html() -> None:
    page = _clusters()._repr_html_() or ""
    assert page.index(">a</a>") < page.index("</span> b")
    assert "href='https://portal/#a'" in page and "✗" in page and "&lt;b&gt;" in page and "<script>" not in page
    assert "4 rows · test · read 2026-01-02 03:04:05 UTC" in page


def test_a_filtered_table_keeps_its_look_and_other_frames_have_that_of_pandas() -> None:
    frame = _clusters()
    filtered = frame[frame.status == "broken"]
    assert isinstance(filtered, frames.View) and "1 row ·" in (filtered._repr_html_() or "")
    assert "dataframe" in (frame.reset_index(drop=True)[["nodes"]]._repr_html_() or "")


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(KeyError, match="no column sise"):
        frames.build(columns.TABLES["pools"], [{"sise": 1}], source="test", read=READ)


def test_columns_that_the_user_chose_are_all_shown() -> None:
    chosen = _clusters()[["next_step", "portal"]]
    assert "https://portal/#a" in (chosen._repr_html_() or "") and "portal" in repr(chosen)
    added = _clusters().assign(mine=1)
    assert "mine" in (added._repr_html_() or "") and "portal" in repr(added)
    assert "portal" not in repr(_clusters()) and "reason" in repr(_clusters())
