# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import select
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from window import Window, wait_until

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.information import (
    Question,
    read_information,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_lock import take_run_lock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ModuleRunner
    from tests.integration.conftest import Database

    Module = ModuleRunner

PLENTY = 10**12


def blockers(run_module: Module, url: str, **arguments: Any) -> dict[str, dict[str, Any]]:
    result = run_module("db_info", **{"database_url": url, "free_bytes": PLENTY, **arguments})
    assert not result["failed"], result["msg"]
    assert not result["changed"]
    return {blocker["kind"]: blocker for blocker in result["blockers"]}


class Pooler(socketserver.BaseRequestHandler):
    """What a connection pooler does, as far as it can be told from outside: a process id of its own."""

    address: ClassVar[tuple[str, int]]

    def handle(self) -> None:
        with socket.create_connection(self.address) as server:
            buffer = b""
            while True:
                readable = select.select([self.request, server], [], [])[0]
                if self.request in readable:
                    data = self.request.recv(65536)
                    if not data:
                        return
                    server.sendall(data)
                if server in readable:
                    data = server.recv(65536)
                    if not data:
                        return
                    messages, buffer = with_another_pid(buffer + data)
                    self.request.sendall(messages)


def with_another_pid(data: bytes) -> tuple[bytes, bytes]:
    """Return the complete messages of the server, with another process id, and the rest."""
    messages = b""
    while len(data) >= 5 and len(data) >= (length := 1 + struct.unpack("!I", data[1:5])[0]):
        message, data = data[:length], data[length:]
        if message[:1] == b"K":  # BackendKeyData
            message = message[:5] + struct.pack("!I", 4_000_000) + message[9:]
        messages += message
    return messages, data


@contextmanager
def pooler(server: Server) -> Iterator[int]:
    parameters = server.parameters()
    Pooler.address = (parameters["host"], int(parameters["port"]))
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Pooler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=[0.05])
        thread.start()
        try:
            yield listener.server_address[1]
        finally:
            listener.shutdown()
            thread.join()


def at_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    address = f"{parts.netloc.rpartition(':')[0]}:{port}"
    return urlunsplit(parts._replace(netloc=address, query="sslmode=disable&gssencmode=disable"))


def test_what_it_tells(database: Database, run_module: Module) -> None:
    with database.session() as connection:
        result = run_module("db_info", database_url=database.url, admin_url=database.admin_url, free_bytes=PLENTY)
        (session,) = (session for session in result["sessions"] if session["user"])
        assert session["pid"] == connection.info.backend_pid
        assert session["may_be_ended"]
        assert session["backend_type"] == "client backend"
    assert not result["changed"]
    assert result["blockers"] == []
    assert result["exists"]
    assert result["name"] == database.name
    assert result["server_major"] == database.server.version
    assert (result["system_identifier"], result["oid"]) == tuple(Server(database.url).identity())
    assert result["size_bytes"] > 1_000_000
    assert result["disk"]["needed_bytes"] == int(result["size_bytes"] * 1.2)
    assert result["rights"] == {
        "user": "rollback_owner",
        "owner": True,
        "superuser": False,
        "create_database": True,
        "signal_backend": True,
        "connect_admin": True,
    }
    assert (result["is_pooler"], result["in_recovery"], result["open_run"], result["leftovers"]) == (
        False,
        False,
        None,
        [],
    )


def test_the_predicted_time(database: Database, run_module: Module) -> None:
    assumed = run_module("db_info", database_url=database.url)
    assert assumed["copy_rate_source"] == "assumed"
    measured = run_module("db_info", database_url=database.url, copy_bytes_per_second=1000)
    assert measured["copy_rate_source"] == "rehearsal"
    assert measured["predicted_copy_seconds"] == pytest.approx(measured["size_bytes"] / 1000)


def test_a_database_that_is_not_there(database: Database, run_module: Module) -> None:
    found = blockers(run_module, database.url_of("No Such Shop"))
    assert list(found) == ["missing"]
    assert "'No Such Shop'" in found["missing"]["message"]


def test_a_wrong_password_is_refused_without_the_password(database: Database, run_module: Module) -> None:
    result = run_module("db_info", database_url=database.server.url("rollback_owner", "s3cret", database.name))
    assert result["failed"]
    assert "password authentication failed" in result["msg"]
    assert f"'postgres' (from which '{database.name}' is worked on)" in result["msg"]
    assert "s3cret" not in str(result)


def test_refuse_says_everything_at_once(database: Database, run_module: Module) -> None:
    with database.session(database.superuser_url) as connection:
        result = run_module("db_info", database_url=database.url, free_bytes=1, refuse=True)
        assert result["failed"]
        assert f"pid {connection.info.backend_pid}" in result["msg"]
    assert "1 are free" in result["msg"]
    assert {blocker["kind"] for blocker in result["error"]["blockers"]} == {"session", "disk"}


def test_disk(database: Database, run_module: Module) -> None:
    assert "rollback_free_bytes" in blockers(run_module, database.url, free_bytes=None)["disk_not_proven"]["remedy"]
    one = run_module("db_info", database_url=database.superuser_url)["disk"]
    two = run_module("db_info", database_url=database.superuser_url, copies=2)["disk"]
    assert one["source"] == "measured"
    assert one["free_bytes"] > 0
    assert two["needed_bytes"] == pytest.approx(2 * one["needed_bytes"], abs=2)


def test_without_rights(database: Database, run_module: Module) -> None:
    superuser = database.server.superuser_url()
    database.execute("CREATE ROLE visitor LOGIN PASSWORD 'x'", url=superuser)
    try:
        with database.session() as connection:
            found = blockers(run_module, database.server.url("visitor", "x", database.name))
            assert str(connection.info.backend_pid) in found["session"]["message"]
        assert set(found) == {"owner", "create_database", "session"}
        assert "ALTER ROLE visitor CREATEDB" in found["create_database"]["remedy"]
    finally:
        database.execute("DROP ROLE visitor", url=superuser)


def test_a_session_of_another_role_may_be_ended_though_its_type_is_hidden(
    database: Database, run_module: Module
) -> None:
    superuser = database.server.superuser_url()
    database.execute("CREATE ROLE clerk LOGIN PASSWORD 'x'", url=superuser)
    try:
        with database.session(database.server.url("clerk", "x", database.name)) as connection:
            result = run_module("db_info", database_url=database.url, free_bytes=PLENTY)
            (session,) = (one for one in result["sessions"] if one["pid"] == connection.info.backend_pid)
            assert session["backend_type"] is None
            assert session["may_be_ended"]
            assert result["blockers"] == []
            database.execute("REVOKE pg_signal_backend FROM rollback_owner", url=superuser)
            assert "role clerk" in blockers(run_module, database.url)["session"]["message"]
    finally:
        database.execute("GRANT pg_signal_backend TO rollback_owner", url=superuser)
        database.execute("DROP ROLE clerk", url=superuser)


def test_an_autovacuum_worker_is_in_nobodys_way(database: Database, run_module: Module) -> None:
    """PostgreSQL ends it by itself when a database is copied or renamed."""
    superuser = database.superuser_url
    database.execute("CREATE TABLE big AS SELECT n FROM generate_series(1, 20000) AS n")
    database.execute("ALTER TABLE big SET (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)")
    database.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'", url=superuser)
    database.execute("SELECT pg_reload_conf()", url=superuser)
    try:
        database.execute("DELETE FROM big")
        workers = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'autovacuum worker'"
        )
        wait_until(lambda: database.execute(workers, url=superuser), "autovacuum works")
        result = run_module("db_info", database_url=database.url, free_bytes=PLENTY)
        assert any(session["user"] == "" for session in result["sessions"])
        assert result["blockers"] == []
    finally:
        database.execute("ALTER SYSTEM RESET autovacuum_naptime", url=superuser)
        database.execute("SELECT pg_reload_conf()", url=superuser)


def test_a_prepared_transaction(database: Database, run_module: Module) -> None:
    connection = psycopg2.connect(database.url)
    connection.tpc_begin("half done")
    connection.cursor().execute("CREATE TABLE waits()")
    connection.tpc_prepare()
    connection.close()
    found = blockers(run_module, database.url)
    assert list(found) == ["prepared_transaction"]
    assert "half done" in found["prepared_transaction"]["message"]


def test_a_logical_slot_even_inactive(database: Database, run_module: Module) -> None:
    create = "SELECT pg_create_logical_replication_slot('warehouse', 'pgoutput')"
    database.execute(create, url=database.superuser_url)
    found = blockers(run_module, database.url)
    assert list(found) == ["logical_slot"]
    assert "warehouse (inactive)" in found["logical_slot"]["message"]


def test_a_subscription(database: Database, run_module: Module) -> None:
    create = "CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=1' PUBLICATION all_of_it WITH (connect = false)"
    database.execute(create, url=database.superuser_url)
    assert list(blockers(run_module, database.url)) == ["subscription"]


def test_a_setting_that_could_not_be_given_to_the_copy(database: Database, run_module: Module) -> None:
    superuser = database.server.superuser_url()
    database.execute(f'ALTER DATABASE "{database.name}" SET log_min_duration_statement TO 7', url=superuser)
    assert "log_min_duration_statement" in blockers(run_module, database.url)["properties"]["message"]
    database.execute(f'ALTER DATABASE "{database.name}" RESET ALL', url=superuser)
    database.execute(f"ALTER DATABASE \"{database.name}\" SET app.tenant TO 'one'", url=superuser)
    assert "app.tenant" in blockers(run_module, database.url)["properties"]["message"]
    assert not blockers(run_module, database.superuser_url)


def test_a_collation_that_has_changed(database: Database, run_module: Module) -> None:
    lie = "UPDATE pg_database SET datcollversion = '0.1' WHERE datname = current_database() RETURNING "
    known = database.execute(lie + "pg_database_collation_actual_version(oid)", url=database.superuser_url)
    if known == [(None,)]:
        pytest.skip("The operating system's C locale has no version here.")
    assert list(blockers(run_module, database.url)) == ["collation_version"]


def test_a_pooler(database: Database, run_module: Module) -> None:
    with pooler(Server(database.url)) as port:
        url = at_port(database.url, port)
        found = blockers(run_module, url)
        assert list(found) == ["pooler"]
        assert "rollback_admin_url" in found["pooler"]["remedy"]
        past = run_module("db_info", database_url=url, admin_url=database.admin_url, free_bytes=PLENTY)
        assert past["blockers"] == []
        assert not past["is_pooler"]


def test_an_admin_url_that_leads_elsewhere(
    database: Database, run_module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two servers would do; here the database of the same name is another one at the next look."""
    public, direct = Server(database.url), Server(database.url, database.admin_url)
    monkeypatch.setattr(public, "connect", lambda **_options: direct.admin())
    found = read_information(direct, public, Question(free_bytes=PLENTY))["blockers"]
    assert [blocker["kind"] for blocker in found] == ["admin_url"]


def test_a_run_that_is_under_way(database: Database, run_module: Module, tmp_path: Path) -> None:
    window = Window(database.url, tmp_path, run_module)
    window.advance_to("candidate")
    result = run_module("db_info", database_url=database.url, free_bytes=PLENTY)
    assert [blocker["kind"] for blocker in result["blockers"]] == ["other_run"]
    assert result["open_run"]["state"] == "candidate"
    assert result["is_open"] is False
    (leftover,) = result["leftovers"]
    assert (leftover["name"], leftover["purpose"], leftover["state"]) == (window.name("candidate"), "candidate", "open")
    assert not blockers(run_module, database.url, **{**window.arguments, "phase": "preflight"})


def test_a_lock_that_is_held(database: Database, run_module: Module) -> None:
    server = Server(database.url, application_name="somebody")
    with server.admin() as connection, connection.cursor() as cursor:
        assert take_run_lock(cursor, database.name)
        result = run_module("db_info", database_url=database.url, free_bytes=PLENTY)
    assert str(result["run_lock_held_by"]).startswith("somebody (pid ")
    assert [blocker["kind"] for blocker in result["blockers"]] == ["other_run"]


def test_what_a_killed_run_left(database: Database, run_module: Module, tmp_path: Path) -> None:
    window = Window(database.url, tmp_path, run_module)
    database.execute(f'CREATE DATABASE "{window.name("trial")}" ALLOW_CONNECTIONS false', url=database.admin_url)
    (leftover,) = run_module("db_info", database_url=database.url)["leftovers"]
    assert (leftover["name"], leftover["state"]) == (window.name("trial"), "half_made")


def test_the_maintenance_database_and_a_runs_own(database: Database, run_module: Module, tmp_path: Path) -> None:
    window = Window(database.url, tmp_path, run_module)
    assert "maintenance_database" in blockers(run_module, database.admin_url)
    window.advance_to("candidate")
    assert "name" in blockers(run_module, database.url_of(window.name("candidate")))
