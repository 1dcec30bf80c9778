"""The string formats that a structural schema may name, each as a predicate.

Source: kube-openapi's `strfmt` and the list of formats in the CustomResourceDefinition API reference. Other formats are
not checked; the real server does not check them either.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import date
from urllib.parse import urlsplit

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})")
_GO_DURATION = re.compile(r"[+-]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)")
_WORDED = re.compile(
    r"\d+\s*(ns|us|µs|ms|s|m|h|hr|d|w|wk|nano\w*|micro\w*|milli\w*|sec\w*|min\w*|hour\w*|day\w*|week\w*)(?![^\W\d_])", re.I
)
_HOST = re.compile(r"[^\W_](-?[^\W_]{0,62})?|([^\W_]([-A-Za-z0-9]{0,61}[^\W_])?\.)+[^\W\d_]{2,63}")
_UUID = r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?{version}[0-9a-fA-F]{3}-?{variant}[0-9a-fA-F]{3}-?[0-9a-fA-F]{12}"


def _full(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


def _uuid(version: str = "[0-9a-fA-F]", variant: str = "[0-9a-fA-F]") -> Callable[[str], bool]:
    return _full(_UUID.replace("{version}", version).replace("{variant}", variant))


def _date(value: str) -> bool:
    if _DATE.fullmatch(value) is None:
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _date_time(value: str) -> bool:
    return _DATE_TIME.fullmatch(value) is not None and _date(value[:10]) and value[11:13] < "24" and value[14:16] < "60"


def _address(version: int) -> Callable[[str], bool]:
    def fits(value: str) -> bool:
        try:
            return ipaddress.ip_address(value).version == version
        except ValueError:
            return False

    return fits


def _cidr(value: str) -> bool:
    address, slash, bits = value.partition("/")
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return bool(address and slash and bits.isdigit())


def _byte(value: str) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _uri(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme or value.startswith("/"))


FORMATS: dict[str, Callable[[str], bool]] = {
    "date": _date,
    "date-time": _date_time,
    "datetime": _date_time,
    "duration": lambda value: bool(_GO_DURATION.fullmatch(value) or _WORDED.search(value)),
    "byte": _byte,
    "uri": _uri,
    "hostname": lambda value: (
        len(value) <= 255 and _HOST.fullmatch(value) is not None and max(map(len, value.split("."))) <= 63
    ),
    "ipv4": _address(4),
    "ipv6": _address(6),
    "cidr": _cidr,
    "mac": _full(
        "|".join(
            rf"[0-9A-Fa-f]{{2}}([:-][0-9A-Fa-f]{{2}}){{{n - 1}}}|[0-9A-Fa-f]{{4}}(\.[0-9A-Fa-f]{{4}}){{{n // 2 - 1}}}"
            for n in (6, 8, 20)
        )
    ),
    "email": _full(r"([^<>@]* )?<[^@\s<>]+@[^@\s<>]+>|[^@\s<>]+@[^@\s<>]+"),
    "uuid": _uuid(),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4", "[89abAB]"),
    "uuid5": _uuid("5", "[89abAB]"),
    "bsonobjectid": _full("[0-9a-fA-F]{24}"),
    "k8s-short-name": _full("(?=.{1,63}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?"),
    "k8s-long-name": _full(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"),
    "hexcolor": _full("#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "rgbcolor": _full(r"rgb\(\s*(25[0-5]|2[0-4]\d|1?\d?\d)(\s*,\s*(25[0-5]|2[0-4]\d|1?\d?\d)){2}\s*\)"),
    "creditcard": _full(r"\d{13,19}"),
    "ssn": _full(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "isbn": _full(r"(\d[- ]?){9}[\dXx]|(\d[- ]?){13}"),
    "isbn10": _full(r"(\d[- ]?){9}[\dXx]"),
    "isbn13": _full(r"(\d[- ]?){13}"),
}
"""Format -> the function that returns whether a string has it."""
