# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A notice by e-mail."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from .._domain.secrets import scrub
from .interface import Channel, NotSent
from .webhook import tls_context

if TYPE_CHECKING:
    from .._domain.notice import Message

PORTS = {"starttls": 587, "tls": 465, "none": 25}
_TEMPORARY = range(400, 500)
_REPLY_KEPT = 120


class EmailChannel(Channel):
    """One message to all receivers, over an SMTP server.

    Args:
        options: C(host), C(port), C(security), C(username), C(password), C(sender), C(to), C(ca_file).
    """

    required = ("host", "sender", "to")

    def check(self) -> None:
        """Check that what is needed is there, and that no password would go over the wire as it is."""
        super().check()
        if self.options.get("username") and self._security == "none":
            raise NotSent("a login without TLS would show its password; set security to starttls or tls")

    def send(self, message: Message, timeout: float) -> str:
        """Send it; a receiver that is turned down does not keep the others from getting it."""
        try:
            refused = self._hand_over(message, timeout)
        except smtplib.SMTPException as error:
            raise self._not_sent(error) from None
        except ssl.SSLCertVerificationError as error:
            raise NotSent(f"the server's certificate is not accepted: {error.verify_message}") from None
        except (OSError, ValueError) as error:
            raise NotSent(_network_reason(error), again=isinstance(error, OSError)) from None
        return f"not accepted for {', '.join(sorted(refused))}" if refused else ""

    def secrets(self) -> list[str]:
        """Return the password."""
        return [str(self.options.get("password") or "")]

    def _hand_over(self, message: Message, timeout: float) -> dict[str, Any]:
        server = self._server(timeout)
        try:
            if self.options.get("username"):
                server.login(self.options["username"], str(self.options.get("password") or ""))
            return server.send_message(self._letter(message))
        finally:
            with contextlib.suppress(smtplib.SMTPException, OSError):  # it has the message, or has said why not
                server.quit()
            server.close()

    @property
    def _security(self) -> str:
        return str(self.options.get("security") or "starttls")

    def _server(self, timeout: float) -> smtplib.SMTP:
        host, port = self.options["host"], int(self.options.get("port") or PORTS[self._security])
        if self._security == "tls":
            return smtplib.SMTP_SSL(host, port, timeout=timeout, context=tls_context(self.options))
        server = smtplib.SMTP(host, port, timeout=timeout)
        if self._security == "starttls":
            try:
                server.starttls(context=tls_context(self.options))
            except BaseException:
                server.close()
                raise
        return server

    def _letter(self, message: Message) -> EmailMessage:
        letter = EmailMessage()
        letter["Subject"] = message.subject
        letter["From"] = self.options["sender"]
        letter["To"] = ", ".join(self.options["to"])
        letter["Date"] = formatdate(localtime=False)
        letter["Message-ID"] = f"<{message.identifier}@balcon-rollback.invalid>"
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(message.text + "\n")
        return letter

    def _not_sent(self, error: smtplib.SMTPException) -> NotSent:
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            codes = {code for code, _text in error.recipients.values()}
            replies = "; ".join(f"{name}: {_reply(*answer)}" for name, answer in sorted(error.recipients.items()))
            return NotSent(self._clean(f"no receiver was accepted: {replies}"), again=codes <= set(_TEMPORARY))
        if isinstance(error, smtplib.SMTPResponseException):
            what = "the login was refused" if isinstance(error, smtplib.SMTPAuthenticationError) else "the server said"
            reply = _reply(error.smtp_code, error.smtp_error)
            return NotSent(self._clean(f"{what}: {reply}"), again=error.smtp_code in _TEMPORARY)
        if isinstance(error, smtplib.SMTPServerDisconnected):
            return NotSent("the server hung up", again=True)
        return NotSent(self._clean(str(error)))

    def _clean(self, text: str) -> str:
        return " ".join(scrub(text, self.secrets()).split())


def _reply(code: int, text: object) -> str:
    words = text.decode("utf-8", errors="replace") if isinstance(text, bytes) else str(text)
    return f"{code} {' '.join(words.split())[:_REPLY_KEPT]}"


def _network_reason(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody answers (the connection was refused)"
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "no answer in time"
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror or 'no connection'}"
    return "an address or a line of the message is not allowed in an e-mail"
