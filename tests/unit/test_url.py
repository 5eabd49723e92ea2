# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from psycopg2.extensions import parse_dsn

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server, make_url
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused

URL = "postgresql://anna:p%40ss%3A%2F%25@db.example:5433/Shop%20%22one%22?sslmode=require"


def test_a_url_is_read_by_libpq() -> None:
    parameters = Server(URL).parameters()
    assert parameters["dbname"] == 'Shop "one"'
    assert parameters["password"] == "p@ss:/%"
    assert parameters["sslmode"] == "require"


def test_client_tools_get_everything_by_environment() -> None:
    environment = Server(URL).environment("other")
    assert environment["PGDATABASE"] == "other"
    assert environment["PGPASSWORD"] == "p@ss:/%"
    assert environment["PGSSLMODE"] == "require"


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "postgresql://anna@[::1]:5432/shop",
        "postgresql:///shop?host=%2Fvar%2Frun",
        "postgresql://a%20b:%2B%26%3D%3F%23@h/%25%2F%3F",
    ],
)
def test_a_url_for_another_database_leads_to_the_same_server(url: str) -> None:
    written = parse_dsn(Server(url).url("o/t?h&e#r %"))
    assert written == {**parse_dsn(url), "dbname": "o/t?h&e#r %"}


def test_a_url_is_written_so_that_libpq_reads_it() -> None:
    parameters = {"host": "h", "port": "1", "user": "ü@:", "password": "%/", "dbname": "d", "sslmode": "require"}
    assert parse_dsn(make_url(parameters)) == parameters


def test_the_admin_url_is_the_way_and_the_database_url_the_name() -> None:
    server = Server(URL, "postgresql://admin@direct/control")
    assert server.database == 'Shop "one"'
    assert server.maintenance_database == "control"
    assert server.parameters()["host"] == "direct"
    assert server.parameters()["dbname"] == 'Shop "one"'


def test_administration_goes_through_postgres_by_default() -> None:
    assert Server(URL).maintenance_database == "postgres"
    assert Server(URL, URL).maintenance_database == "postgres"


@pytest.mark.parametrize("url", ["sqlite:shop.db", "host=x dbname=y", "", "mysql://x/y"])
def test_another_kind_of_url_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="is not a PostgreSQL URL"):
        Server(url)


def test_a_url_without_a_database_is_refused() -> None:
    with pytest.raises(Refused, match="names no database"):
        Server("postgresql://anna@host")


@pytest.mark.parametrize(
    "url", ["postgresql://anna:s3cret%ZZ@h/d", "postgresql://anna:s3cret@[h/d", "postgresql://a@h/d?s3cret=1"]
)
def test_a_url_that_libpq_refuses_is_not_quoted(url: str) -> None:
    with pytest.raises(Refused) as refusal:
        Server(url).parameters()
    assert "s3cret" not in refusal.value.text()


def test_a_parameter_without_an_environment_variable_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="keepalives_idle"):
        Server(URL + "&keepalives_idle=5").environment()


def test_what_the_url_leaves_open_is_the_same_for_everything_that_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, libpq would read these variables for us alone: the tools get an environment of their own."""
    for name, value in {"PGHOST": "h", "PGSSLMODE": "verify-full", "PGPASSWORD": "p/", "PGDATABASE": "other"}.items():
        monkeypatch.setenv(name, value)
    server = Server("postgresql://anna@/shop")
    assert server.parameters() == {**server.parameters(), "host": "h", "sslmode": "verify-full", "dbname": "shop"}
    assert server.environment()["PGHOST"] == "h"
    assert parse_dsn(server.url()) == {
        "user": "anna", "password": "p/", "host": "h", "sslmode": "verify-full", "dbname": "shop",
    }  # fmt: skip
    assert Server("postgresql://anna@mine/shop?sslmode=disable").environment()["PGHOST"] == "mine"
    assert Server("postgresql://anna@mine/shop?sslmode=disable").environment()["PGSSLMODE"] == "disable"
    monkeypatch.setenv("PGSERVICEFILE", "/etc/services")
    service = Server("postgresql://anna@/shop?service=central")
    assert "host" not in service.parameters()
    assert service.environment()["PGSERVICEFILE"] == "/etc/services"


@pytest.mark.parametrize(
    ("url", "demanded"),
    [
        ("postgresql://anna@h/shop?sslmode=verify-full&sslrootcert=%2Fca.pem&sslpassword=s", True),
        ("postgresql://anna@h/shop?sslmode=prefer&sslrootcert=%2Fca.pem", False),
        ("postgresql://anna@h/shop", False),
        ("postgresql:///shop?host=%2Frun&sslmode=require", False),
        ("postgresql:///shop?host=%2Frun&hostaddr=10.0.0.1&sslmode=require", True),
    ],
)
def test_what_a_tool_is_told_of_encryption(url: str, demanded: bool) -> None:
    server = Server(url)
    assert server.demands_encryption is demanded
    assert bool(server.encryption_environment()) is demanded
    if "ca.pem" in url and demanded:
        assert server.encryption_environment() == {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/ca.pem"}
