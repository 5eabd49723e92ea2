# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an endpoint's answer means: as described, not as described, or nobody there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .errors import Refused

REFUSED = "refused"
"""Nobody listens: the connection was refused."""

_LONGEST_VALUE = 80

UNCLEAR = "unclear"
"""Neither an answer nor a refusal: a time-out, a name that cannot be resolved, a certificate that is not accepted."""


@dataclass(frozen=True)
class Endpoint:
    """A described endpoint.

    Attributes:
        name: how results call it.
        url: http or https.
        method: the HTTP method.
        headers: request headers; may hold secrets.
        body: the request's body: text as it is, anything else as JSON; may hold secrets.
        status: status codes that count as healthy; empty is: any.
        json: values by dotted path that the answer's JSON must have, of the same type.
        contains: text that the answer must hold.
        absent: text that the answer must not hold.
        max_latency_ms: slowest answer that counts as healthy, in milliseconds.
    """

    name: str
    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Any = field(default=None, repr=False)
    status: tuple[int, ...] = (200,)
    json: Mapping[str, Any] = field(default_factory=dict)
    contains: str = ""
    absent: str = ""
    max_latency_ms: float | None = None


@dataclass(frozen=True)
class Answer:
    """What came back from an endpoint.

    Attributes:
        status: the HTTP status, or None where there was no answer.
        body: its bytes, up to the limit.
        latency_ms: from the start of the request to the end of the body.
        failure: `REFUSED` or `UNCLEAR` where there was no answer.
        error: why, in a few words.
    """

    status: int | None = None
    body: bytes = b""
    latency_ms: float = 0.0
    failure: str = ""
    error: str = ""


def make_endpoint(options: Mapping[str, Any], *, any_status: bool = False) -> Endpoint:
    """Read an endpoint from a module's options.

    Args:
        options: as described in the documentation of M(balcon.rollback.health_probe); values of None count as left out.
        any_status: with no status given, any counts: for telling whether somebody is there at all.

    Raises:
        Refused: the URL is not http or https, or has no host.
    """
    given = {key: value for key, value in options.items() if value is not None}
    url = str(given.get("url", ""))
    if not _is_web_address(url):
        raise Refused(
            f"{without_credentials(url)!r} is not the address of an endpoint: it needs http:// or https:// and a host.",
            untouched="Nothing was asked.",
            remedy="Write it in full, for example http://127.0.0.1:8082/api/health/deep.",
        )
    status = given.get("status")
    return Endpoint(
        name=str(given.get("name") or without_credentials(url)),
        url=url,
        method=str(given.get("method", "GET")).upper(),
        headers={str(key): str(value) for key, value in (given.get("headers") or {}).items()},
        body=given.get("body"),
        status=tuple(int(code) for code in status) if status else (() if any_status else (200,)),
        json=given.get("json") or {},
        contains=given.get("contains", ""),
        absent=given.get("absent", ""),
        max_latency_ms=given.get("max_latency_ms"),
    )


def unhealthy_reason(endpoint: Endpoint, answer: Answer) -> str:
    """Say why an answer is not as described; "" is: it is."""
    if answer.status is None:
        return answer.error or "no answer"
    if endpoint.status and answer.status not in endpoint.status:
        return f"status {answer.status}, expected {' or '.join(map(str, endpoint.status))}"
    text = answer.body.decode("utf-8", errors="replace")
    if endpoint.contains and endpoint.contains not in text:
        return f"the answer does not contain {endpoint.contains!r}"
    if endpoint.absent and endpoint.absent in text:
        return f"the answer contains {endpoint.absent!r}"
    return _json_reason(endpoint.json, text) or _latency_reason(endpoint, answer)


def present_reason(endpoint: Endpoint, answer: Answer) -> str:
    """Say why an endpoint cannot be called gone; "" is: it is gone.

    Gone is who refuses the connection, or who answers otherwise than described (somebody else took the place). A
    time-out proves nothing: a process that hangs may still hold sessions and write.
    """
    if answer.failure == REFUSED:
        return ""
    if answer.status is None:
        return f"cannot tell: {answer.error}"
    patient = Endpoint(**{**endpoint.__dict__, "max_latency_ms": None})
    return "" if unhealthy_reason(patient, answer) else f"still answers as described (status {answer.status})"


def json_field(value: object, path: str) -> object:
    """Return a field of a JSON value by its dotted path.

    A key that itself holds dots is found by its whole name; a number picks from a list.

    Raises:
        KeyError: there is no such field.
    """
    if isinstance(value, dict) and path in value:
        return value[path]
    head, _dot, rest = path.partition(".")
    if isinstance(value, dict) and head in value:
        found = value[head]
    elif isinstance(value, list) and head.isdigit() and int(head) < len(value):
        found = value[int(head)]
    else:
        raise KeyError(path)
    return json_field(found, rest) if rest else found


def same_json(left: object, right: object) -> bool:
    """Tell whether two JSON values are equal, with their types: 1 is not true, and not "1"."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def without_credentials(url: str) -> str:
    """Return a URL for a person to read: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(an address that cannot be read)"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else url.partition("?")[0]


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _json_reason(expected: Mapping[str, Any], text: str) -> str:
    if not expected:
        return ""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return "the answer is not JSON"
    for path, value in expected.items():
        try:
            found = json_field(content, path)
        except KeyError:
            return f"the JSON has no field {path!r}"
        if not same_json(found, value):
            return f"{path} is {_short(found)}, expected {_short(value)}"
    return ""


def _latency_reason(endpoint: Endpoint, answer: Answer) -> str:
    if endpoint.max_latency_ms is None or answer.latency_ms <= endpoint.max_latency_ms:
        return ""
    return f"took {answer.latency_ms:.0f} ms, at most {endpoint.max_latency_ms:.0f} ms are allowed"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
