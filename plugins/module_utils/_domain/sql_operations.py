# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads operations out of SQL statements of PostgreSQL. What it does not know, it leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from .operations import Operation
from .sql_text import BODY, HOLE, NAME, STRING, SYMBOL, WORD, Statement, Token, statements_in_body

_SERIAL = ("serial", "bigserial", "smallserial", "serial4", "serial8", "serial2")

_VOLATILE = (
    "random", "gen_random_uuid", "uuid_generate_v4", "uuid_generate_v1", "uuidv4", "uuidv7", "clock_timestamp",
    "timeofday", "nextval",
)  # fmt: skip
"""Functions whose value differs from row to row: a column with such a default rewrites the table."""

_END_OF_TYPE = (
    "not", "null", "default", "primary", "unique", "references", "check", "constraint", "generated", "collate", "using",
    "storage", "compression", "deferrable", "initially",
)  # fmt: skip


class Words:
    """The tokens of a statement, read from left to right."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = list(tokens)
        self.position = 0

    def at(self, *words: str) -> bool:
        """Tell whether these words come next."""
        following = self.tokens[self.position : self.position + len(words)]
        return [token.text for token in following if token.kind == WORD] == list(words)

    def take(self, *words: str) -> bool:
        """Go behind these words if they come next; tell whether they did."""
        found = self.at(*words)
        self.position += len(words) * found
        return found

    def take_any(self, *phrases: str) -> str:
        """Go behind the first of these phrases that comes next, and return it, or ""."""
        return next((phrase for phrase in phrases if self.take(*phrase.split())), "")

    def name(self) -> str:
        """Go behind a name, with its schema, and return it; C(public) is left out."""
        parts = [self._part()]
        while self._symbol("."):
            parts.append(self._part())
        return ".".join(parts[1:] if len(parts) > 1 and parts[0] == "public" else parts)

    def names(self) -> list[str]:
        """Go behind a list of names."""
        found = [self.name()]
        while self._symbol(","):
            found.append(self.name())
        return found

    def rest(self) -> list[Token]:
        """Return what was not read yet."""
        return self.tokens[self.position :]

    def has(self, *words: str) -> bool:
        """Tell whether these words, one after the other, are anywhere in what was not read yet."""
        texts = [token.text if token.kind == WORD else "" for token in self.rest()]
        return any(texts[start : start + len(words)] == list(words) for start in range(len(texts)))

    def calls(self, functions: Sequence[str]) -> bool:
        """Tell whether one of these functions is called in what was not read yet."""
        return any(token.kind == WORD and token.text in functions for token in self.rest())

    def of_type(self) -> str:
        """Go behind a type, and return it."""
        start, depth = self.position, 0
        while self.position < len(self.tokens):
            token = self.tokens[self.position]
            depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == SYMBOL else 0
            if depth <= 0 and token.kind == WORD and token.text in _END_OF_TYPE:
                break
            self.position += 1
        return spelled(self.tokens[start : self.position])

    def parts(self) -> list[Words]:
        """Split what was not read yet at its commas, those in parentheses left out."""
        parts: list[list[Token]] = [[]]
        depth = 0
        for token in self.rest():
            depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == SYMBOL else 0
            if token.kind == SYMBOL and token.text == "," and depth == 0:
                parts.append([])
            else:
                parts[-1].append(token)
        return [Words(part) for part in parts if part]

    def _part(self) -> str:
        if self.position >= len(self.tokens):
            return ""
        token = self.tokens[self.position]
        if token.kind not in (WORD, NAME, HOLE):
            return ""
        self.position += 1
        return token.text

    def _symbol(self, text: str) -> bool:
        token = self.tokens[self.position] if self.position < len(self.tokens) else None
        found = token is not None and token.kind == SYMBOL and token.text == text
        self.position += found
        return found


def spelled(tokens: Sequence[Token]) -> str:
    """Return tokens as text: C(varchar(20)), C(double precision)."""
    text = " ".join(token.text for token in tokens)
    for space in (" (", "( ", " )", " ,", " [", "[ ", " ]"):
        text = text.replace(space, space.strip())
    return text


def read_operations(statements: Sequence[Statement]) -> list[Operation]:
    """Return what SQL statements do, in their order.

    Args:
        statements: as `sql_text.read_statements` returned them.
    """
    return [operation for statement in statements for operation in _read(statement)]


def _read(statement: Statement) -> Iterator[Operation]:
    words = Words(statement.tokens)
    for start, reader in _READERS:
        if words.take(*start.split()):
            yield from reader(words, statement.line)
            return
    if statement.tokens[0].kind == HOLE:
        yield Operation("unread", statement.line, what=statement.tokens[0].text)


def _create_table(words: Words, line: int) -> Iterator[Operation]:
    flags = frozenset({"conditional"} if words.take("if", "not", "exists") else ())
    yield Operation("create_table", line, words.name(), flags=flags)


def _create_index(words: Words, line: int) -> Iterator[Operation]:
    flags = frozenset({"concurrently"} if words.take("concurrently") else ())
    words.take("if", "not", "exists")
    name = "" if words.at("on") else words.name()
    words.take("on")
    words.take("only")
    yield Operation("create_index", line, words.name(), what=name, flags=flags)


def _drop_table(words: Words, line: int) -> Iterator[Operation]:
    words.take("if", "exists")
    for table in words.names():
        yield Operation("drop_table", line, table)


def _drop_schema(words: Words, line: int) -> Iterator[Operation]:
    words.take("if", "exists")
    for name in words.names():
        yield Operation("drop_table", line, what=f"schema {name}")


def _drop_index(words: Words, line: int) -> Iterator[Operation]:
    flags = frozenset({"concurrently"} if words.take("concurrently") else ())
    words.take("if", "exists")
    for name in words.names():
        yield Operation("drop_index", line, what=name, flags=flags)


def _truncate(words: Words, line: int) -> Iterator[Operation]:
    words.take("table")
    words.take("only")
    for table in words.names():
        yield Operation("delete_rows", line, table, what="TRUNCATE")


def _delete(words: Words, line: int) -> Iterator[Operation]:
    words.take("only")
    table = words.name()
    yield Operation("delete_rows", line, table, what="DELETE", flags=_where(words))


def _update(words: Words, line: int) -> Iterator[Operation]:
    words.take("only")
    table = words.name()
    yield Operation("write_rows", line, table, what="UPDATE", flags=_where(words))


def _insert(words: Words, line: int) -> Iterator[Operation]:
    yield Operation("write_rows", line, words.name(), what="INSERT", flags=frozenset({"where"}))


def _where(words: Words) -> frozenset[str]:
    return frozenset({"where"} if words.has("where") else ())


def _select(words: Words, line: int) -> Iterator[Operation]:
    if words.has("count"):
        yield Operation("count_rows", line)


def _with(words: Words, line: int) -> Iterator[Operation]:
    for phrase in ("delete from", "update", "insert into"):
        if words.has(*phrase.split()):
            yield Operation("write_rows", line, what=phrase.upper(), flags=frozenset({"where"}))


def _do(words: Words, _line: int) -> Iterator[Operation]:
    for token in words.rest():
        if token.kind == BODY:
            for statement in statements_in_body(token):
                yield from _read(statement)


def _execute(words: Words, line: int) -> Iterator[Operation]:
    """Read dynamic SQL of a procedural body, where it is a plain string."""
    from .sql_text import read_statements

    tokens = words.rest()
    if len(tokens) == 1 and tokens[0].kind == STRING:
        yield from read_operations(read_statements(tokens[0].text, tokens[0].line)[0])
    elif tokens and tokens[0].text not in ("function", "procedure"):
        yield Operation("unread", line, what="EXECUTE")


def _rename_type(words: Words, line: int) -> Iterator[Operation]:
    name = words.name()
    if words.take("add", "value"):
        yield Operation("add_enum_value", line, what=name)


def _heavy(phrase: str) -> Callable[[Words, int], Iterator[Operation]]:
    def read(words: Words, line: int) -> Iterator[Operation]:
        if not words.has("concurrently"):
            words.take_any("table", "index", "schema", "database", "only")
            yield Operation("lock", line, words.name(), what=phrase)

    return read


def _vacuum(words: Words, line: int) -> Iterator[Operation]:
    if words.has("full"):
        yield Operation("lock", line, what="VACUUM FULL")


def _alter_table(words: Words, line: int) -> Iterator[Operation]:
    words.take("if", "exists")
    words.take("only")
    table = words.name()
    for action in words.parts():
        for start, reader in _ACTIONS:
            if action.take(*start.split()):
                # The line of the statement: a suppression stands above it.
                yield from reader(action, table, line)
                break


def _add_column(words: Words, table: str, line: int) -> Iterator[Operation]:
    words.take("if", "not", "exists")
    column = words.name()
    type_ = words.of_type()
    yield Operation("add_column", line, table, column, type_, frozenset(_column_flags(words, type_)))


def _column_flags(words: Words, type_: str) -> Iterator[str]:
    serial = type_ in _SERIAL
    if words.has("not", "null") or words.has("primary", "key") or serial:
        yield "not_null"
    if words.has("default") or words.has("generated"):
        yield "default"
    if words.has("default") and words.calls(_VOLATILE):
        yield "volatile_default"
    if serial or words.has("generated"):
        yield "computed"
        yield "default"
    for phrase in ("unique", "primary key", "references"):
        if words.has(*phrase.split()):
            yield phrase.replace(" ", "_")


def _add_constraint(words: Words, table: str, line: int) -> Iterator[Operation]:
    if words.take("constraint"):
        words.name()
    kind = words.take_any("foreign key", "check", "unique", "primary key", "exclude", "not null")
    if not kind:
        return
    flags = {"not_valid"} if words.has("not", "valid") else set()
    flags |= {"using_index"} if words.has("using", "index") else set()
    column = words.name() if kind == "not null" else ""
    if kind == "check" and words.has("is", "not", "null"):
        flags |= {"proves_not_null"}
        column = next((token.text for token in words.rest() if token.kind in (WORD, NAME)), "")
    yield Operation("add_constraint", line, table, column, kind, frozenset(flags))


def _validate(words: Words, table: str, line: int) -> Iterator[Operation]:
    yield Operation("validate", line, table, what=words.name())


def _drop_column(words: Words, table: str, line: int) -> Iterator[Operation]:
    words.take("if", "exists")
    yield Operation("drop_column", line, table, words.name())


def _alter_column(words: Words, table: str, line: int) -> Iterator[Operation]:
    column = words.name()
    if words.take_any("set data type", "type"):
        yield Operation("alter_type", line, table, column, words.of_type())
    elif words.take("set", "not", "null"):
        yield Operation("set_not_null", line, table, column)


def _rename(words: Words, table: str, line: int) -> Iterator[Operation]:
    if words.take("to"):
        yield Operation("rename_table", line, table, what=words.name())
    elif not words.at("constraint"):
        words.take("column")
        column = words.name()
        words.take("to")
        yield Operation("rename_column", line, table, column, words.name())


def _set(words: Words, table: str, line: int) -> Iterator[Operation]:
    heavy = words.take_any("logged", "unlogged", "tablespace", "access method")
    if heavy:
        yield Operation("rewrite", line, table, what=f"SET {heavy.upper()}")
    elif words.take("schema"):
        yield Operation("rename_table", line, table, what=f"{words.name()}.{table}")


def _add(words: Words, table: str, line: int) -> Iterator[Operation]:
    constraint = ("constraint", "foreign", "check", "unique", "primary", "exclude", "not")
    reader = _add_constraint if any(words.at(word) for word in constraint) else _add_column
    yield from reader(words, table, line)


_ACTIONS: list[tuple[str, Callable[[Words, str, int], Iterator[Operation]]]] = [
    ("add column", _add_column),
    ("drop constraint", lambda _words, _table, _line: iter(())),
    ("drop column", _drop_column),
    ("drop", _drop_column),
    ("alter column", _alter_column),
    ("alter constraint", lambda _words, _table, _line: iter(())),
    ("alter", _alter_column),
    ("rename", _rename),
    ("validate constraint", _validate),
    ("set", _set),
    ("add", _add),
]


_READERS: list[tuple[str, Callable[[Words, int], Iterator[Operation]]]] = [
    ("create table", _create_table),
    ("create unlogged table", _create_table),
    ("create temporary table", _create_table),
    ("create temp table", _create_table),
    ("create unique index", _create_index),
    ("create index", _create_index),
    ("drop table", _drop_table),
    ("drop schema", _drop_schema),
    ("drop index", _drop_index),
    ("alter table", _alter_table),
    ("alter type", _rename_type),
    ("truncate", _truncate),
    ("delete from", _delete),
    ("update", _update),
    ("insert into", _insert),
    ("select", _select),
    ("with", _with),
    ("do", _do),
    ("execute", _execute),
    ("lock", _heavy("LOCK TABLE")),
    ("reindex", _heavy("REINDEX")),
    ("cluster", _heavy("CLUSTER")),
    ("refresh materialized view", _heavy("REFRESH MATERIALIZED VIEW")),
    ("vacuum", _vacuum),
]
