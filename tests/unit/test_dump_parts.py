# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of one table, cut out of the script that pg_restore prints, however the pipe cuts it into pieces."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql import dump_parts
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.dump_parts import RowsOfTable
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed

HEADER = b"SET x = 1;\n\nCOPY public.a (id, title) FROM stdin;\n"
END = b"\\.\n"
AFTER = b"\n\n--\n-- done\n--\n"

# What a value can hold in COPY's text format: a backslash begins an escape, and never stands alone in a line.
lines = st.lists(st.sampled_from([b"1\tone", b"", b"\\N", b"\\\\.", b"\\n\\.x", b".", b"\\.x"]), max_size=8)


class Pieces(io.BytesIO):
    """A pipe that gives so many bytes at a time."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self._size = size

    def read(self, _size: int | None = -1) -> bytes:
        return super().read(self._size)


def all_of(rows: RowsOfTable) -> bytes:
    return b"".join(iter(lambda: rows.read(8192), b""))


@given(rows=lines, size=st.integers(1, 40))
@example(rows=[], size=1)
def test_all_rows_come_and_nothing_else(rows: list[bytes], size: int) -> None:
    content = b"".join(row + b"\n" for row in rows)
    found = RowsOfTable(Pieces(HEADER + content + END + AFTER, size))
    assert found.statement == "COPY public.a (id, title) FROM stdin;"
    assert all_of(found) == content
    found.check_ended()


@given(rows=lines, size=st.integers(1, 40), cut=st.integers(1, 3))
def test_a_script_that_is_cut_short_is_told(rows: list[bytes], size: int, cut: int) -> None:
    content = b"".join(row + b"\n" for row in rows)
    found = RowsOfTable(Pieces(HEADER + (content + END)[:-cut], size))
    assert content.startswith(all_of(found))
    with pytest.raises(Failed, match="cut short"):
        found.check_ended()


def test_rows_of_many_pieces() -> None:
    content = b"x" * 10 * dump_parts._CHUNK + b"\n"
    found = RowsOfTable(io.BytesIO(HEADER + content + END))
    assert len(found.read()) + len(all_of(found)) == len(content)
