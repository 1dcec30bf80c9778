"""The string formats that a structural schema may name, each as a predicate.

Pure. Source: kube-openapi's `strfmt` and the list of formats in the CustomResourceDefinition API reference; a format that
is not here is not checked, as the real server does not check it.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

_DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})")
_DURATION = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d|w)((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d|w))*|0")
_HOST = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*\.?")
_UUID = r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?{version}[0-9a-fA-F]{3}-?{variant}[0-9a-fA-F]{3}-?[0-9a-fA-F]{12}"


def _full(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


def _uuid(version: str = "[0-9a-fA-F]", variant: str = "[0-9a-fA-F]") -> Callable[[str], bool]:
    return _full(_UUID.replace("{version}", version).replace("{variant}", variant))


def _date(value: str) -> bool:
    try:
        datetime.strptime(value, "%Y-%m-%d")
    except ValueError:
        return False
    return len(value) == 10


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
    "duration": lambda value: _DURATION.fullmatch(value.replace(" ", "")) is not None,
    "byte": _byte,
    "uri": _uri,
    "hostname": lambda value: len(value) <= 255 and _HOST.fullmatch(value) is not None,
    "ipv4": _address(4),
    "ipv6": _address(6),
    "cidr": _cidr,
    "mac": _full(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{4}(\.[0-9A-Fa-f]{4}){2}"),
    "email": _full(r"[^@\s<>]+@[^@\s<>]+"),
    "uuid": _uuid(),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4", "[89abAB]"),
    "uuid5": _uuid("5", "[89abAB]"),
    "hexcolor": _full("#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "rgbcolor": _full(r"rgb\(\s*(25[0-5]|2[0-4]\d|1?\d?\d)(\s*,\s*(25[0-5]|2[0-4]\d|1?\d?\d)){2}\s*\)"),
    "creditcard": _full(r"\d{13,19}"),
    "ssn": _full(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "isbn": _full(r"(\d[- ]?){9}[\dXx]|(\d[- ]?){13}"),
    "isbn10": _full(r"(\d[- ]?){9}[\dXx]"),
    "isbn13": _full(r"(\d[- ]?){13}"),
}
"""Format -> whether a string has it."""
