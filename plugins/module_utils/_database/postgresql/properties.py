# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to a database and does not lie in it: a file copy and a dump leave it behind."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain.errors import Refused
from ..._driver import one_row, sql
from .run_state import read_comment, write_comment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from psycopg2.extensions import cursor as Cursor
    from psycopg2.sql import Composable

PRIVILEGES = ("CREATE", "TEMPORARY", "CONNECT")

LIST_SETTINGS = (
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
)
"""Settings whose value is a list of quoted names; pg_dump's variable_is_guc_list_quote() has the same list."""

_LIST_ITEM = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,"]*))\s*(?:,|$)')


class Grant(NamedTuple):
    """One privilege on a database.

    Attributes:
        grantor: the role that granted it.
        grantee: the role that has it, or None for PUBLIC.
        privilege: one of `PRIVILEGES`.
        grantable: the grantee may grant it on.
    """

    grantor: str
    grantee: str | None
    privilege: str
    grantable: bool


class Setting(NamedTuple):
    """One ``ALTER DATABASE … SET`` or ``ALTER ROLE … IN DATABASE … SET``; without a role, the former."""

    role: str | None
    name: str
    value: str


@dataclass(frozen=True)
class Properties:
    """What `read_properties` found.

    Attributes:
        owner: the role that owns the database.
        connection_limit: -1 where there is none.
        is_template: every role with CREATEDB may copy it.
        tablespace: where it lies by default.
        comment: the text of the comment, or None.
        grants: all privileges; PostgreSQL's defaults are spelt out.
        settings: those of the database, and of roles in it.
    """

    owner: str
    connection_limit: int
    is_template: bool
    tablespace: str
    comment: str | None
    grants: tuple[Grant, ...]
    settings: tuple[Setting, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as what JSON can hold, for a manifest."""
        return {
            **asdict(self),
            "grants": [grant._asdict() for grant in self.grants],
            "settings": [setting._asdict() for setting in self.settings],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Properties:
        """Read what `to_dict` wrote."""
        grants = tuple(Grant(**grant) for grant in content["grants"])
        settings = tuple(Setting(**setting) for setting in content["settings"])
        return cls(**{**content, "grants": grants, "settings": settings})


def read_properties(cursor: Cursor, database: str) -> Properties:
    """Read what belongs to a database; from any database of the server, without privileges.

    Raises:
        Refused: there is no such database.
    """
    cursor.execute(
        "SELECT pg_get_userbyid(datdba), datconnlimit, datistemplate, spcname "
        "FROM pg_database JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = %s",
        [database],
    )
    row = cursor.fetchone()
    if row is None:
        raise Refused(
            f"There is no database {database!r} on this server.",
            untouched="Nothing was touched.",
            remedy="Check the name: capitals and spaces count.",
            database=database,
        )
    comment = read_comment(cursor, database)
    owner, connection_limit, is_template, tablespace = row
    grants, settings = read_grants(cursor, database), read_settings(cursor, database)
    return Properties(owner, connection_limit, is_template, tablespace, comment, grants, settings)


def read_grants(cursor: Cursor, database: str) -> tuple[Grant, ...]:
    """Read a database's privileges; where none were ever changed, PostgreSQL's defaults are returned."""
    cursor.execute(
        "SELECT pg_get_userbyid(grantor), CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END, "
        "privilege_type, is_grantable "
        "FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE datname = %s ORDER BY 1, 2, 3",
        [database],
    )
    return tuple(Grant(*row) for row in cursor.fetchall())


def read_settings(cursor: Cursor, database: str) -> tuple[Setting, ...]:
    """Read the settings of a database, and of roles in it."""
    cursor.execute(
        "SELECT CASE WHEN setrole <> 0 THEN pg_get_userbyid(setrole) END, split_part(setting, '=', 1), "
        "substr(setting, strpos(setting, '=') + 1) "
        "FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase, unnest(setconfig) AS setting "
        "WHERE datname = %s ORDER BY 1 NULLS FIRST, 2",
        [database],
    )
    return tuple(Setting(*row) for row in cursor.fetchall())


def apply_properties(
    cursor: Cursor, database: str, properties: Properties, *, skip_missing_roles: bool = False
) -> list[str]:
    """Give a database the owner, limits, privileges, settings and comment of another one. Tablespaces stay.

    Args:
        cursor: in a transaction, outside the database.
        database: the database to change.
        properties: what `read_properties` returned.
        skip_missing_roles: leave out what belongs to roles that this server does not have, instead of failing.

    Returns:
        One line for each thing that was left out.
    """
    wanted, left_out = _for_known_roles(cursor, properties) if skip_missing_roles else (properties, [])
    apply_owner(cursor, database, wanted.owner)
    apply_settings(cursor, database, wanted.settings)
    apply_grants(cursor, database, wanted.owner, wanted.grants)
    apply_limits(cursor, database, wanted)
    write_comment(cursor, database, wanted.comment)
    return left_out


def apply_owner(cursor: Cursor, database: str, owner: str) -> None:
    """Give a database to a role, where it is not its own already."""
    cursor.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [database])
    if cursor.fetchone() != (owner,):
        _alter(cursor, database, sql.SQL("OWNER TO {}").format(sql.Identifier(owner)))


def apply_limits(cursor: Cursor, database: str, properties: Properties) -> None:
    """Set connection limit and template flag, where they differ."""
    cursor.execute("SELECT datconnlimit, datistemplate FROM pg_database WHERE datname = %s", [database])
    limit, is_template = cursor.fetchone() or (None, None)
    if limit != properties.connection_limit:
        _alter(cursor, database, sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(properties.connection_limit)))
    if is_template != properties.is_template:
        _alter(cursor, database, sql.SQL("IS_TEMPLATE {}").format(sql.Literal(properties.is_template)))


def apply_settings(cursor: Cursor, database: str, settings: Iterable[Setting]) -> None:
    """Make the settings of a database, and of roles in it, equal to these."""
    now = set(read_settings(cursor, database))
    wanted = set(settings)
    kept = {(setting.role, setting.name) for setting in wanted}
    for setting in sorted(now - wanted, key=str):
        if (setting.role, setting.name) not in kept:
            _set(cursor, database, setting, sql.SQL("RESET {}").format(_setting_name(setting.name)))
    for setting in sorted(wanted - now, key=str):
        value = sql.SQL(", ").join(sql.Literal(item) for item in setting_items(setting.name, setting.value))
        _set(cursor, database, setting, sql.SQL("SET {} TO {}").format(_setting_name(setting.name), value))


def apply_grants(cursor: Cursor, database: str, owner: str, grants: Iterable[Grant]) -> None:
    """Make the privileges of a database equal to these.

    A privilege that a role granted on is granted as that role again, which takes membership in it.
    """
    wanted, now = set(grants), set(read_grants(cursor, database))
    if wanted == now:
        return
    keep_out(cursor, database, {grant.grantee for grant in now | wanted})
    for grant in in_granting_order(owner, wanted):
        _grant(cursor, database, owner, grant)


def keep_out(cursor: Cursor, database: str, grantees: Iterable[str | None]) -> None:
    """Take all privileges on a database away from roles (None is PUBLIC)."""
    for grantee in sorted(set(grantees), key=str):
        cursor.execute(
            sql.SQL("REVOKE ALL ON DATABASE {} FROM {} CASCADE").format(sql.Identifier(database), _role(grantee))
        )


def in_granting_order(owner: str, grants: Iterable[Grant]) -> list[Grant]:
    """Order privileges so that everybody has one before granting it on: the owner's first."""
    rest = sorted(set(grants), key=str)
    ordered: list[Grant] = []
    able = {(owner, privilege) for privilege in PRIVILEGES}
    while rest:
        ready = [grant for grant in rest if (grant.grantor, grant.privilege) in able] or rest
        ordered += ready
        able |= {(grant.grantee, grant.privilege) for grant in ready if grant.grantable and grant.grantee}
        rest = [grant for grant in rest if grant not in ready]
    return ordered


def setting_items(name: str, value: str) -> list[str]:
    """Take a stored setting apart into what ``SET … TO`` needs: one value, or the items of a list of names."""
    if name.lower() not in LIST_SETTINGS or not value.strip():
        return [value]
    items = [
        match[1].replace('""', '"') if match[1] is not None else match[2].strip()
        for match in _LIST_ITEM.finditer(value)
        if match[0]
    ]
    return items or [value]


def carry_over_problems(cursor: Cursor, properties: Properties) -> list[str]:
    """Say which privileges and settings this role could not give to a copy; one line each.

    The rules are those of PostgreSQL's AlterSetting, AlterRoleSet and select_best_grantor.
    """
    cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    if one_row(cursor)[0]:
        return []
    return [
        *grant_problems(cursor, properties),
        *_setting_problems(cursor, properties.settings),
        *_role_problems(cursor, properties.settings),
    ]


def grant_problems(cursor: Cursor, properties: Properties) -> list[str]:
    """Say which privileges on a database this role could not grant again, one line each."""
    grantors = sorted({grant.grantor for grant in properties.grants} - {properties.owner})
    cursor.execute("SELECT name FROM unnest(%s::name[]) AS name WHERE NOT pg_has_role(name, 'MEMBER')", [grantors])
    return [f"privileges that role {name} granted can only be granted again by that role" for (name,) in cursor]


def _setting_problems(cursor: Cursor, settings: Iterable[Setting]) -> list[str]:
    names = sorted({setting.name for setting in settings})
    cursor.execute(
        "SELECT wanted.name FROM unnest(%s::text[]) AS wanted(name) "
        "LEFT JOIN pg_settings s ON lower(s.name) = lower(wanted.name) "
        "WHERE coalesce(s.context, 'unknown') NOT IN ('user', 'backend') "
        "AND NOT has_parameter_privilege(wanted.name, 'SET')",
        [names],
    )
    return [f"setting {name} can only be set by a superuser, or with GRANT SET ON PARAMETER" for (name,) in cursor]


def _role_problems(cursor: Cursor, settings: Iterable[Setting]) -> list[str]:
    roles = sorted({setting.role for setting in settings if setting.role})
    cursor.execute(
        "SELECT r.rolname FROM pg_roles r, pg_roles me WHERE me.rolname = current_user AND r.rolname = ANY(%s) "
        "AND r.oid <> me.oid AND (r.rolsuper OR NOT me.rolcreaterole OR (%s >= 160000 AND NOT EXISTS "
        "(SELECT FROM pg_auth_members m WHERE m.roleid = r.oid AND m.admin_option "
        "AND pg_has_role(m.member, 'USAGE'))))",
        [roles, cursor.connection.server_version],
    )
    return [f"settings of role {name} in this database take that role, or a superuser" for (name,) in cursor]


def _for_known_roles(cursor: Cursor, properties: Properties) -> tuple[Properties, list[str]]:
    cursor.execute("SELECT rolname FROM pg_roles")
    known = {name for (name,) in cursor.fetchall()}
    cursor.execute("SELECT current_user")
    owner = properties.owner if properties.owner in known else one_row(cursor)[0]
    grants = [
        grant._replace(grantor=owner if grant.grantor == properties.owner else grant.grantor)
        for grant in properties.grants
    ]
    grants = [grant._replace(grantee=owner if grant.grantee == properties.owner else grant.grantee) for grant in grants]
    fits = [grant for grant in grants if {grant.grantor, grant.grantee or owner} <= known]
    settings = [setting for setting in properties.settings if setting.role is None or setting.role in known]
    left_out = [f"owner {properties.owner}: there is no such role here; {owner} owns it"] * (owner != properties.owner)
    left_out += [f"{grant.privilege} of role {grant.grantee}" for grant in grants if grant not in fits]
    left_out += [f"setting {lost.name} of role {lost.role}" for lost in properties.settings if lost not in settings]
    return (
        Properties(
            owner,
            properties.connection_limit,
            properties.is_template,
            properties.tablespace,
            properties.comment,
            tuple(fits),
            tuple(settings),
        ),
        left_out,
    )


def _grant(cursor: Cursor, database: str, owner: str, grant: Grant) -> None:
    if grant.privilege not in PRIVILEGES:
        raise ValueError(grant.privilege)
    as_other = grant.grantor != owner
    if as_other:
        cursor.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(grant.grantor)))
    cursor.execute(
        sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
            sql.SQL(grant.privilege),
            sql.Identifier(database),
            _role(grant.grantee),
            sql.SQL(" WITH GRANT OPTION" if grant.grantable else ""),
        )
    )
    if as_other:
        cursor.execute("RESET ROLE")


def _role(name: str | None) -> Composable:
    return sql.SQL("PUBLIC") if name is None else sql.Identifier(name)


def _setting_name(name: str) -> Composable:
    """Quote a setting's name; one of an extension has a dot that stays outside the quotes."""
    return sql.SQL(".").join(sql.Identifier(part) for part in name.split("."))


def _set(cursor: Cursor, database: str, setting: Setting, clause: Composable) -> None:
    if setting.role is None:
        _alter(cursor, database, clause)
        return
    cursor.execute(
        sql.SQL("ALTER ROLE {} IN DATABASE {} {}").format(
            sql.Identifier(setting.role), sql.Identifier(database), clause
        )
    )


def _alter(cursor: Cursor, database: str, clause: Composable) -> None:
    cursor.execute(sql.SQL("ALTER DATABASE {} {}").format(sql.Identifier(database), clause))
