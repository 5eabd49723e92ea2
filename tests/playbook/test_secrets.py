# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Canaries: secrets that every tool of a run is given and prints, looked for in all that the run shows or leaves."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, quote_plus

import psycopg2.extensions
import pytest
from npm_project import BACKEND, node_folder
from railway_platform import ENVIRONMENT, OWNERS, connection, railway_platform
from railway_platform import PROJECT as RAILWAY_PROJECT
from stage import DATABASES, KINDS
from web_server import WebServer, reply, web_server

from ansible_collections.balcon.rollback.tests.playbook.development import Development

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Outcome, Scene, Variables

SPECIAL = """ "it's" <&>%+/=?#\\@:;ü!"""
pytestmark = pytest.mark.timeout(900)  # eleven playbooks, all in one fixture
GIVEN = (
    "jwtSecret", "signingKey", "deployToken", "flagToken", "mailPassword", "pagerToken", "hookPath", "developer",
    "checker",
)  # fmt: skip
IN_HEADERS = ("header", "hookHeader", "railwayToken")
PRODUCTION = "env=production"
TYPED = ("-vvv", "reason=a test")
PRINT_EVERYTHING = """
const all = process.env;
for (const value of [all.DATABASE_URL, all.JWT_SECRET, all.CANARY].filter(Boolean)) {
  console.log(value, encodeURIComponent(value), JSON.stringify({ value }), { value });
  for (const before of ['', 'x', 'xx']) console.log(Buffer.from(before + value + '/rest').toString('base64'));
}
console.error(JSON.stringify(all));
"""
PRINTS = ["node", "-e", PRINT_EVERYTHING]


class Canaries(NamedTuple):
    """What came of the runs.

    Attributes:
        secrets: by what they are for.
        shown: by where it was found: everything that a run printed, left in a file, or had in an argument list.
        open_to_others: files and folders that were made and that others could read, with their mode.
    """

    secrets: dict[str, str]
    shown: dict[str, bytes]
    open_to_others: dict[str, str]


class Passing:
    """What is there for a moment only: argument lists on this machine and temporary files, every 20 milliseconds.

    Args:
        folder: where programs put their temporary files.
    """

    def __init__(self, folder: Path) -> None:
        self.argument_lists: set[bytes] = set()
        self.files: dict[str, bytes] = {}
        self.open_to_others: dict[str, str] = {}
        self._folder = folder
        self._known: set[tuple[str, int, int]] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Passing:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            for process in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208  # Path would take most of the time
                with contextlib.suppress(OSError), open(f"/proc/{process}/cmdline", "rb", 0) as file:  # noqa: PTH123
                    self.argument_lists.add(file.read())
            for path in _files_below(self._folder):
                with contextlib.suppress(OSError):
                    self._keep(path)

    def _keep(self, path: Path) -> None:
        status = path.lstat()
        state = (str(path), status.st_size, status.st_mtime_ns)
        if state not in self._known and stat.S_ISREG(status.st_mode):
            self._known.add(state)
            name = f"temporary file {path.relative_to(self._folder)}"
            self.files[name] = self.files.get(name, b"") + path.read_bytes()
        top = self._folder / path.relative_to(self._folder).parts[0]
        self.open_to_others.update(_open_to_others([top], self._folder))


def _files_below(folder: Path) -> Iterator[Path]:
    """What programs put there, but for Ansible's own archives of modules: they are in a private folder, and large."""
    for below, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(("ansible", "node_modules"))]
        yield from (Path(below, name) for name in files)


def _open_to_others(paths: Iterable[Path], folder: Path) -> dict[str, str]:
    modes = {path: path.lstat().st_mode for path in paths}
    return {str(path.relative_to(folder)): f"{mode & 0o777:04o}" for path, mode in modes.items() if mode & 0o077}


@pytest.fixture(scope="module")
def canaries(scene: Scene) -> Canaries:
    """Play every playbook at ``-vvv``, with tools that print all that they are given."""
    secrets = {name: f"{name}7Qx9ZtKv{SPECIAL}" for name in GIVEN}
    for name in IN_HEADERS:
        secrets[name] = f"{name}7Qx9ZtKv+/=%"  # a header holds less than any character
    for kind in KINDS:
        secrets[kind] = psycopg2.extensions.parse_dsn(scene.stage.secret(f"{kind}_url"))["password"]
    folders = {name: scene.stage.folder / name for name in ("home", "tmp", "developer", "checkout")}
    for folder in folders.values():
        folder.mkdir(mode=0o700)
    log_begins = _log_every_statement(scene)
    with web_server(_echo) as web, Passing(folders["tmp"]) as passing, ThreadPoolExecutor() as pool, _open_umask():
        plays = Plays(scene, secrets, web, {"HOME": str(folders["home"]), "TMPDIR": str(folders["tmp"])})
        beside = pool.submit(plays.without_production, folders["developer"], folders["checkout"])
        plays.with_production()
        beside.result()
    shown = {f"the output of {name}": outcome.output.encode() for name, outcome in plays.outcomes.items()}
    shown["argument lists"] = b"\n".join(passing.argument_lists)
    shown.update(passing.files)
    for kind, begin in log_begins.items():
        shown[f"the log of {kind}'s server"] = scene.cluster(kind).log_file.read_bytes()[begin:]
    open_to_others = dict(passing.open_to_others)
    states = (scene.stage.folder / "state", folders["developer"] / "state")
    for folder in (*states, folders["home"], folders["tmp"]):
        files = [path for path in folder.rglob("*") if path.is_file()]
        shown.update({str(path.relative_to(scene.stage.folder)): path.read_bytes() for path in files})
    for folder in states:
        open_to_others.update(_open_to_others(folder.rglob("*"), scene.stage.folder))
    return Canaries(secrets, shown, open_to_others)


@contextlib.contextmanager
def _open_umask() -> Iterator[None]:
    """What is private must be made so: nothing is left to the umask of whoever starts a playbook."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def _log_every_statement(scene: Scene) -> dict[str, int]:
    """Have both servers log all that they are told; return where their logs end now."""
    for kind in KINDS:
        scene.execute(kind, "ALTER SYSTEM SET log_statement = 'all'")
        scene.execute(kind, "SELECT pg_reload_conf()")
    return {kind: scene.cluster(kind).log_file.stat().st_size for kind in KINDS}


class Plays:
    """The playbooks, one after the other, as a team would play them on a bad day.

    Args:
        scene: where production and staging are.
        secrets: what the inventory is given.
        web: answers for the application and for the channels of notices.
        environment: more environment variables of ansible-playbook.
    """

    def __init__(self, scene: Scene, secrets: dict[str, str], web: WebServer, environment: dict[str, str]) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._scene = scene
        self._secrets = secrets
        self._environment = environment
        self._inventory = _inventory(scene, secrets, web.url)
        for variables in self._inventory.values():
            variables["rollback_notices"] = _notices(secrets, web)

    def with_production(self) -> None:
        """Rehearse, roll back, look, go back, fail, restore tables and all of it from a backup, clean up."""
        self._play("staging", "env=staging")
        self._play("production", PRODUCTION)
        run_id = self.outcomes["production"].records[0]["run_id"]
        restore = "restore.yml"
        self._play("status", PRODUCTION, "rollback_check_files=true", playbook="playbooks/status.yml")
        self._play("look", PRODUCTION, playbook=restore)
        self._play("restore of a run", PRODUCTION, f"run={run_id}", "accept_loss=true", playbook=restore)
        self._play_failing()
        self._play("restore of tables", PRODUCTION, "tables=projects", playbook=restore)
        self._play("restore of a backup", PRODUCTION, "to=latest_good", "accept_loss=true", playbook=restore)
        self._play("clean_up", PRODUCTION, playbook="playbooks/clean_up.yml")

    def without_production(self, developer: Path, checkout: Path) -> None:
        """Check migrations, and roll a developer's file back."""
        development = Development(developer)
        development.set()
        given = {**development.environment(), "JWT_SECRET": self._secrets["developer"]}
        self.outcomes["development"] = development.play(
            *TYPED, "env=development", f"confirm={development.path.name}",
            rollback_environment=given, rollback_signing_key=self._secrets["signingKey"],
        )  # fmt: skip
        settings = checkout / "settings.json"
        settings.touch(mode=0o600)
        settings.write_text(
            json.dumps(
                {
                    "rollback_project_dir": str(BACKEND),
                    "rollback_engine_options": {"node_path": node_folder()},
                    "rollback_environment": {"NODE_ENV": "test", "JWT_SECRET": self._secrets["checker"]},
                    "rollback_check_url": self._scene.url("staging"),
                    "rollback_check_verify": PRINTS,
                }
            )
        )
        typed = ["-e", f"@{settings}", "since=20240106000000-widen-project-title.ts"]
        self._play("check_migrations", *typed, playbook="playbooks/check_migrations.yml")

    def _play_failing(self) -> None:
        """A smoke test fails on the candidate; maintenance mode is Railway's."""
        token = self._secrets["railwayToken"]
        OWNERS[token] = (RAILWAY_PROJECT, ENVIRONMENT)
        with railway_platform() as platform:
            platform.deploy("newer")
            changed: Variables = {
                "rollback_trial": {
                    "tests": [{"name": "fails", "command": ["node", "-e", PRINT_EVERYTHING + "process.exit(1)"]}],
                    "chdir": str(self._scene.checkout),
                },
                "rollback_maintenance": {"provider": "railway", "railway": connection(platform, token)},
            }
            self._play("a failing rollback", PRODUCTION, failing=True, changed=changed)
        del OWNERS[token]

    def _play(
        self,
        name: str,
        *typed: str,
        playbook: str = "rollback.yml",
        failing: bool = False,
        changed: Variables | None = None,
    ) -> None:
        inventory = {**self._inventory, "production": {**self._inventory["production"], **(changed or {})}}
        outcome = self._scene.play(
            *TYPED, f"confirm={DATABASES['production']}", *typed,
            environment=self._environment, playbook=playbook, **inventory,
        )  # fmt: skip
        self.outcomes[name] = outcome
        assert (outcome.exit_code != 0) == failing, f"a canary would not have sung: {name} {outcome.output[-3000:]}"


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
        inventory[kind] = {
            "rollback_signing_key": secrets["signingKey"],
            "rollback_environment": {**known, "JWT_SECRET": secrets["jwtSecret"]},
            "rollback_trial": {"tests": [{"name": "prints", "command": PRINTS}], "chdir": str(scene.checkout)},
        }
    inventory["production"].update(
        rollback_keep_release=False,
        rollback_release={
            "commands": {"stop": PRINTS, "older": PRINTS, "newer": PRINTS},
            "environment": {"PATH": known["PATH"], "CANARY": secrets["deployToken"]},
        },
        rollback_maintenance={
            "provider": "command",
            "command": {
                "on": PRINTS, "off": PRINTS, "environment": {"PATH": known["PATH"], "CANARY": secrets["flagToken"]},
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


@pytest.mark.parametrize("name", ["production", "staging", *GIVEN, *IN_HEADERS])
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
    for name in (*KINDS, "a failing rollback", "restore of a run", "restore of a backup", "development"):
        assert shown[f"the output of {name}"].count(b"********") > 3, name
    assert any(name.startswith("temporary file balcon-rollback-project-") for name in shown)
    for kind in KINDS:
        assert b"COMMENT ON DATABASE" in shown[f"the log of {kind}'s server"]


def test_what_was_made_is_nobody_elses_business(canaries: Canaries) -> None:
    """Files 0600 and folders 0700, whatever the umask."""
    assert canaries.open_to_others == {}
