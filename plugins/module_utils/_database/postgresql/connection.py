# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to a PostgreSQL server: connections, the environment of client tools, and URLs for migration tools."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode

from ..._domain.errors import Refused
from ..._driver import one_row, psycopg2, require_psycopg2

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from psycopg2.extensions import connection as Connection

MAINTENANCE_DATABASE = "postgres"

_ENVIRONMENT = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "service": "PGSERVICE",
    "options": "PGOPTIONS",
    "application_name": "PGAPPNAME",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslcertmode": "PGSSLCERTMODE",
    "sslcompression": "PGSSLCOMPRESSION",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslsni": "PGSSLSNI",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
    "gssdelegation": "PGGSSDELEGATION",
    "gsslib": "PGGSSLIB",
    "krbsrvname": "PGKRBSRVNAME",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
    "min_protocol_version": "PGMINPROTOCOLVERSION",
    "max_protocol_version": "PGMAXPROTOCOLVERSION",
    "requirepeer": "PGREQUIREPEER",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "require_auth": "PGREQUIREAUTH",
    "client_encoding": "PGCLIENTENCODING",
}
"""libpq's parameters and the environment variables of the same meaning (PostgreSQL documentation, 34.15)."""

_OURS = ("dbname", "application_name", "options", "client_encoding")
"""What the environment that we were started in has no say in."""

_SERVICE_FILES = ("PGSERVICEFILE", "PGSYSCONFDIR")

_PLAIN_IN_PATH = ";:@&=+$,"
"""What may stand in a URL's path as it is, and stay encoded where node's pg decodes it (with ``decodeURI``)."""

DEMANDING_MODES = ("require", "verify-ca", "verify-full")
"""Values of C(sslmode) with which nothing may go unencrypted."""


class Identity(NamedTuple):
    """What makes a database this one and no other, whatever URL leads to it."""

    system_identifier: str
    oid: int


class Unreachable(Refused):
    """The server, the role or the database did not let us in."""


class Server:
    """The server behind a database URL.

    Args:
        database_url: the URL under which the application knows its database, ``postgresql://…``.
        admin_url: the direct way to the same server, past a pooler, when there is one. Its database, by default
            ``postgres``, is where the run's lock is held: all controllers must name the same one.
        application_name: how our sessions are called in ``pg_stat_activity``.

    Raises:
        Refused: a URL is not one that libpq can read, or names no database.
    """

    def __init__(
        self, database_url: str, admin_url: str | None = None, *, application_name: str = "balcon.rollback"
    ) -> None:
        require_psycopg2()
        public = _parse(database_url, "rollback_database_url")
        if not public.get("dbname"):
            raise Refused(
                "The database URL names no database.",
                untouched="Nothing was touched.",
                remedy="Write it in full: postgresql://user:password@host:5432/database, with special characters "
                "percent-encoded (@ is %40).",
            )
        self.database: str = public["dbname"]
        direct = _parse(admin_url, "rollback_admin_url") if admin_url else public
        maintenance = direct.get("dbname") if admin_url else None
        self.maintenance_database: str = (
            maintenance if maintenance and maintenance != self.database else MAINTENANCE_DATABASE
        )
        self.application_name = application_name
        self._given = _completed(direct)
        direct = self._given
        self._parameters = {"connect_timeout": "10", **direct, "application_name": application_name}

    def parameters(self, database: str | None = None) -> dict[str, str]:
        """Return libpq's parameters for a database of this server, by default the one of the URL."""
        return {**self._parameters, "dbname": database or self.database}

    def beside(self, database: str) -> Server:
        """Return the same server with another database in the place of the URL's."""
        other = copy(self)
        other.database = database
        return other

    @contextmanager
    def connect(self, database: str | None = None, *, autocommit: bool = False) -> Iterator[Connection]:
        """Connect straight to a database; commit at the end, roll back when something is raised, and always close.

        Args:
            database: its name; by default the one of the URL.
            autocommit: every statement is a transaction of its own.

        Raises:
            Unreachable: the server, the role or the database does not let us in; its reason is in the message.
        """
        parameters = self.parameters(database)
        try:
            connection = psycopg2.connect(**parameters)  # type: ignore[call-overload]  # the stubs know no dictionary of libpq parameters
        except psycopg2.OperationalError as error:
            raise Unreachable(
                f"Cannot connect to database {self._explained(parameters['dbname'])} as "
                f"{parameters.get('user', 'the default user')!r} on {parameters.get('host', 'the default host')}:"
                f"{parameters.get('port', '5432')}: {str(error).strip()}",
                remedy=_way_in(str(error)),
                database=parameters["dbname"],
            ) from None
        connection.autocommit = autocommit
        try:
            yield connection
            if not autocommit:
                connection.commit()
        finally:
            connection.close()

    def _explained(self, database: str) -> str:
        """Name a database for a message; say why it is asked for where the URL names another one."""
        if database in (self.database, self._given.get("dbname")):
            return repr(database)
        return f"{database!r} (from which {self.database!r} is worked on)"

    def admin(self, *, autocommit: bool = True) -> AbstractContextManager[Connection]:
        """Connect to the maintenance database: the way to work on a database from outside."""
        return self.connect(self.maintenance_database, autocommit=autocommit)

    def environment(self, database: str | None = None) -> dict[str, str]:
        """Return the PG* variables that lead PostgreSQL's client tools to a database: no secret in their arguments.

        Raises:
            Refused: the URL has a parameter that has no variable.
        """
        parameters = self.parameters(database)
        unknown = sorted(set(parameters) - set(_ENVIRONMENT))
        if unknown:
            raise Refused(
                f"PostgreSQL's client tools take no environment variable for {', '.join(unknown)} of the URL.",
                untouched="Nothing was touched.",
                remedy="Leave it out of the URL, or put it into a service file (PGSERVICEFILE).",
            )
        files = {name: os.environ[name] for name in _SERVICE_FILES if name in os.environ}
        return {**files, **{_ENVIRONMENT[name]: value for name, value in parameters.items()}}

    @property
    def demands_encryption(self) -> bool:
        """Whether the URL says that nothing may go unencrypted; a socket on this machine never is."""
        local = self._given.get("host", "").startswith(("/", "@")) and "hostaddr" not in self._given
        return self._given.get("sslmode") in DEMANDING_MODES and not local

    def encryption_environment(self) -> dict[str, str]:
        """Return the PGSSL… variables for a tool that takes no sslmode from its URL; none where it is not demanded."""
        if not self.demands_encryption:
            return {}
        names = [name for name in self._given if name.startswith("ssl") and name in _ENVIRONMENT]
        return {_ENVIRONMENT[name]: self._given[name] for name in names}

    def url(self, database: str | None = None) -> str:
        """Return a URL for a migration tool; only for its environment, never for an argument list or an output."""
        return make_url({**self._given, "dbname": database or self.database})

    def identity(self, database: str | None = None) -> Identity:
        """Return what tells this database from every other one.

        Raises:
            Refused: there is no such database on the server.
        """
        name = database or self.database
        with self.admin() as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT (SELECT system_identifier FROM pg_control_system())::text, "
                "(SELECT oid FROM pg_database WHERE datname = %s)::bigint",
                [name],
            )
            system_identifier, oid = one_row(cursor)
        if oid is None:
            raise Refused(
                f"There is no database {name!r} on this server.",
                untouched="Nothing was touched.",
                remedy="Check the name in the URL: capitals and spaces count.",
                database=name,
            )
        return Identity(system_identifier, oid)


def make_url(parameters: Mapping[str, str]) -> str:
    """Write libpq's parameters as a URL, everything that needs it percent-encoded."""
    rest = {key: value for key, value in parameters.items() if key not in ("user", "password", "dbname")}
    hosts = "" if "/" in rest.get("host", "") else rest.pop("host", "")
    ports = "" if "," in rest.get("port", "") and not hosts else rest.pop("port", "")
    credentials = quote(parameters.get("user", ""), safe="")
    if "password" in parameters:
        credentials += ":" + quote(parameters["password"], safe="")
    query = "?" + urlencode(rest, quote_via=quote) if rest else ""
    at = "@" if credentials else ""
    path = quote(parameters["dbname"], safe=_PLAIN_IN_PATH)
    return f"postgresql://{credentials}{at}{_addresses(hosts, ports)}/{path}{query}"


def _addresses(hosts: str, ports: str) -> str:
    """Write the hosts of a URL, each with its port: one port alone is that of every host, as libpq has it."""
    names, numbers = hosts.split(","), ports.split(",")
    if len(numbers) == 1:
        numbers *= len(names)
    written = (f"[{quote(name, safe=':')}]" if ":" in name else quote(name, safe="") for name in names)
    return ",".join(f"{name}:{number}" if number else name for name, number in zip(written, numbers))


def _parse(url: str, variable: str) -> dict[str, str]:
    if not url.startswith(("postgresql://", "postgres://")):
        raise Refused(
            f"{variable} is not a PostgreSQL URL: it does not begin with postgresql://.",
            untouched="Nothing was touched.",
            remedy="Write it as postgresql://user:password@host:5432/database.",
        )
    try:
        parameters = dict(psycopg2.extensions.parse_dsn(url))
    except psycopg2.ProgrammingError as error:
        raise _unreadable(variable, _without_url(str(error), url)) from None
    if "@" in parameters.get("host", "")[1:]:  # what libpq takes for the host begins inside the password
        raise _unreadable(variable, "there is an @ before the host that is not percent-encoded")
    return parameters


def _completed(parameters: dict[str, str]) -> dict[str, str]:
    """Take what a URL leaves open from the environment, as libpq does; what we start afterwards then gets it too.

    Client tools and migration tools are started with an environment of their own: without this, a C(PGHOST) or a
    C(PGSSLMODE) that we were started with would lead us to one server, or to a proven one, and them to another.
    """
    names = [name for name in _ENVIRONMENT if name not in _OURS and os.environ.get(_ENVIRONMENT[name])]
    if "service" in parameters or "service" in names:  # the service's file comes before the environment
        names = [name for name in names if name == "service"]
    return {**{name: os.environ[_ENVIRONMENT[name]] for name in names}, **parameters}


def _way_in(reason: str) -> str:
    """Say what to do about a refused connection."""
    if "certificate" in reason or "SSL" in reason:
        return (
            "The server did not prove that it is the one of the URL, or the connection could not be encrypted. Do not"
            " lower sslmode: compare host name, sslrootcert and dates of the certificate with: openssl s_client"
            " -starttls postgres -connect <host>:<port>"
        )
    return (
        "Check the URL in the inventory (or the environment variable that it reads) with psql, from the host where"
        " the tools run."
    )


def _unreadable(variable: str, reason: str) -> Refused:
    return Refused(
        f"{variable} cannot be read: {reason}.",
        untouched="Nothing was touched.",
        remedy="Percent-encode special characters in user and password: @ is %40, : is %3A, / is %2F, % is %25.",
    )


def _without_url(message: str, url: str) -> str:
    """Cut libpq's quotation of the URL, or of a part of it, out of a message: it may hold the password."""
    reason = message.strip().split('"')[0].strip(" :,")
    return reason if url not in reason else "libpq refuses it"
