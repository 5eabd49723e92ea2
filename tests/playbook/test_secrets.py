# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Canaries: secrets that every tool of a run is given and prints, looked for in all that the run shows or leaves."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, quote_plus

import psycopg2.extensions
import pytest
from stage import DATABASES, KINDS
from web_server import WebServer, reply, web_server

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Scene, Variables

SPECIAL = """ "it's" <&>%+/=?#\\@:;ü!"""
GIVEN = ("jwtSecret", "signingKey", "deployToken", "flagToken", "mailPassword", "pagerToken", "hookPath")
PRINT_EVERYTHING = """
const all = process.env;
for (const value of [all.DATABASE_URL, all.JWT_SECRET, all.CANARY].filter(Boolean)) {
  console.log(value, encodeURIComponent(value), JSON.stringify({ value }), { value });
  for (const before of ['', 'x', 'xx']) console.log(Buffer.from(before + value + '/rest').toString('base64'));
}
console.error(JSON.stringify(all));
"""


class Canaries(NamedTuple):
    """What came of the runs.

    Attributes:
        secrets: by what they are for.
        shown: by where it was found: everything that a run printed, left in a file, or had in an argument list.
    """

    secrets: dict[str, str]
    shown: dict[str, bytes]


class ArgumentLists:
    """All argument lists on this machine, looked at every 20 milliseconds."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> ArgumentLists:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.seen.add(path.read_bytes())


@pytest.fixture(scope="module")
def canaries(scene: Scene) -> Canaries:
    """Play staging and production at ``-vvv``, with tools that print all that they are given."""
    secrets = {name: f"{name}7Qx9ZtKv{SPECIAL}" for name in GIVEN}
    secrets["header"] = "headerToken7Qx9ZtKv+/=%"  # a header holds less than any character
    secrets["hookHeader"] = "hookHeader7Qx9ZtKv+/=%"
    for kind in KINDS:
        secrets[kind] = psycopg2.extensions.parse_dsn(scene.stage.secret(f"{kind}_url"))["password"]
    folders = {name: scene.stage.folder / name for name in ("home", "tmp")}
    for folder in folders.values():
        folder.mkdir(mode=0o700)
    environment = {"HOME": str(folders["home"]), "TMPDIR": str(folders["tmp"])}
    arguments = ["-vvv", "reason=a test", f"confirm={DATABASES['production']}"]
    with web_server(_echo) as web, ArgumentLists() as lists:
        inventory = _inventory(scene, secrets, web.url)
        for variables in inventory.values():
            variables["rollback_notices"] = _notices(secrets, web)
        outcomes = {
            kind: scene.play(f"env={kind}", *arguments, environment=environment, **inventory) for kind in KINDS[::-1]
        }
    for outcome in outcomes.values():
        assert outcome.exit_code == 0, "a canary would not have sung: the run failed"
    shown = {f"the output of {kind}": outcome.output.encode() for kind, outcome in outcomes.items()}
    shown["argument lists"] = b"\n".join(lists.seen)
    for folder in (scene.stage.folder / "state", *folders.values()):
        files = [path for path in folder.rglob("*") if path.is_file()]
        shown.update({str(path.relative_to(scene.stage.folder)): path.read_bytes() for path in files})
    return Canaries(secrets, shown)


def _echo(handler: BaseHTTPRequestHandler) -> None:
    """Answer well to the login, and to a notice with a refusal that repeats all of it."""
    if handler.path == "/ok":
        reply()(handler)
    else:
        reply(f"no {handler.path} {dict(handler.headers.items())}", 400)(handler)


def _inventory(scene: Scene, secrets: dict[str, str], url: str) -> dict[str, Variables]:
    inventory: dict[str, Variables] = {}
    for kind in KINDS:
        known = scene.variables(kind)["rollback_environment"]
        prints = ["node", "-e", PRINT_EVERYTHING]
        inventory[kind] = {
            "rollback_signing_key": secrets["signingKey"],
            "rollback_environment": {**known, "JWT_SECRET": secrets["jwtSecret"]},
            "rollback_trial": {"tests": [{"name": "prints", "command": prints}], "chdir": str(scene.checkout)},
        }
    deploy = ["node", "-e", PRINT_EVERYTHING]
    inventory["production"].update(
        rollback_keep_release=False,
        rollback_release={
            "commands": {"stop": deploy, "older": deploy, "newer": deploy},
            "environment": {"PATH": known["PATH"], "CANARY": secrets["deployToken"]},
        },
        rollback_maintenance={
            "provider": "command",
            "command": {
                "on": deploy, "off": deploy, "environment": {"PATH": known["PATH"], "CANARY": secrets["flagToken"]},
            },
        },
        rollback_endpoints=[
            {"name": "login", "url": f"{url}/ok", "headers": {"Authorization": f"Bearer {secrets['header']}"}}
        ],
    )  # fmt: skip
    return inventory


def _notices(secrets: dict[str, str], web: WebServer) -> list[Variables]:
    """Return channels that fail as loudly as they can: answers and outputs repeat what was sent."""
    host, port = web.url.removeprefix("http://").split(":")
    return [
        {"channel": "slack", "name": "team", "url": f"{web.url}/hook/{quote(secrets['hookPath'], safe='')}"},
        {"channel": "webhook", "url": f"{web.url}/echo", "headers": {"X-Token": secrets["hookHeader"]}},
        {
            "channel": "email", "host": host, "port": port, "security": "starttls", "username": "me",
            "password": secrets["mailPassword"], "sender": "a@example.com", "to": ["b@example.com"],
        },
        {
            "channel": "command", "command": ["node", "-e", PRINT_EVERYTHING + "process.exit(1)"],
            "environment": {"PATH": os.environ["PATH"], "CANARY": secrets["pagerToken"]},
        },
    ]  # fmt: skip


def spellings(secret: str) -> set[bytes]:
    """A secret as it is, percent-encoded, base64-encoded at any offset, in hexadecimal, escaped as in JSON."""
    data = secret.encode()
    texts = {
        secret, quote(secret), quote(secret, safe=""), quote_plus(secret),
        json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], data.hex(),
    }  # fmt: skip
    found = {text.encode() for text in texts}
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + data).rstrip(b"=")
        core = encoded[4:-2]  # without the characters that also hold bits of what is beside the secret
        found |= {core, core.replace(b"+", b"-").replace(b"/", b"_")}
    return found


def squeezed(text: bytes) -> bytes:
    """Take out white space, quotes and backslashes: YAML wraps long lines, and everybody escapes in his own way."""
    return text.translate(None, b" \t\r\n\"'\\")


def first_excerpt(text: bytes, needles: Iterable[bytes]) -> bytes:
    """Return the first place in a text, white space and quotes aside, where one of the needles stands; or nothing."""
    text = squeezed(text)
    places = [place for needle in needles if (place := text.find(squeezed(needle))) >= 0]
    return text[max(0, min(places) - 300) :][:600] if places else b""


@pytest.mark.parametrize("name", ["production", "staging", *GIVEN, "header", "hookHeader"])
def test_a_secret_is_nowhere(canaries: Canaries, name: str) -> None:
    secret = canaries.secrets[name]
    core = secret[:12].encode()  # no way of escaping changes letters and digits
    needles = spellings(secret) | spellings(secret[:12]) | {core}
    found = {where: excerpt for where, text in canaries.shown.items() if (excerpt := first_excerpt(text, needles))}
    assert found == {}


def test_the_canaries_sang(canaries: Canaries) -> None:
    """What was looked through is what should have been: a test that looks at nothing finds nothing."""
    shown = canaries.shown
    names = {Path(where).name for where in shown}
    assert {"journal.jsonl", "run.json", "report.md", "impact.json", "manifest.json", "keeper.log"} <= names
    assert any("evidence/" in where for where in shown)
    assert b"pg_dump" in shown["argument lists"]
    assert b"migrate:down" in shown["argument lists"]
    for kind in KINDS:
        assert shown[f"the output of {kind}"].count(b"********") > 3
