"""The OData `$filter` expressions that ARM's lists of resources take: comparisons joined by `and`.

`resourceType eq 'X'`, `name eq`, `location eq`, `resourceGroup eq`, `tagName eq 'a' and tagValue eq 'b'`,
`startswith(tagName,'a')`, `substringof('a', name)`. Others are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.records import Resource

Test = Callable[[Resource], bool]

_COMPARISON = re.compile(r"\s*(\w+)\s+(eq|ne)\s+'((?:[^']|'')*)'\s*", re.IGNORECASE)
_SUBSTRING = re.compile(r"\s*substringof\(\s*'((?:[^']|'')*)'\s*,\s*(\w+)\s*\)\s*", re.IGNORECASE)
_PREFIX = re.compile(r"\s*startswith\(\s*(\w+)\s*,\s*'((?:[^']|'')*)'\s*\)\s*", re.IGNORECASE)

FIELDS: dict[str, Callable[[Resource], str]] = {
    "resourcetype": lambda r: r.type,
    "name": lambda r: r.id.name,
    "location": lambda r: r.location,
    "resourcegroup": lambda r: r.id.group,
}


def apply(expression: str, found: Iterable[Resource]) -> list[Resource]:
    """Return the resources that the expression selects; all, if it is empty. Raises InvalidFilterInQueryString."""
    if not expression.strip():
        return list(found)
    tests = _parse(expression)
    return [resource for resource in found if all(test(resource) for test in tests)]


def _parse(expression: str) -> list[Test]:
    clauses = [clause.strip() for clause in re.split(r"\s+and\s+(?=(?:[^']*'[^']*')*[^']*$)", expression, flags=re.IGNORECASE)]
    tests: list[Test] = []
    tag = ""
    for clause in clauses:
        comparison = _COMPARISON.fullmatch(clause)
        field = comparison[1].lower() if comparison else ""
        if comparison and field == "tagname":
            tag = comparison[3]
            tests.append(_has_tag(tag, None))
        elif comparison and field == "tagvalue" and tag:
            tests.append(_has_tag(tag, comparison[3]))
        else:
            tests.append(_clause(clause, expression))
    return tests


def _clause(clause: str, whole: str) -> Test:
    if (match := _COMPARISON.fullmatch(clause)) and match[1].lower() in FIELDS:
        read, value, equal = FIELDS[match[1].lower()], match[3].replace("''", "'").lower(), match[2].lower() == "eq"
        return lambda r: (read(r).lower() == value) is equal
    if (match := _SUBSTRING.fullmatch(clause)) and match[2].lower() in FIELDS:
        read, part = FIELDS[match[2].lower()], match[1].replace("''", "'").lower()
        return lambda r: part in read(r).lower()
    if (match := _PREFIX.fullmatch(clause)) and match[1].lower() == "tagname":
        prefix = match[2].lower()
        return lambda r: any(name.lower().startswith(prefix) for name in r.document.get("tags") or {})
    raise ArmError(400, "InvalidFilterInQueryString", f"Invalid $filter '{whole}' specified in the query string.")


def _has_tag(name: str, value: str | None) -> Test:
    def test(resource: Resource) -> bool:
        tags = {key.lower(): text for key, text in (resource.document.get("tags") or {}).items()}
        return name.lower() in tags and value in (None, tags[name.lower()])

    return test
