# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS as the URL asks for it, in psycopg2, the client tools and the migration tool alike; on Debian's server."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
from certificates import Authority
from debian_postgresql import DebianServer, debian_server
from npm_project import TOOL, NpmProject, RunOfTest
from psycopg2 import sql

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.client_tools import (
    find_client_tools,
    running,
    tool_environment,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server, Unreachable
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed
from ansible_collections.balcon.rollback.plugins.module_utils._migrations import make_engine
from ansible_collections.balcon.rollback.plugins.module_utils._migrations.tool import Tool
from ansible_collections.balcon.rollback.tests.integration.conftest import Database

PASSWORD = "p@ss :/%tls"
HBA = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
SETTINGS = ["ssl=on", "log_connections=on", "logging_collector=off", "ssl_cert_file=../crt", "ssl_key_file=../key"]
REFUSALS = {
    "wrong host": "does not match host name",
    "wrong authority": "certificate verify failed",
    "expired": "certificate verify failed",
}

DRIVERS = {
    "pg": "const { Client } = require('pg');",
    "sequelize": """
const { Sequelize } = require('sequelize');
class Client {
  constructor({ connectionString }) { this.own = new Sequelize(connectionString, { logging: false }); }
  connect() { return this.own.authenticate(); }
  async query(text, bind) { return { rows: (await this.own.query(text, { bind }))[0] }; }
  end() { return this.own.close(); }
}
""",
    "parts": """
const pg = require('pg');
class Client extends pg.Client {
  constructor({ connectionString }) {
    const { hostname, port, username, password, pathname } = new URL(connectionString);
    const [user, secret, database] = [username, password, pathname.slice(1)].map(decodeURIComponent);
    super({ host: hostname, port: Number(port), user, password: secret, database });
  }
}
""",
}
"""How a project may connect: by the URL; with Sequelize; or with the URL's parts, so that its sslmode is lost."""


class EncryptedServer:
    """A server whose certificate can be exchanged; its URLs demand that it proves who it is."""

    def __init__(self, server: DebianServer) -> None:
        self.debian = server
        self.authority = Authority(server.folder / "ca.pem", "the right one")
        self._shown = ""
        self._other = Authority(server.folder / "other.pem", "somebody else")
        (server.data / "pg_hba.conf").write_text(HBA)

    def show(self, kind: str) -> None:
        """Show a certificate from now on: right, wrong host, wrong authority, expired."""
        if kind == self._shown:
            return
        authority = self._other if kind == "wrong authority" else self.authority
        host = "db.example.com" if kind == "wrong host" else "127.0.0.1"
        key, certificate = self.debian.folder / "key", self.debian.folder / "crt"
        authority.certify(key, certificate, host, days_left=-1 if kind == "expired" else 1)
        for file in (key, certificate):
            self.debian.own(file)
        if (self.debian.data / "postmaster.pid").exists():
            self.debian.pg_ctl("stop")
        self.debian.pg_ctl("start")
        self._shown = kind

    def url(self, user: str, password: str, database: str, mode: str = "verify-full") -> str:
        """The URL of a database, with the test's authority."""
        query = f"sslmode={mode}&sslrootcert={quote(str(self.authority.file))}"
        address = f"127.0.0.1:{self.debian.port}/{quote(database, safe='')}"
        return f"postgresql://{user}:{quote(password, safe='')}@{address}?{query}"

    def connections(self) -> list[tuple[str, bool]]:
        """Every connection of the owner that was let in: the application's name, and whether it was encrypted."""
        log = (self.debian.folder / "log").read_text()
        found = re.findall(r"connection authorized: user=owner .*", log)
        return [
            (match[1] if (match := re.search(r"application_name=(.*?)( SSL enabled|$)", line)) else "", "SSL" in line)
            for line in found
        ]


@pytest.fixture(scope="module")
def encrypted() -> Iterator[EncryptedServer]:
    with debian_server(SETTINGS) as debian:
        encrypted = EncryptedServer(debian)
        encrypted.show("right")
        connection = psycopg2.connect(f"postgresql://postgres@127.0.0.1:{debian.port}/postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE ROLE owner LOGIN CREATEDB PASSWORD %s", [PASSWORD])
            cursor.execute("CREATE DATABASE shop OWNER owner")
        connection.close()
        yield encrypted


@pytest.fixture
def shop(encrypted: Any, run_module: Any) -> Iterator[Database]:
    """An empty shop database, reached with ``sslmode=verify-full``; its server shows the right certificate again."""
    run_module.secrets.add(PASSWORD)
    database = Database(encrypted, "shop", PASSWORD, "owner")
    yield database
    encrypted.show("right")
    for name in database.relatives():
        if name != "shop":
            database.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)), url=database.admin_url
            )
    database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


@pytest.fixture
def project(tmp_path: Path) -> NpmProject:
    return NpmProject(tmp_path / "project")


def speak(project: NpmProject, driver: str) -> None:
    text = TOOL.replace(DRIVERS["pg"], DRIVERS[driver])
    assert driver == "pg" or text != TOOL
    (project.folder / "tool.cjs").write_text(text)


@pytest.mark.parametrize("driver", DRIVERS)
def test_everything_is_encrypted(
    shop: Database, encrypted: EncryptedServer, project: NpmProject, run_module: Any, tmp_path: Path, driver: str
) -> None:
    """By the server's log: our own sessions, pg_dump, pg_restore, and the tool, whichever driver it has."""
    speak(project, driver)
    project.apply(shop)
    run = RunOfTest(tmp_path / "state", shop)
    (encrypted.debian.folder / "log").write_text("")
    client = {"client_path": [str(encrypted.debian.bin_dir)]}
    backup = run_module("db_backup", database_url=shop.url, verify="restore", **client, **run.arguments("back_up"))
    assert not backup["failed"], backup["msg"]
    run.make("candidate")
    run.enter("candidate")
    down = {"database_url": shop.url, "plan": ["3-orders.js"], "engine_options": project.options()}
    done = run_module("migrate_down", **down, **run.arguments())
    assert not done["failed"], done["msg"]
    connections = encrypted.connections()
    names = {name for name, _encrypted in connections}
    assert {"balcon.rollback"} < names
    assert any("tool" in name for name in names) or driver == "parts"
    assert [name for name, is_encrypted in connections if not is_encrypted] == []


def test_a_tool_that_speaks_in_plain_text_is_ended(
    shop: Database, project: NpmProject, run_module: Any, tmp_path: Path
) -> None:
    """The URL demands encryption, and the project's own configuration turns it off."""
    speak(project, "parts")
    (project.folder / "migrations" / "3-orders.js").write_text(
        "module.exports.down = async (client) => { await client.query('SELECT pg_sleep(20)'); };"
    )
    project.write_manifest()
    project.apply(shop)
    run = RunOfTest(tmp_path / "state", shop)
    rehearsal = run.make("rehearsal")
    given = {"database_url": shop.url, "database": rehearsal.name, "plan": ["3-orders.js"]}
    result = run_module(
        "migrate_down",
        engine_options=project.options(),
        environment={"PGSSLMODE": "disable"},
        **given,
        **run.arguments("rehearse"),
    )
    assert result["failed"]
    assert "in plain text, though the URL's sslmode demands encryption" in result["msg"]


@pytest.mark.parametrize("certificate", REFUSALS)
def test_a_server_that_cannot_prove_who_it_is(
    shop: Database, encrypted: EncryptedServer, project: NpmProject, run_module: Any, tmp_path: Path, certificate: str
) -> None:
    """Refused before anybody is let in: no password was sent, nothing was begun."""
    project.apply(shop)
    run = RunOfTest(tmp_path / "state", shop)
    encrypted.show(certificate)
    (encrypted.debian.folder / "log").write_text("")
    down = {"plan": ["3-orders.js"], "engine_options": project.options(), **run.arguments()}
    modules: dict[str, dict[str, Any]] = {
        "db_info": {},
        "db_backup": run.arguments("back_up"),
        "db_access": {"state": "closed", **run.arguments("close")},
        "migrate_down": down,
    }
    for module, arguments in modules.items():
        result = run_module(module, database_url=shop.url, **arguments)
        assert result["failed"], module
        assert REFUSALS[certificate] in result["msg"], result["msg"]
        assert "Do not lower sslmode" in result["msg"]
    assert encrypted.connections() == []


@pytest.mark.parametrize("certificate", REFUSALS)
def test_each_client_looks_for_itself(
    shop: Database, encrypted: EncryptedServer, project: NpmProject, tmp_path: Path, certificate: str
) -> None:
    """None of them relies on another one having looked before."""
    server = Server(shop.url)
    tools = find_client_tools(150000, [str(encrypted.debian.bin_dir)])
    dump = ["-Fc", "-f", str(tmp_path / "dump")]
    with running(tools, "pg_dump", dump, environment=tool_environment(server), deadline=20) as tool:
        tool.wait()
    encrypted.show(certificate)
    (encrypted.debian.folder / "log").write_text("")
    with pytest.raises(Unreachable, match=REFUSALS[certificate]), server.connect():
        pass
    for name, arguments in (
        ("pg_dump", ["-Fc", "-f", str(tmp_path / "another")]),
        ("pg_restore", ["--dbname=dbname=shop", str(tmp_path / "dump")]),
    ):
        environment = tool_environment(server)
        with (
            running(tools, name, arguments, environment=environment, deadline=20) as tool,
            pytest.raises(Failed, match=REFUSALS[certificate]),
        ):
            tool.wait()
    engine = make_engine("npm", {**project.options(), "table": "migrations_meta"})
    for driver in DRIVERS:
        speak(project, driver)
        environment = Tool(engine, server, "shop", {}).environment(str(tmp_path))
        said = subprocess.run(
            ["node", "tool.cjs", "status"], cwd=project.folder, env=environment, capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip
        assert said.returncode == 1, said
        assert re.search(r"certificate|altnames", said.stderr), said.stderr
    assert encrypted.connections() == []


def test_the_mode_is_the_one_of_the_url(shop: Database, encrypted: EncryptedServer) -> None:
    """``verify-ca`` passes over the name, ``require`` encrypts alone, ``disable`` does not."""
    encrypted.show("wrong host")
    seen = {}
    for mode in ("verify-ca", "require", "disable"):
        url = encrypted.url("owner", PASSWORD, "shop", mode)
        ((seen[mode],),) = shop.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", url=url)
        assert Server(url).demands_encryption is (mode != "disable")
    assert seen == {"verify-ca": True, "require": True, "disable": False}
