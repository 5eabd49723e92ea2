# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A notice as JSON, sent to a web address."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPSHandler

from .._domain.errors import Refused
from .._domain.probe import Answer, make_endpoint
from .._domain.secrets import scrub, url_secrets
from .._probe import NoRedirect, ask
from .interface import Channel, NotSent

if TYPE_CHECKING:
    from .._domain.notice import Message

_GOOD, _REDIRECTS, _SERVER_ERRORS = range(200, 300), range(300, 400), range(500, 600)
_TOO_MANY = 429
_WORDS_KEPT = 120


class WebhookChannel(Channel):
    """One POST with the whole message as JSON; a redirect is never followed, its target would get the secrets.

    Args:
        options: C(url), and optionally C(headers) and C(ca_file).
    """

    required = ("url",)

    def send(self, message: Message, timeout: float) -> str:
        """Post it."""
        headers = {"Idempotency-Key": message.identifier, **self._headers()}
        options = {"url": self.options["url"], "method": "POST", "headers": headers}
        try:
            endpoint = make_endpoint({**options, "body": self.body(message)})
        except Refused:
            raise NotSent("url is not an address: it needs http:// or https:// and a host") from None
        self._check(ask(endpoint, timeout, NoRedirect, HTTPSHandler(context=tls_context(self.options))))
        return ""

    def body(self, message: Message) -> str:
        """Return what is posted."""
        return json.dumps(message.payload, ensure_ascii=False)

    def secrets(self) -> list[str]:
        """Return the address, of which the path and the query may be secret, and the values of the headers."""
        url = str(self.options.get("url") or "")
        parts = urlsplit(url)
        return [
            *url_secrets(url),
            *filter(None, [parts.path.strip("/"), unquote(parts.path.strip("/")), parts.query]),
            *[part for part in parts.path.split("/") if part],
            *[word for value in self._headers().values() for word in (value, *value.split())],
        ]

    def _headers(self) -> dict[str, str]:
        return {str(name): str(value) for name, value in (self.options.get("headers") or {}).items()}

    def _check(self, answer: Answer) -> None:
        status = answer.status
        if status in _GOOD:
            return
        if status is None:
            raise NotSent(answer.error, again=True)
        if status in _REDIRECTS:
            raise NotSent(f"status {status}: it redirects elsewhere, which is not followed; give the final address")
        words = " ".join(scrub(answer.body.decode("utf-8", errors="replace"), self.secrets()).split())[:_WORDS_KEPT]
        said = f": {words}" if words and not words.startswith("<") else ""
        raise NotSent(f"status {status}{said}", again=status in _SERVER_ERRORS or status == _TOO_MANY)


def tls_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """Return how certificates are checked: against the system's authorities, or against C(ca_file).

    Raises:
        NotSent: the file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=options.get("ca_file") or None)
    except (OSError, ssl.SSLError) as error:
        raise NotSent(f"ca_file cannot be read: {error.strerror or 'it holds no certificate'}") from None
