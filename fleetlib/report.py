"""The page a run leaves behind: one self-contained HTML file, readable offline. May import `run` and `inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleetlib.run import Run

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fleet run {{ run.folder.name }}</title>
<style>
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #b42318; --quiet: #8888; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; font-size: .92rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; } .num { text-align: right; font-variant-numeric: tabular-nums; }
.bar { background: var(--good); height: .5rem; border-radius: .25rem; min-width: 2px; }
pre { white-space: pre-wrap; background: #8881; padding: .8rem; border-radius: .4rem; } details { margin: .4rem 0; }
.wide { overflow-x: auto; }
</style></head><body>
<h1>Fleet run {{ run.folder.name }}</h1>
<p>{{ run.results|length }} stages in {{ "%.1f"|format(total) }} s on <b>{{ run.parameters.cloud }}</b>, {{ run.parameters.location }}:
{% if run.failed %}<span class="bad">failed</span>{% elif changes %}<span class="good">done</span>, {{ changes }} changes
{% else %}<span class="good">done</span>, nothing changed: everything was as declared{% endif %}.</p>
<h2>Stages</h2>
<table><thead><tr><th>stage</th><th>result</th><th>what it did</th><th class="num">seconds</th><th style="width:22%"></th></tr></thead><tbody>
{% for r in run.results %}<tr><td><a href="{{ r.output }}">{{ r.notebook }}</a></td>
<td class="{{ 'bad' if r.status == 'failed' else 'good' }}">{{ r.status }}</td><td>{{ r.sentence }}</td>
<td class="num">{{ "%.1f"|format(r.seconds) }}</td><td><div class="bar" style="width:{{ (100 * r.seconds / longest)|round }}%"></div></td></tr>
{% endfor %}</tbody></table>
{% for r in run.results if r.error %}<h2 class="bad">{{ r.notebook }}</h2><pre>{{ r.error }}</pre>{% endfor %}
{% if fleet %}<h2>The fleet</h2><div class="wide"><table><thead><tr>{% for name in fleet.columns %}<th>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in fleet.rows %}<tr>{% for value in row %}<td class="{{ 'good' if value in ('Succeeded', 'Compliant') else '' }}">{{ value }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>{% endif %}
<h2>Promises</h2>
{% for r in run.results if r.checks %}<details{% if r.status == 'failed' %} open{% endif %}><summary>{{ r.notebook }}:
{{ r.checks|selectattr(2)|list|length }} of {{ r.checks|length }} kept</summary>
<table><tbody>{% for promise, evidence, kept, fix in r.checks %}<tr><td class="{{ 'good' if kept else 'bad' }}">{{ '✓' if kept else '✗' }}</td>
<td>{{ promise }}</td><td>{{ evidence }}</td><td>{{ '' if kept else fix }}</td></tr>{% endfor %}</tbody></table></details>{% endfor %}
<h2>Changes</h2>
{% if changes %}<table><thead><tr><th>stage</th><th>step</th><th>object</th><th>action</th><th>differences</th></tr></thead><tbody>
{% for r in run.results %}{% for step, target, action, differences in r.changes %}<tr><td>{{ r.notebook[:2] }}</td><td>{{ step }}</td>
<td>{{ target }}</td><td>{{ action }}</td><td>{{ differences }}</td></tr>{% endfor %}{% endfor %}</tbody></table>
{% else %}<p>None.</p>{% endif %}
</body></html>
"""


def write(run: Run, fleet: Any = None) -> Path:
    """`report.html` in the run's folder; `fleet` is the fleet table, if there is one."""
    import jinja2

    table = None
    if fleet is not None:
        rows = [[str(value) for value in row] for row in fleet.reset_index().itertuples(index=False)]
        table = {"columns": [fleet.index.name, *fleet.columns], "rows": rows}
    seconds = [result.seconds for result in run.results]
    template = jinja2.Environment(autoescape=True).from_string(TEMPLATE)
    text = template.render(
        run=run, fleet=table, total=sum(seconds), longest=max([*seconds, 0.1]), changes=sum(len(r.changes) for r in run.results)
    )
    path = run.folder / "report.html"
    path.write_text(text)
    return path
