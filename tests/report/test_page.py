"""The page: one file that works offline, sorts, filters, folds what is long, is legible in the dark and on paper, and runs nothing it quotes."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import some_reports
from some_reports import needs_chromium

from fleetlib import report


class _References(HTMLParser):
    """Everything a browser would load or go to, and the names of all elements."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "data", "action", "srcset") and value:
                self.found.append(value)
            if name == "id" and value:
                self.ids.append(value)


def _references(page: Path) -> _References:
    parser = _References()
    parser.feed(page.read_text())
    return parser


def test_the_page_needs_nothing_else_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    page = report.write(some_reports.report(tmp_path, broken=(2,), failed=True), tmp_path)
    references = _references(page)
    targets = [found for found in references.found if not found.startswith("#")]
    assert {*targets} == {f"{r.notebook}.ipynb" for r in some_reports.run(tmp_path).results}, (
        "only the executed notebooks, beside it"
    )
    assert {found[1:] for found in references.found if found.startswith("#")} <= {*references.ids}
    assert "@import" not in page.read_text() and "url(" not in page.read_text()
    assert "default-src 'none'" in page.read_text()


def test_every_drawing_says_in_words_what_it_shows(tmp_path: Path) -> None:
    text = report.write(some_reports.report(tmp_path), tmp_path).read_text()
    drawings = re.findall(r"<svg[^>]*>", text)
    assert len(drawings) >= 3
    assert all('role="img"' in drawing and re.search(r'aria-label="[^"]{5,}"', drawing) for drawing in drawings)
    assert "podinfo-prod with 3 clusters, 3 compliant" in text


def test_a_failed_run_shows_its_error_and_what_it_had_changed_until_then(tmp_path: Path) -> None:
    text = report.write(some_reports.report(tmp_path, failed=True), tmp_path).read_text()
    assert "07_scale_environments failed" in text and "it went wrong (after 1 change)" in text
    assert "<b>2</b><span>changes</span>" in text, "the failed stage's change counts, the skipped stage's does not"
    assert "3 -&gt; 5" in text


@needs_chromium
def test_tables_sort_by_number_and_by_name_and_back(tmp_path: Path) -> None:
    page = report.write(some_reports.report(tmp_path, count=12), tmp_path)
    script = """
      const box = document.querySelector('[data-table=clusters]'), heads = [...box.querySelectorAll('th button')];
      const press = (name) => heads.find((b) => b.textContent === name).click();
      const first = () => [...box.querySelectorAll('tbody tr')].map((r) => r.cells[0].textContent).join(' ');
      press('nodes'); const up = [...box.querySelectorAll('tbody tr')].map((r) => r.cells[7].textContent).join('');
      press('nodes'); const down = [...box.querySelectorAll('tbody tr')].map((r) => r.cells[7].textContent).join('');
      press('cluster'); document.title = [up, down, first()].join('|');
    """
    up, down, names = some_reports.title(page, script).split("|")
    assert (up, down) == ("111222333444", "444333222111")
    assert names.split() == [f"podinfo-{n}-aks" for n in range(12)], "10 comes after 9"


@needs_chromium
def test_filtering_keeps_the_rows_with_all_words_and_without_the_others(tmp_path: Path) -> None:
    page = report.write(some_reports.report(tmp_path, count=12), tmp_path)
    script = """
      const box = document.querySelector('[data-table=clusters]'), input = box.querySelector('input');
      input.value = 'PROD 1.34 -podinfo-7'; input.dispatchEvent(new Event('input'));
      const shown = [...box.querySelectorAll('tbody tr')].filter((r) => !r.hidden && r.offsetHeight).map((r) => r.cells[0].textContent);
      document.title = shown.join(' ') + '|' + box.querySelector('output').textContent;
    """
    assert some_reports.title(page, script) == "podinfo-1-aks podinfo-4-aks podinfo-10-aks|3 of 12 rows"


@needs_chromium
def test_what_is_long_is_folded_until_it_is_clicked_and_nothing_quoted_runs(tmp_path: Path) -> None:
    page = report.write(some_reports.report(tmp_path, broken=(2,), failed=True), tmp_path)
    script = """
      const fold = document.querySelector('[data-table=clusters] .fold'), folded = fold.offsetHeight;
      fold.click(); const whole = fold.offsetHeight;
      const wide = document.documentElement.scrollWidth > innerWidth;
      document.title = [document.title, folded < 60, whole > folded, wide].join('|');
    """
    name, folded, opens, wide = some_reports.title(page, script).rsplit("|", 3)
    assert name.startswith("Fleet run"), "a script in a message must not run"
    assert (folded, opens, wide) == ("true", "true", "false")


@needs_chromium
def test_it_is_dark_where_the_reader_wants_it_dark(tmp_path: Path) -> None:
    import numpy
    from PIL import Image

    def pixels(path: Path) -> Any:
        return numpy.asarray(Image.open(path)) / 255

    page = report.write(some_reports.report(tmp_path), tmp_path)
    light = pixels(some_reports.screenshot(page, "light"))
    dark = pixels(some_reports.screenshot(page, "dark", "--blink-settings=preferredColorScheme=0"))
    assert light[:, :, :3].mean() > 0.85 and dark[:, :, :3].mean() < 0.25
    assert light.std() > 0.02 and dark.std() > 0.02, "there is something on it"


@needs_chromium
def test_on_paper_a_thousand_clusters_are_all_there(tmp_path: Path) -> None:
    page = report.write(some_reports.report(tmp_path, count=1000, broken=(7,)), tmp_path)
    pages = len(re.findall(rb"/Type\s*/Page\b", some_reports.pdf(page)))
    assert pages > 20, "the table is not cut off at the height of the window"
    assert page.stat().st_size < 1_500_000
