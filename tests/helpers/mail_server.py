# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small mail server in this process, on a free port of the loopback address, with certificates of its own."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "127.0.0.1"


@dataclass
class MailServer:
    """A running server.

    Attributes:
        port: where it listens.
        letters: what was accepted.
        logins: user names and passwords that were tried.
        refusals: what is answered to the next RCPT commands, one each, before they are accepted again.
        refused: receivers that are never accepted.
        letters_refused: what is answered to the next letters, one each, before they are taken again.
    """

    port: int = 0
    letters: list[EmailMessage] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    letters_refused: list[str] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802  # the name is aiosmtpd's
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        """Take a receiver, or not."""
        if self.refusals:
            return self.refusals.pop(0)
        if address in self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """Take the letter, or not."""
        if self.letters_refused:
            return self.letters_refused.pop(0)
        letter = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(letter, EmailMessage)
        self.letters.append(letter)
        return "250 taken"


class _Anywhere(Controller):
    """Knows its port once it has one; aiosmtpd tries to connect to the one it was given."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def mail_server(folder: Path, *, security: str = "none", password: str = "") -> Iterator[MailServer]:
    """Run a server while the block runs.

    Args:
        folder: where its certificate is put, as C(ca.pem).
        security: none, starttls or tls.
        password: what C(rollback) has to log in with; empty: no login is offered.
    """
    found = MailServer()

    def authenticator(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        found.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password.decode() == password, handled=False)

    options: dict[str, Any] = {"authenticator": authenticator, "auth_required": True} if password else {}
    if security == "tls":
        options.update(ssl_context=_server_context(folder), auth_require_tls=False, auth_required=False)
    if security == "starttls":
        options.update(tls_context=_server_context(folder))
    controller = _Anywhere(found, hostname=HOST, port=0, **options)
    controller.start()
    found.port = controller.port
    try:
        yield found
    finally:
        controller.stop()


def _server_context(folder: Path) -> ssl.SSLContext:
    key, certificate = folder / "key.pem", folder / "ca.pem"
    if not certificate.exists():
        make_certificate(key, certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def make_certificate(key_path: Path, certificate_path: Path) -> None:
    """Write a key, and a certificate for the loopback address that it has signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )  # fmt: skip
    certificate_path.write_bytes(certificate.public_bytes(pem))
