# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""health_probe, against a web server that answers in every way that a server should not."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from web_server import Answer, reply, web_server

from ansible_collections.balcon.rollback.plugins.module_utils._domain.probe import make_endpoint
from ansible_collections.balcon.rollback.plugins.module_utils._probe import ask
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run

DEGRADED = reply('{"status": "degraded", "migrations": {"pending": 1}}')


def in_turn(answers: Iterator[Answer]) -> Answer:
    """Give one answer after the other, and "fine" when there is none left."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        next(answers, reply("fine"))(handler)

    return answer


def one(url: str, **expected: Any) -> list[dict[str, Any]]:
    return [{"name": "it", "url": url, **expected}]


def test_healthy_and_the_journal(run_module: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    run = Run(tmp_path, "20261123t081500a3f9")
    run.create()
    arguments = {"run_id": run.run_id, "state_dir": str(tmp_path), "phase": "watch"}
    run_module.secrets |= {"a-bearer-token-of-ours", "s3cret-query"}
    with web_server(reply('{"ok": true, "list": [{"n": 1}]}')) as server:
        endpoints = one(
            f"{server.url}/x?key=s3cret-query",
            json={"ok": True, "list.0.n": 1},
            headers={"Authorization": "Bearer a-bearer-token-of-ours"},
        )
        result = run_module("health_probe", endpoints=endpoints, duration=0.1, interval=0.05, **arguments)
    assert result["healthy"]
    assert result["endpoints"][0]["url"] == f"{server.url}/x"
    assert result["watch"]["probes"] >= 2
    assert result["watch"]["error_rate"] == 0
    assert server.requests[0][2]["Authorization"] == "Bearer a-bearer-token-of-ours"
    assert "a-bearer-token" not in run.journal.read_text()


def test_degraded_is_not_healthy(run_module: Any) -> None:
    with web_server(DEGRADED) as server:
        endpoints = [
            *one(server.url, json={"status": "ok"}),
            *one(server.url, json={"migrations.pending": True}),
            *one(server.url, contains="fine"),
            *one(server.url, absent="degraded"),
            *one(server.url, status=[204]),
            *one(server.url, max_latency_ms=0),
        ]
        result = run_module("health_probe", endpoints=endpoints, deadline=0)
    assert result["failed"]
    reasons = [each["reason"] for each in result["error"]["endpoints"]]
    assert reasons[:5] == [
        'status is "degraded", expected "ok"',
        "migrations.pending is 1, expected true",
        "the answer does not contain 'fine'",
        "the answer contains 'degraded'",
        "status 200, expected 204",
    ]
    assert "at most 0 ms" in reasons[5]


def test_waits_until_it_is_healthy(run_module: Any) -> None:
    answers = iter([reply("", 500), reply("", 500)])
    with web_server(in_turn(answers)) as server:
        result = run_module("health_probe", endpoints=one(server.url, contains="fine"))
    assert result["attempts"] == 3


def test_what_servers_do(run_module: Any) -> None:
    """A trickle, an endless body, a redirect elsewhere, no HTTP at all, no name, a certificate, a server that hangs."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/elsewhere":
            reply(status=302, Location="http://localhost:1/")(handler)
        elif handler.path == "/here":
            reply(status=302, Location="/fine")(handler)
        elif handler.path == "/fine":
            reply("fine")(handler)
        elif handler.path == "/broken":
            handler.wfile.write(b"this is no HTTP\r\n\r\n")
        else:
            _endless(handler, pause=0.2 if handler.path == "/trickle" else 0.0)

    with web_server(answer) as server, socket.create_server(("127.0.0.1", 0)) as silent:
        paths = {
            "elsewhere": "302, expected 200",
            "here": "",
            "broken": "broken answer",
            "trickle": "no complete",
            "huge": "",
        }
        urls = {f"{server.url}/{path}": said for path, said in paths.items()}
        urls[server.url.replace("http", "https") + "/fine"] = "SSL"
        urls["http://no-such-host.invalid/"] = "gaierror"
        urls[f"http://127.0.0.1:{silent.getsockname()[1]}/"] = "no complete answer"
        endpoints = [part for url in urls for part in one(url)]
        endpoints += one(f"{server.url}/elsewhere", status=[302])
        result = run_module("health_probe", endpoints=endpoints, deadline=0, timeout=1)
    found = result["error"]["endpoints"]
    for (url, said), each in zip(urls.items(), found, strict=False):
        assert said in each["reason"], url
        assert each["healthy"] == (not said), url
    assert found[-1]["healthy"]


def test_a_trickle_is_cut_off_in_its_own_thread() -> None:
    with web_server(lambda handler: _endless(handler, pause=0.05)) as server:
        answer = ask(make_endpoint({"url": server.url}), timeout=0.3)
    assert answer.error == "no complete answer in time"
    assert answer.latency_ms < 50 * 2000


def _endless(handler: BaseHTTPRequestHandler, pause: float) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _chunk in range(2000):
        handler.wfile.write(b"x" * (10 if pause else 65536))
        time.sleep(pause)


def test_breaches_during_the_watch(run_module: Any) -> None:
    answers = iter([reply("fine"), reply("", 503)])
    with web_server(in_turn(answers)) as server:
        result = run_module("health_probe", endpoints=one(server.url), duration=0.2, interval=0.05)
    assert not result["failed"]
    assert not result["healthy"]
    assert [breach["status"] for breach in result["watch"]["breaches"]] == [503]
    assert result["watch"]["failures"] == 1


def test_gone(run_module: Any) -> None:
    with web_server(reply('{"version": "2"}', 500)) as server, socket.create_server(("127.0.0.1", 0)) as silent:
        other = run_module("health_probe", state="gone", endpoints=one(server.url, json={"version": "1"}), deadline=0)
        same = run_module("health_probe", state="gone", endpoints=one(server.url, json={"version": "2"}), deadline=0)
        hanging = one(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        hangs = run_module("health_probe", state="gone", endpoints=hanging, deadline=0, timeout=0.3)
    refused = run_module("health_probe", state="gone", endpoints=one(server.url), deadline=0)
    assert other["healthy"]
    assert refused["healthy"]
    assert "still answers as described" in same["msg"]
    assert "cannot tell" in hangs["msg"]


def test_addresses_that_are_none(run_module: Any) -> None:
    for url in ("file:///etc/passwd", "localhost:8080/health", "http://", "http://host:port/"):
        assert run_module("health_probe", endpoints=one(url))["error"]["kind"] == "refused"
