# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets taken out of text, in every disguise."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.balcon.rollback.plugins.module_utils._domain.secrets import (
    MASK,
    environment_secrets,
    is_plain,
    scrub,
    url_secrets,
)

PASSWORD = 'p@ss :/%"word\\ü'
URL = f"postgresql://me:{quote(PASSWORD, safe='')}@host:5432/db?sslmode=require"


@pytest.mark.parametrize(
    "encode",
    [
        str,
        lambda text: quote(text, safe=""),
        quote,
        quote_plus,
        lambda text: quote(text, safe="").lower(),
        lambda text: quote(quote(text)),
        lambda text: json.dumps({"key": text}),
        lambda text: json.dumps({"key": text}, ensure_ascii=False).replace("/", "\\/"),
        lambda text: json.dumps(json.dumps(text))[1:-1],
        lambda text: text.encode().hex(),
        lambda text: "'" + text.replace("\\", "\\\\") + "'",
        *[lambda text, n=n: base64.b64encode(b"x" * n + text.encode() + b"y").decode() for n in range(4)],
        *[lambda text, n=n: base64.urlsafe_b64encode(b"x" * n + text.encode()).decode() for n in range(4)],
        lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    ],
)
def test_disguises(encode: object) -> None:
    assert callable(encode)
    for secret in (PASSWORD, URL):
        encoded = encode(secret)
        scrubbed = scrub(f"before {encoded} after", url_secrets(URL))
        assert MASK in scrubbed
        assert encoded not in scrubbed
        assert "word" not in scrubbed
        assert scrubbed.startswith("before ")
        assert scrubbed.endswith(" after")


@given(st.text(min_size=8, max_size=40), st.text(max_size=10), st.text(max_size=10))
def test_no_secret_is_left(secret: str, before: str, after: str) -> None:
    assert secret not in scrub(before + secret + after, [secret]) or secret in MASK


def test_short_values_and_ordinary_text_stay() -> None:
    text = "migrated 20240101-initial in production on port 8080"
    assert scrub(text, ["", "in", "abc"]) == text
    given_environment = {"NODE_ENV": "production", "PORT": "8080", "DEBUG": "", "PATH": "/usr/bin:/bin"}
    assert scrub(text, environment_secrets(given_environment)) == text


def test_urls() -> None:
    assert PASSWORD in url_secrets(URL)
    assert URL in url_secrets(URL)
    assert "secret word" in url_secrets("postgresql://host/db?password=secret%20word&sslmode=require")
    assert url_secrets("http://[::1") == ["http://[::1"]
    assert url_secrets("postgresql://me@host/db") == ["postgresql://me@host/db"]


def test_environments() -> None:
    environment = {"JWT_SECRET": "production", "REDIS": "redis://:hidden@host", "LEVEL": "info", "ID": "x-1234567"}
    secrets = environment_secrets(environment)
    assert {"production", "hidden", "x-1234567"} <= set(secrets)
    assert "info" not in secrets
    assert is_plain("API_KEY", "abc")
    assert not is_plain("PIN", "12345")
    assert is_plain("PINO_LEVEL", "info")


def test_a_short_secret_has_no_base64_that_would_be_found_everywhere() -> None:
    assert scrub("YWI= and c3Q=", ["abcd"]) == "YWI= and c3Q="
