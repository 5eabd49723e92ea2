# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking secrets out of text: a tool may print what it was given, in any of the usual disguises."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK = "********"

SHORTEST_SECRET = 4
"""Shorter values cannot be taken out of a text without taking the text apart."""

_SECRET_NAME = re.compile(
    r"SECRET|PASS|TOKEN|KEY|URL|DSN|AUTH|CREDENTIAL|PRIVATE|COOKIE|SALT|(?:^|_)(?:PIN|OTP|PW|PWD)(?:_|$)",
    re.IGNORECASE,
)
_SHORTEST_BASE64 = 8
_PLAIN_VALUE = re.compile(r"\d{1,5}|[A-Za-z]{1,12}|")
_PLAIN_NAMES = ("PATH", "HOME", "LANG", "TZ", "NODE_ENV")


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Replace every secret in a text, also percent-encoded, base64-encoded or escaped as in JSON.

    Args:
        text: what a program printed.
        secrets: what must not be read; values shorter than `SHORTEST_SECRET` are passed over.
    """
    forms = {form for secret in secrets for form in disguises(secret)}
    if not forms:
        return text
    longest_first = sorted(forms, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), MASK, text, flags=re.IGNORECASE)


def disguises(secret: str) -> set[str]:
    """Return a secret and its encodings: percent, base64 at any offset, hexadecimal, JSON, shell, JavaScript."""
    if len(secret) < SHORTEST_SECRET:
        return set()
    data = secret.encode(errors="replace")
    forms = _escaped({secret, unquote(secret)})
    forms |= _escaped(forms)  # a URL in JSON in JSON; a query in a query
    forms |= {data.hex(), *_base64_forms(data)}
    return {form for form in forms if len(form) >= SHORTEST_SECRET}


def _escaped(texts: Iterable[str]) -> set[str]:
    forms = set(texts)
    for text in texts:
        forms |= {quote(text, safe="", errors="replace"), quote(text, errors="replace")}
        forms |= {quote_plus(text, errors="replace"), json.dumps(text)[1:-1]}
        forms |= {json.dumps(text, ensure_ascii=False)[1:-1]}
        forms |= _escaped_by_javascript(text)
        forms |= {text.replace("\\", "\\\\").replace("'", "\\'"), text.replace("'", "'\\''")}
    return forms | {form.replace("/", "\\/") for form in forms}


def _escaped_by_javascript(text: str) -> set[str]:
    """Escape as encodeURIComponent and URLSearchParams do, which keep other characters than Python, and node's inspect.

    Sources: ECMAScript 2024, 19.2.6.4; WHATWG URL, 5.2; node's C(util.inspect) takes backticks where a text holds both
    kinds of quotes.
    """
    backslashes = text.replace("\\", "\\\\")
    return {
        quote(text, safe="!'()*~", errors="replace"),
        quote_plus(text, safe="*", errors="replace").replace("~", "%7E"),
        backslashes,
        backslashes.replace("`", "\\`"),
    }


def url_secrets(url: str) -> list[str]:
    """Return what must not be read of a URL: all of it, what identifies its password, and passwords in its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return [url]
    credentials = parts.netloc.rpartition("@")[0]
    password = credentials.partition(":")[2]
    query = [
        value for name, _equals, value in (part.partition("=") for part in parts.query.split("&")) if "pass" in name
    ]
    found = [url, credentials if password else "", password, unquote(password), *query, *map(unquote, query)]
    return [value for value in dict.fromkeys(found) if value]


def environment_secrets(environment: Mapping[str, str]) -> list[str]:
    """Return the values of an environment that must not be read.

    A short word or number under a name that does not speak of a secret (``NODE_ENV=production``, ``PORT=8080``) is
    not one: taking such words out would make every output unreadable. Everything else counts as secret.
    """
    found: list[str] = []
    for name, value in environment.items():
        if is_plain(name, value):
            continue
        found += url_secrets(value) if "://" in value else [value]
    return found


def is_plain(name: str, value: str) -> bool:
    """Tell whether a variable of an environment may be shown."""
    if _SECRET_NAME.search(name):
        return len(value) < SHORTEST_SECRET
    return name in _PLAIN_NAMES or bool(_PLAIN_VALUE.fullmatch(value))


def _base64_forms(data: bytes) -> set[str]:
    """Encode at each of the three offsets at which a secret may stand in what was encoded, touched ends cut off."""
    forms: set[str] = set()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + data).decode().rstrip("=")
        start = (0, 2, 3)[offset]
        end = len(encoded) - (1 if (offset + len(data)) % 3 else 0)
        core = encoded[start:end]
        # A few characters of base64 are found in any text: only a core that says something is taken out.
        if len(core) >= _SHORTEST_BASE64:
            forms |= {core, core.replace("+", "-").replace("/", "_")}
    return forms
