# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""notice: real web servers, real mail servers, real commands; and everything that they can do wrong."""

from __future__ import annotations

import json
import socket
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from mail_server import mail_server
from web_server import Answer, reply, web_server

PASSWORD = "p@ss word %41 of the post"
TOKEN = "a-token-of-the-webhook"
CONTACTS = [{"role": "Database administrator", "name": "Anna", "contact": "+49 30 1234"}]


@pytest.fixture
def run(run_module: Any, tmp_path: Path) -> dict[str, Any]:
    """A run that was refused; its arguments for a module."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    started = run_module(
        "run_journal", state="started", state_dir=str(folder), kind="rollback", environment="production",
        host="shop-production", database="shop <&>", reason="invoices", executed_by="anna", contacts=CONTACTS,
    )  # fmt: skip
    arguments = {"state_dir": str(folder), "run_id": started["run_id"]}
    error = {"message": "It is too old.", "untouched": "Nothing was touched.", "remedy": "Rehearse again."}
    run_module(
        "run_journal",
        state="event",
        phase="gate",
        action="check",
        outcome="refused",
        data={"error": error},
        **arguments,
    )
    return {**arguments, "phase": "report"}


def tell(run_module: Any, *channels: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Send a notice; it never fails."""
    result: dict[str, Any] = run_module("notice", **{"event": "refused", "channels": list(channels), **options})
    assert result["failed"] is False, result
    return result


def only(result: dict[str, Any]) -> tuple[bool, int, str]:
    (notice,) = result["notices"]
    return notice["sent"], notice["attempts"], notice["error"]


def hang(handler: BaseHTTPRequestHandler) -> None:
    """Say nothing until the other side hangs up."""
    handler.connection.recv(1)


def in_turn(*answers: Answer) -> Answer:
    """Answer with one after the other; the last one stays."""
    left = list(answers)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler)

    return answer


# -- what is sent ----------------------------------------------------------------------------------------------------


def test_webhook(run_module: Any, run: dict[str, Any]) -> None:
    run_module.secrets.add(TOKEN)
    with web_server(reply("", 204)) as web:
        channel = {"channel": "webhook", "url": f"{web.url}/hook", "headers": {"Authorization": f"Bearer {TOKEN}"}}
        result = tell(run_module, channel, lines=["One more line."], **run)
    assert (only(result), result["changed"]) == ((True, 1, ""), True)
    ((method, path, headers, body),) = web.requests
    content = json.loads(body)
    assert (method, path, headers["Authorization"]) == ("POST", "/hook", f"Bearer {TOKEN}")
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == content["id"] == f"{run['run_id']}-refused"
    assert content["subject"] == result["subject"] == "[production] Rollback refused: shop <&>"
    assert (content["event"], content["run"]["outcome"], content["contacts"]) == ("refused", "refused", CONTACTS)
    for words in (
        "It is too old.",
        "Rehearse again.",
        "One more line.",
        "Call Database administrator: Anna, +49 30 1234",
    ):
        assert words in content["text"]
    assert content["report"] == f"{run['state_dir']}/runs/{run['run_id']}/report.html"


def test_slack_gets_text_that_is_no_markup(run_module: Any, run: dict[str, Any]) -> None:
    with web_server(reply("ok")) as web:
        tell(run_module, {"channel": "slack", "url": f"{web.url}/services/T0/B0/secretpart"}, **run)
    text = json.loads(web.requests[0][3])["text"]
    assert text.startswith("*[production] Rollback refused: shop &lt;&amp;&gt;*\n")


def test_command_reads_the_message(run_module: Any, run: dict[str, Any], tmp_path: Path) -> None:
    program = "import os, sys; open(os.environ['OUT'], 'w').write(sys.stdin.read()); assert 'OURS' not in os.environ"
    channel = {
        "channel": "command", "command": [sys.executable, "-c", program],
        "environment": {"OUT": str(tmp_path / "out")},
    }  # fmt: skip
    assert only(tell(run_module, channel, _env={"OURS": "x"}, **run)) == (True, 1, "")
    assert json.loads((tmp_path / "out").read_text())["run"]["run_id"] == run["run_id"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_email_with_tls_and_login(run_module: Any, run: dict[str, Any], tmp_path: Path, security: str) -> None:
    run_module.secrets.add(PASSWORD)
    with mail_server(tmp_path, security=security, password=PASSWORD) as mail:
        result = tell(run_module, {**letter(mail.port, tmp_path), "security": security}, **run)
    assert only(result) == (True, 1, "")
    assert mail.logins == [("rollback", PASSWORD)]
    (received,) = mail.letters
    assert received["Subject"] == "[production] Rollback refused: shop <&>"
    assert received["To"] == "team@example.com, boss@example.com"
    assert received["Message-ID"] == f"<{run['run_id']}-refused@balcon-rollback.invalid>"
    assert "Rehearse again." in received.get_content()


def letter(port: int, folder: Path) -> dict[str, Any]:
    """An e-mail channel with a login."""
    return {
        "channel": "email", "host": "127.0.0.1", "port": port, "username": "rollback", "password": PASSWORD,
        "sender": "rollback@example.com", "to": ["team@example.com", "boss@example.com"],
        "ca_file": str(folder / "ca.pem"),
    }  # fmt: skip


def test_only_the_events_that_a_channel_wants(run_module: Any, run: dict[str, Any]) -> None:
    with web_server(reply()) as web:
        wants = {"channel": "webhook", "url": web.url, "events": ["failed", "refused"]}
        other = {"channel": "webhook", "url": web.url, "events": ["failed"]}
        result = tell(run_module, wants, other, **run)
    assert (len(result["notices"]), len(web.requests)) == (1, 1)


def test_nobody_wants_it(run_module: Any, run: dict[str, Any]) -> None:
    before = Path(run["state_dir"], "runs", run["run_id"], "journal.jsonl").read_text()
    result = tell(run_module, **run)
    assert (result["changed"], result["notices"]) == (False, [])
    assert Path(run["state_dir"], "runs", run["run_id"], "journal.jsonl").read_text() == before


def test_check_mode_sends_nothing(run_module: Any, run: dict[str, Any]) -> None:
    with web_server(reply()) as web:
        result = tell(run_module, {"channel": "webhook", "url": web.url}, check_mode=True, **run)
    assert (result["changed"], only(result), web.requests) == (True, (False, 0, "check mode"), [])


def test_without_a_run(run_module: Any) -> None:
    with web_server(reply()) as web:
        tell(run_module, {"channel": "slack", "url": web.url}, event="watch_alarm", lines=["Errors: 3 of 4"])
    assert "Errors: 3 of 4" in json.loads(web.requests[0][3])["text"]


# -- what goes wrong -------------------------------------------------------------------------------------------------


def test_webhook_that_hangs(run_module: Any, run: dict[str, Any]) -> None:
    with web_server(hang) as web, web_server(reply()) as other:
        channels = [{"channel": "webhook", "name": name, "url": server.url} for name, server in
                    (("hangs", web), ("answers", other))]  # fmt: skip
        result = tell(run_module, *channels, deadline=1, **run)
    hanging, answered = result["notices"]
    assert (hanging["sent"], answered["sent"]) == (False, True)
    assert "in time" in hanging["error"] or "within 1 s" in hanging["error"]
    assert any("hangs was not sent" in warning for warning in map(str, result["warnings"]))


def test_webhook_that_trickles_its_headers(run_module: Any, run: dict[str, Any]) -> None:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        handler.connection.settimeout(0.1)
        while True:
            handler.wfile.write(b"x")
            handler.wfile.flush()
            try:
                if not handler.connection.recv(1):
                    return
            except TimeoutError:
                continue

    with web_server(trickle) as web:
        result = tell(run_module, {"channel": "webhook", "url": web.url}, deadline=1, _deadline=30, **run)
    assert only(result)[0] is False


def test_webhook_that_redirects(run_module: Any, run: dict[str, Any]) -> None:
    with web_server(reply()) as target, web_server(reply("", 307, Location=f"{target.url}/elsewhere")) as web:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        result = tell(run_module, {"channel": "webhook", "url": web.url, "headers": headers}, **run)
    sent, attempts, error = only(result)
    assert (sent, attempts, target.requests) == (False, 1, [])
    assert "status 307: it redirects elsewhere, which is not followed" in error


def test_webhook_that_redirects_to_itself(run_module: Any, run: dict[str, Any]) -> None:
    with web_server(reply("", 303, Location="/thanks")) as web:
        assert only(tell(run_module, {"channel": "webhook", "url": f"{web.url}/hook"}, **run))[0] is False
    assert [path for _method, path, _headers, _body in web.requests] == ["/hook"]


def test_webhook_that_answers_500_once(run_module: Any, run: dict[str, Any]) -> None:
    with web_server(in_turn(reply("", 500), reply())) as web:
        assert only(tell(run_module, {"channel": "webhook", "url": web.url}, **run)) == (True, 2, "")
    assert len({headers["Idempotency-Key"] for _method, _path, headers, _body in web.requests}) == 1


def test_webhook_that_always_answers_500(run_module: Any, run: dict[str, Any]) -> None:
    with web_server(reply("<html>oops", 500)) as web:
        assert only(tell(run_module, {"channel": "webhook", "url": web.url}, **run)) == (False, 3, "status 500")
    assert len(web.requests) == 3


def test_webhook_that_says_no_and_repeats_its_secrets(run_module: Any, run: dict[str, Any]) -> None:
    run_module.secrets |= {TOKEN, "B0partthatissecret"}

    def echo(handler: BaseHTTPRequestHandler) -> None:
        reply(f"no such hook {handler.path} for {handler.headers['Authorization']}", 404)(handler)

    with web_server(echo) as web:
        url = f"{web.url}/services/B0partthatissecret"
        channel = {"channel": "slack", "url": url, "headers": {"Authorization": f"Bearer {TOKEN}"}}
        sent, attempts, error = only(tell(run_module, channel, **run))
    assert (sent, attempts) == (False, 1)
    assert error.startswith("status 404: no such hook")
    journal = Path(run["state_dir"], "runs", run["run_id"], "journal.jsonl").read_text()
    assert "no such hook" in journal
    assert not any(secret in journal for secret in run_module.secrets)


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ({"channel": "webhook", "url": ""}, "url is empty"),
        ({"channel": "slack", "url": "hooks.example.com/x"}, "url is not an address"),
        ({"channel": "email", "host": "mail", "to": []}, "sender and to is empty"),
        ({"channel": "command", "command": ["/no/such/program"]}, "There is no program '/no/such/program'"),
        ({"channel": "webhook", "url": "https://127.0.0.1:9", "ca_file": "/no/such/file"}, "ca_file cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_at_all(run_module: Any, run: dict[str, Any], channel: dict[str, Any], words: str) -> None:
    sent, attempts, error = only(tell(run_module, channel, **run))
    assert (sent, attempts) == (False, 1)
    assert words in error


def test_what_nobody_thought_of_is_said_as_well(run_module: Any, run: dict[str, Any]) -> None:
    channel = {"channel": "command", "command": ["true", "an argument that holds a \0"]}
    assert only(tell(run_module, channel, **run)) == (False, 1, "ValueError: embedded null byte")


def test_nobody_answers(run_module: Any, run: dict[str, Any], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        (tmp_path / "ca.pem").touch()
        hook = {"channel": "webhook", "url": f"http://127.0.0.1:{port}"}
        post = {**letter(port, tmp_path), "username": "", "security": "none"}
        result = tell(run_module, hook, post, attempts=2, **run)
    for notice in result["notices"]:
        assert (notice["sent"], notice["attempts"]) == (False, 2)
        assert "nobody answers" in notice["error"]


def test_command_that_fails_and_prints_its_secret(run_module: Any, run: dict[str, Any]) -> None:
    run_module.secrets.add(TOKEN)
    failing = [sys.executable, "-c", "import os; print(os.environ['TOKEN']); exit(3)"]
    channel = {"channel": "command", "command": failing, "environment": {"TOKEN": TOKEN}}
    sent, attempts, error = only(tell(run_module, channel, attempts=2, **run))
    assert (sent, attempts) == (False, 2)
    assert "failed with exit code 3" in error
    assert "********" in error


def test_command_that_hangs(run_module: Any, run: dict[str, Any], tmp_path: Path) -> None:
    program = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    result = tell(run_module, {"channel": "command", "command": [sys.executable, "-c", program]}, deadline=1, **run)
    assert only(result)[0] is False
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


def test_mail_server_that_refuses_the_login(run_module: Any, run: dict[str, Any], tmp_path: Path) -> None:
    run_module.secrets.add(PASSWORD)
    with mail_server(tmp_path, security="starttls", password="another one") as mail:
        sent, attempts, error = only(tell(run_module, letter(mail.port, tmp_path), **run))
    assert (sent, attempts, mail.letters) == (False, 1, [])
    assert "the login was refused: 535" in error


def test_mail_server_without_starttls_gets_no_password(run_module: Any, run: dict[str, Any], tmp_path: Path) -> None:
    with mail_server(tmp_path) as mail:
        (tmp_path / "ca.pem").touch()
        sent, attempts, error = only(tell(run_module, {**letter(mail.port, tmp_path), "ca_file": ""}, **run))
    assert (sent, attempts, mail.letters, mail.logins) == (False, 1, [], [])
    assert "STARTTLS" in error


def test_no_login_without_tls(run_module: Any, run: dict[str, Any], tmp_path: Path) -> None:
    with mail_server(tmp_path) as mail:
        _sent, _attempts, error = only(tell(run_module, {**letter(mail.port, tmp_path), "security": "none"}, **run))
    assert (mail.letters, mail.logins) == ([], [])
    assert "without TLS" in error


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_server_whose_certificate_is_unknown(
    run_module: Any, run: dict[str, Any], tmp_path: Path, security: str
) -> None:
    with mail_server(tmp_path, security=security, password=PASSWORD) as mail:
        channel = {**letter(mail.port, tmp_path), "ca_file": "", "security": security}
        sent, attempts, error = only(tell(run_module, channel, **run))
    assert (sent, attempts, mail.logins) == (False, 1, [])
    assert "certificate is not accepted" in error


def test_mail_server_that_refuses_receivers(run_module: Any, run: dict[str, Any], tmp_path: Path) -> None:
    channel = {"channel": "email", "host": "127.0.0.1", "security": "none", "sender": "a@example.com"}
    with mail_server(tmp_path) as mail:
        mail.refused = {"gone@example.com"}
        nobody = only(tell(run_module, {**channel, "port": mail.port, "to": ["gone@example.com"]}, **run))
        both = {**channel, "port": mail.port, "to": ["gone@example.com", "team@example.com"]}
        some = only(tell(run_module, both, **run))
    assert nobody[:2] == (False, 1)
    assert "no receiver was accepted: gone@example.com: 550" in nobody[2]
    assert some == (True, 1, "not accepted for gone@example.com")
    assert len(mail.letters) == 1


@pytest.mark.parametrize("busy", ["refusals", "letters_refused"])
def test_mail_server_that_is_busy_once(run_module: Any, run: dict[str, Any], tmp_path: Path, busy: str) -> None:
    with mail_server(tmp_path) as mail:
        getattr(mail, busy).append("451 come back later")
        channel = {"channel": "email", "host": "127.0.0.1", "security": "none", "sender": "a@example.com"}
        result = only(tell(run_module, {**channel, "port": mail.port, "to": ["b@example.com"]}, **run))
    assert result == (True, 2, "")
    assert len(mail.letters) == 1


def test_mail_server_that_hangs(run_module: Any, run: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        channel: dict[str, Any] = {"channel": "email", "host": "127.0.0.1", "security": "none"}
        channel.update(sender="a@example.com", port=silent.getsockname()[1], to=["b@example.com"])
        assert only(tell(run_module, channel, deadline=1, **run))[0] is False


def test_address_that_is_a_header(run_module: Any, run: dict[str, Any], tmp_path: Path) -> None:
    with mail_server(tmp_path) as mail:
        channel: dict[str, Any] = {"channel": "email", "host": "127.0.0.1", "security": "none", "to": ["b@example.com"]}
        channel.update(port=mail.port, sender="a@example.com\r\nBcc: c@example.com")
        sent, attempts, error = only(tell(run_module, channel, **run))
    assert (sent, attempts, mail.letters) == (False, 1, [])
    assert error == "an address or a line of the message is not allowed in an e-mail"


# -- its record ------------------------------------------------------------------------------------------------------


def test_what_was_not_sent_is_in_the_records(run_module: Any, run: dict[str, Any]) -> None:
    tell(run_module, {"channel": "webhook", "name": "the | pager", "url": ""}, **run)
    finished = run_module(
        "run_journal", state="finished", state_dir=run["state_dir"], run_id=run["run_id"]
    )  # fmt: skip
    assert finished["run"]["outcome"] == "refused"
    assert [(notice["event"], notice["sent"]) for notice in finished["run"]["notices"]] == [("refused", False)]
    report = Path(finished["folder"], "report.md").read_text()
    assert "| refused | the \\| pager | not sent | 1 | url is empty" in report
    assert "- Database administrator: Anna, +49 30 1234" in report


def test_a_journal_that_cannot_be_written_does_not_stop_it(run_module: Any, run: dict[str, Any]) -> None:
    folder = Path(run["state_dir"], "runs", run["run_id"])

    def cut_off(handler: BaseHTTPRequestHandler) -> None:
        (folder / "journal.jsonl").unlink()
        reply()(handler)

    with web_server(cut_off) as web:
        result = tell(run_module, {"channel": "webhook", "url": web.url}, **run)
    assert only(result) == (True, 1, "")
    assert any("could not be recorded" in warning for warning in map(str, result["warnings"]))
