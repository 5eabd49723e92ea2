# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fresh database, filled from a dump: described from its first moment, closed to others, and dropped if it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain.catalogue import Catalogue, roles_in
from ..._domain.description import Description, parse_description, render_description
from ..._domain.errors import Failed, Refused
from ..._domain.typed import sql_name
from ..._driver import one_row, psycopg2, sql
from .client_tools import ClientTools, connection_argument, newer_settings, running, tool_environment
from .progress import restoring
from .properties import Properties, apply_properties, keep_out
from .run_state import read_comment, write_comment

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg2.extensions import cursor as Cursor

    from .connection import Server

RESTORE_SETTINGS = {
    "synchronous_commit": "off",
    "maintenance_work_mem": "256MB",
    "max_parallel_maintenance_workers": "0",
}
"""Settings of the sessions that restore: a database that is dropped when the restore fails need not be durable before
its end, and the jobs of pg_restore already use the processors (facts, 2: the table of measurements)."""

_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}

_LOCALE = """
SELECT pg_encoding_to_char(encoding), datcollate, datctype, to_jsonb(d) FROM pg_database d WHERE datname = %s
"""


class Rights(NamedTuple):
    """Whether a restore can give objects their owners and privileges, and if not, why."""

    owners: bool
    privileges: bool
    reasons: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Tell whether everything will be as it was."""
        return self.owners and self.privileges

    def arguments(self) -> list[str]:
        """Return C(pg_restore)'s arguments."""
        return ["--no-owner"] * (not self.owners) + ["--no-privileges"] * (not self.privileges)


def read_locale(cursor: Cursor, database: str) -> dict[str, Any]:
    """Return how to create a database again that sorts and encodes like this one."""
    cursor.execute(_LOCALE, [database])
    encoding, collate, ctype, row = one_row(cursor)
    return {
        "encoding": encoding,
        "collate": collate,
        "ctype": ctype,
        "provider": _PROVIDERS[row.get("datlocprovider", "c")],
        # Called daticulocale before PostgreSQL 17.
        "locale": row.get("datlocale") or row.get("daticulocale"),
        "rules": row.get("daticurules"),
    }


def exists(server: Server, name: str) -> bool:
    """Tell whether a database is there."""
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", [name])
        return cursor.fetchone() is not None


def read_description(server: Server, name: str) -> Description | None:
    """Return what a database says of itself, or None."""
    with server.admin() as connection, connection.cursor() as cursor:
        return parse_description(read_comment(cursor, name))


def choose_rights(server: Server, catalogue: Catalogue) -> Rights:
    """Find out which owners and privileges this role can give on this server.

    A superuser can give all that belong to roles which are there; anybody else only own what belongs to roles of which
    he is a member, and grant on what he owns.

    Raises:
        Refused: a row-level policy names a role that is missing: it cannot be left out without changing who sees what.
    """
    roles = roles_in(catalogue)
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolname, pg_has_role(current_user, oid, 'MEMBER') OR rolname = 'pg_database_owner' FROM pg_roles"
        )
        may_become = dict(cursor.fetchall())
    missing = sorted(name for name in roles["roles"] if name not in may_become)
    if missing:
        raise Refused(
            f"Row-level policies name roles that this server does not have: {', '.join(missing)}.",
            untouched="Nothing was restored.",
            remedy="; ".join(f'CREATE ROLE "{name}" NOLOGIN' for name in missing)
            + ", as a superuser, then start again.",
            missing=missing,
        )
    strangers = sorted(name for name in roles["owner"] if not may_become.get(name))
    unknown = sorted(name for name in roles["acl"] if name not in may_become)
    granting = {str(entry["owner"]) for entry in catalogue.get("default_privileges", {}).values()}
    reasons = [f"objects of role {name} now belong to the role that restored them" for name in strangers]
    reasons += [f"privileges were left out, since there is no role {name}" for name in unknown]
    if granting & set(strangers):
        reasons.append(f"privileges were left out, since those to come are set for {', '.join(sorted(granting))}")
    return Rights(not strangers, not unknown and not granting & set(strangers), tuple(reasons))


@contextmanager
def fresh_database(
    server: Server, name: str, locale: Mapping[str, Any], description: Description, *, tablespace: str | None = None
) -> Iterator[None]:
    """Create an empty database; when the block raises anything, drop it again: it was never complete.

    Args:
        server: the server.
        name: the database's name.
        locale: as `read_locale` returned it.
        description: what it says of itself from the start; its C(data) gets C(complete) false.
        tablespace: where it lies; by default where the server puts it.

    Raises:
        Refused: there is such a database already, or the server cannot create it.
    """
    oid = _create(server, name, locale, tablespace)
    try:
        with server.admin(autocommit=False) as connection, connection.cursor() as cursor:
            keep_out(cursor, name, [None])
            unfinished = replace(description, data={**description.data, "complete": False})
            write_comment(cursor, name, render_description(unfinished))
        yield
    except BaseException:
        drop_database(server, name, oid)
        raise


def _create(server: Server, name: str, locale: Mapping[str, Any], tablespace: str | None) -> int:
    with server.admin() as connection, connection.cursor() as cursor:
        try:
            cursor.execute(_create_statement(name, locale, tablespace))
        except psycopg2.Error as error:
            raise Refused(
                f"The database {name!r} cannot be created: {str(error).strip()}.",
                untouched="Nothing was restored.",
                remedy="The role in the URL needs CREATEDB, the server the same locales as the original's server, and "
                "the name must be free.",
                database=name,
            ) from None
        cursor.execute("SELECT oid::bigint FROM pg_database WHERE datname = %s", [name])
        return int(one_row(cursor)[0])


def _create_statement(name: str, locale: Mapping[str, Any], tablespace: str | None) -> Any:
    provider = locale["provider"]
    options = {
        "ENCODING": locale["encoding"],
        "LOCALE_PROVIDER": provider,
        "LC_COLLATE": locale["collate"],
        "LC_CTYPE": locale["ctype"],
        "ICU_LOCALE": locale["locale"] if provider == "icu" else None,
        "ICU_RULES": locale["rules"] if provider == "icu" else None,
        "BUILTIN_LOCALE": locale["locale"] if provider == "builtin" else None,
    }
    clauses = [sql.SQL(f"{key} {{}}").format(sql.Literal(value)) for key, value in options.items() if value]
    if tablespace:
        clauses.append(sql.SQL("TABLESPACE {}").format(sql.Identifier(tablespace)))
    # WAL_LOG, the default, leaves orphans and a server that cannot write when the disk is full (facts, 2).
    return sql.SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY FILE_COPY {}").format(
        sql.Identifier(name), sql.SQL(" ").join(clauses)
    )


def drop_database(server: Server, name: str, oid: int | None = None) -> None:
    """Drop a database that we made, sessions included; with an OID, only if it is still that one.

    Raises:
        Failed: it could not be dropped; the message says how to.
    """
    try:
        with server.admin() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT oid::bigint FROM pg_database WHERE datname = %s", [name])
            found = cursor.fetchone()
            if found and oid in (None, found[0]):
                _drop(cursor, name)
    except (psycopg2.Error, Refused) as error:
        raise Failed(
            f"The half-made database {name!r} could not be dropped: {str(error).strip()}.",
            untouched="No other database was touched.",
            remedy=f"Drop it: DROP DATABASE {sql_name(name)} WITH (FORCE);",
            database=name,
        ) from None


def _drop(cursor: Cursor, name: str) -> None:
    """Drop a database with its sessions.

    FORCE may not end an autovacuum worker without pg_signal_backend; without it, the server ends those by itself.
    """
    statement = sql.SQL("DROP DATABASE {}").format(sql.Identifier(name))
    try:
        cursor.execute(statement + sql.SQL(" WITH (FORCE)"))
    except psycopg2.errors.InsufficientPrivilege:
        cursor.execute(statement)


def restore_dump(  # noqa: PLR0913  # what pg_restore needs to know, a keyword each
    server: Server,
    tools: ClientTools,
    dump: Path,
    name: str,
    *,
    jobs: int,
    deadline: float,
    rights: Rights,
    across_servers: bool = False,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
) -> float:
    """Fill an empty database from a directory dump.

    Args:
        server: the server.
        tools: the tools, of the version that made the dump or later.
        dump: the dump's folder.
        name: the empty database.
        jobs: sessions that restore at the same time.
        deadline: seconds after which it is ended.
        rights: which owners and privileges to give.
        across_servers: leave out what belongs to the original's server: tablespaces, publications.
        tables: those of the original's fingerprint, for the progress.

    Returns:
        How many seconds it took.

    Raises:
        Failed: C(pg_restore) did not end well. That it did end well proves little: see the fingerprint.
    """
    elsewhere = ["--no-tablespaces", "--no-publications"] if across_servers else []
    unknown = newer_settings(tools, server)
    stop = [] if unknown else ["--exit-on-error"]
    arguments = [
        "--format=directory", *stop, f"--jobs={jobs}", "--no-password", "--no-subscriptions",
        *rights.arguments(), *elsewhere, connection_argument(name), str(dump),
    ]  # fmt: skip
    environment = tool_environment(server, name, RESTORE_SETTINGS)
    start = time.monotonic()
    with restoring(server, name, tables or {}), running(
        tools, "pg_restore", arguments, environment=environment, deadline=deadline
    ) as tool:
        tool.wait(unknown)
    return round(time.monotonic() - start, 3)


def analyse(server: Server, name: str) -> None:
    """Gather the planner's statistics, which no dump before PostgreSQL 18 carries."""
    with server.connect(name, autocommit=True) as connection, connection.cursor() as cursor:
        # The role and the database may have settings of their own; PostgreSQL 17 brought transaction_timeout.
        cursor.execute(
            "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings "
            "WHERE name IN ('statement_timeout', 'transaction_timeout', 'lock_timeout')"
        )
        cursor.execute("ANALYZE")


def complete(
    server: Server,
    name: str,
    properties: Properties,
    description: Description,
    *,
    keep_public_out: bool,
    skip_missing_roles: bool,
) -> list[str]:
    """Give a filled and verified database what belongs to it, and say that it is complete.

    Args:
        server: the server.
        name: the database.
        properties: those of the original.
        description: what it says of itself from now on; the original's comment is kept inside.
        keep_public_out: do not let everybody in, even where the original does.
        skip_missing_roles: leave out what belongs to roles that this server does not have.

    Returns:
        One line for each thing that was left out.
    """
    finished = replace(
        description,
        original_comment=properties.comment,
        data={**description.data, "complete": True},
    )
    wanted = replace(properties, comment=render_description(finished), is_template=False)
    with server.admin(autocommit=False) as connection, connection.cursor() as cursor:
        left_out = apply_properties(cursor, name, wanted, skip_missing_roles=skip_missing_roles)
        if keep_public_out:
            keep_out(cursor, name, [None])
    return left_out
