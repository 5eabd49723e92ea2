# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an endpoint's answer means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.probe import (
    REFUSED,
    UNCLEAR,
    Answer,
    Endpoint,
    json_field,
    make_endpoint,
    present_reason,
    same_json,
    unhealthy_reason,
    without_credentials,
)

URL = "http://host/health"


def reason(content: Any, answered: int = 200, **options: Any) -> str:
    endpoint = make_endpoint({"url": URL, **options})
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return unhealthy_reason(endpoint, Answer(answered, body, 12.0))


def test_as_described() -> None:
    content = {"ok": True, "migrations": {"pending": 0}, "list": [{"name": "x"}], "a.b": 1, "none": None}
    expected = {"ok": True, "migrations.pending": 0, "list.0.name": "x", "a.b": 1, "none": None}
    assert reason(content, json=expected, contains="pending", absent="error", max_latency_ms=12) == ""
    assert reason({}, 204, status=[200, 204]) == ""


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ({"status": "degraded"}, {"json": {"status": "ok"}}, 'status is "degraded", expected "ok"'),
        ({"n": 1}, {"json": {"n": True}}, "n is 1, expected true"),
        ({"n": "1"}, {"json": {"n": 1}}, 'n is "1", expected 1'),
        ({"n": 0}, {"json": {"n": False}}, "n is 0"),
        ({"n": {"a": True}}, {"json": {"n": {"a": 1}}}, "expected"),
        ({}, {"json": {"a.b": 1}}, "no field 'a.b'"),
        ([], {"json": {"0": 1}}, "no field '0'"),
        (b"<html>", {"json": {"ok": True}}, "not JSON"),
        (b"[" * 100000, {"json": {"ok": True}}, "not JSON"),
        (b"\xff\xfe", {"contains": "fine"}, "does not contain"),
        (b"an error", {"absent": "error"}, "contains 'error'"),
        (b"", {"max_latency_ms": 11}, "took 12 ms"),
        (b"", {"max_latency_ms": 0}, "took 12 ms"),
    ],
)
def test_not_as_described(content: Any, options: dict[str, Any], said: str) -> None:
    assert said in reason(content, **options)


def test_status() -> None:
    assert reason({}, 503) == "status 503, expected 200"
    assert reason({}, 200, status=[301, 302]) == "status 200, expected 301 or 302"


def test_long_values_are_cut() -> None:
    assert len(reason({"a": "x" * 10000}, json={"a": "y" * 10000})) < 200


def test_gone() -> None:
    endpoint = make_endpoint({"url": URL, "json": {"version": "2"}, "max_latency_ms": 1}, any_status=True)
    assert present_reason(endpoint, Answer(failure=REFUSED, error="refused")) == ""
    assert present_reason(endpoint, Answer(502, b"bad gateway")) == ""
    assert present_reason(endpoint, Answer(500, b'{"version": "1"}')) == ""
    slow_and_ill = Answer(500, b'{"version": "2"}', 9999.0)
    assert "still answers" in present_reason(endpoint, slow_and_ill)
    assert "cannot tell" in present_reason(endpoint, Answer(failure=UNCLEAR, error="time-out"))
    anybody = make_endpoint({"url": URL}, any_status=True)
    assert "still answers" in present_reason(anybody, Answer(503))


def test_json_fields() -> None:
    content = {"a": {"b": [10, 20]}, "a.b": "whole"}
    assert json_field(content, "a.b") == "whole"
    assert json_field(content, "a.b.1") == 20
    for path in ("", "a.b.2", "a.b.-1", "a.x", "a.b.1.0", "a..b"):
        with pytest.raises(KeyError):
            json_field(content, path)


def test_same_json() -> None:
    assert same_json({"a": 1, "b": [None]}, {"b": [None], "a": 1})
    for left, right in ((1, True), (1, "1"), (0, False), (None, False), (1, 1.0), ("", None)):
        assert not same_json(left, right)


@pytest.mark.parametrize(
    "url", ["", "host", "/path", "file:///x", "ftp://host/", "http://", "http://h:x/", "http://h:0/", "http://[::1"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(Refused, match="not the address"):
        make_endpoint({"url": url})


def test_nothing_secret_is_shown() -> None:
    url = "https://user:word@host:1/path?token=word#word"
    endpoint = make_endpoint({"url": url, "headers": {"X": "word"}, "body": "word"})
    assert endpoint.name == without_credentials(url) == "https://host:1/path"
    assert "word" not in repr(endpoint).replace(repr(url), "")
    with pytest.raises(Refused) as refusal:
        make_endpoint({"url": "ftp://user:word@host/?token=word"})
    assert "word" not in refusal.value.text()


def test_defaults() -> None:
    assert make_endpoint({"url": URL, "status": None, "name": None}) == Endpoint(URL, URL)


def test_no_answer_is_said_with_its_cause() -> None:
    endpoint = Endpoint("api", URL)
    assert unhealthy_reason(endpoint, Answer(error="connection refused")) == "connection refused"
    assert unhealthy_reason(endpoint, Answer()) == "no answer"
