# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SQLite's own text of a table says, in every way of writing it."""

from __future__ import annotations

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.sqlite_schema import (
    normalised,
    parse_table,
    quote_identifier,
    unquoted,
)

TABLE = '''
CREATE TABLE "odd ""name""" ( -- a remark, with ( and ,
  id INTEGER PRIMARY KEY AUTOINCREMENT, /* another ) */
  `email` VARCHAR(255) NOT NULL COLLATE NOCASE UNIQUE,
  [full name] TEXT DEFAULT 'a, b) CHECK (' CHECK ("full name" <> ' '),
  price DECIMAL(12, 2) CHECK (price >= 0) CHECK (price < 100),
  doubled INTEGER GENERATED ALWAYS AS (price * 2) STORED,
  CONSTRAINT sane CHECK (id > 0 AND length(email) > 3),
  FOREIGN KEY (id) REFERENCES other (id)
) STRICT, WITHOUT  ROWID
'''


def test_a_table_is_taken_apart() -> None:
    text = parse_table('odd "name"', TABLE)
    assert list(text.columns) == ["id", "email", "full name", "price", "doubled"]
    assert text.columns["email"].collation == "NOCASE"
    assert text.columns["full name"].checks == ["\"full name\" <> ' '"]
    assert text.columns["price"].checks == ["price >= 0", "price < 100"]
    assert text.columns["doubled"].expression == "price * 2"
    assert text.checks == ["id > 0 AND length ( email ) > 3"]
    assert text.autoincrement
    assert text.options == ["STRICT", "WITHOUT ROWID"]


def test_without_autoincrement() -> None:
    assert not parse_table("t", "CREATE TABLE t (autoincrement_of TEXT)").autoincrement


@pytest.mark.parametrize("sql", ["", "CREATE TABLE t", "CREATE TABLE t (a"])
def test_what_is_no_table(sql: str) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        parse_table("t", sql)


def test_the_same_written_in_two_ways() -> None:
    one = "CREATE INDEX `by_name` ON [users] (`name`) -- why"
    other = 'CREATE  INDEX by_name\nON "users" ("name")'
    assert normalised(one) == normalised(other) == "CREATE INDEX by_name ON users ( name )"
    assert normalised("SELECT 'a  b'") == "SELECT 'a  b'"


@pytest.mark.parametrize("name", ["users", "Users", 'a"b', "a b", "käse", "1st", ""])
def test_quoted_and_back(name: str) -> None:
    assert unquoted(quote_identifier(name)) == name


def test_an_empty_part_is_no_column() -> None:
    assert list(parse_table("t", "CREATE TABLE t (a,, b)").columns) == ["a", "b"]
