# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a backup, and the parser that counts a dump's rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.copy_stream import RowCounter, UnexpectedEnd
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.manifest import (
    BackupNotTrusted,
    check_database,
    check_files,
    check_row_counts,
    check_server,
    read,
    render,
    seal,
)

FILES = {"dump/toc.dat": {"sha256": "aa", "bytes": 3}, "dump/1.dat": {"sha256": "bb", "bytes": 4}}

DUMP = b"""--
SET x = 0;
COPY public.a (id, b) FROM stdin;
1\tx
2\tCOPY public.z (a) FROM stdin;
\\\\.
\\.


-- Name: x
COPY public."Odd ""T.a FROM stdin;
COPY x.y (z) FROM stdin;" ("a)b", "FROM stdin;
") FROM stdin;
1
\\.
COPY "S p".e (a) FROM stdin;
\\.
SELECT pg_catalog.setval('public.s', 1, true);
COPY public.n  FROM stdin;


\\.
"""

COUNTED = {
    ("public", "a"): 3,
    ("public", 'Odd "T.a FROM stdin;\nCOPY x.y (z) FROM stdin;'): 1,
    ("S p", "e"): 0,
    ("public", "n"): 2,
}


def content(**more: Any) -> dict[str, Any]:
    return {
        "backup_id": "shop-1",
        "database": {"name": "shop é"},
        "server_version": 160014,
        "dump_version": 160014,
        "files": FILES,
        "locale": {},
        "properties": {},
        "fingerprint": {"tables": {'public."A b"': {"rows": 2}}},
        **more,
    }


def test_sealed_manifest_is_read_back() -> None:
    manifest = seal(content(), "key")
    assert read(render(manifest), "key") == manifest
    assert read(render(manifest)) == manifest
    assert read(render(seal(content())))["signature"] is None


@pytest.mark.parametrize(
    "saved_again",
    [
        lambda text: json.dumps(json.loads(text)),
        lambda text: text + "\n",
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("é", "\\u00e9"),
        lambda text: text.replace("{\n", '{\n "backup_id": "another",\n', 1),
    ],
    ids=["other spaces", "an empty line", "other line ends", "other letters", "a key twice"],
)
def test_same_content_in_other_bytes_is_refused(saved_again: Callable[[str], str]) -> None:
    text = render(seal(content(), "key"))
    assert saved_again(text) != text
    with pytest.raises(BackupNotTrusted, match="not written as it was"):
        read(saved_again(text), "key")


@pytest.mark.parametrize(
    ("edit", "key", "reason"),
    [
        ({"server_version": 150000}, None, "edited or damaged"),
        ({"server_version": 150000}, "key", "another key, or was edited"),
        ({}, "other key", "another key, or was edited"),
        ({"signature": None}, "key", "not signed"),
        ({"signature": ""}, "key", "not signed"),
        ({"format": 2}, None, "format"),
        ({"digest": None}, None, "edited or damaged"),
    ],
)
def test_edited_manifest_is_refused(edit: dict[str, Any], key: str | None, reason: str) -> None:
    text = json.dumps({**seal(content(), "key"), **edit})
    with pytest.raises(BackupNotTrusted, match=reason):
        read(text, key)


def test_what_is_no_manifest_is_refused() -> None:
    for text in ("", "[]", "{", "{}"):
        with pytest.raises(BackupNotTrusted):
            read(text)
    incomplete = {key: value for key, value in content().items() if key != "files"}
    with pytest.raises(BackupNotTrusted, match="lacks files"):
        read(render(seal(incomplete)))


def test_files() -> None:
    manifest = seal(content())
    check_files(manifest, FILES)
    toc, data = FILES.values()
    for found, reason in (
        ({"dump/toc.dat": toc}, "dump/1.dat is missing"),
        ({**FILES, "dump/2.dat": data}, "dump/2.dat does not belong to it"),
        ({"dump/toc.dat": data, "dump/1.dat": toc}, "has 4 bytes instead of 3"),
        ({**FILES, "dump/1.dat": {"sha256": "cc", "bytes": 4}}, "dump/1.dat was changed"),
    ):
        with pytest.raises(BackupNotTrusted, match=reason):
            check_files(manifest, found)


def test_server_must_not_be_older() -> None:
    check_server(content(), 160001)
    check_server(content(), 180004)
    with pytest.raises(Refused, match="made from PostgreSQL 16; this server is PostgreSQL 15"):
        check_server(content(), 150018)


def test_row_counts() -> None:
    assert check_row_counts(content(), {("public", "A b"): 2, ("public", "other"): 1}) == []
    assert "has 1 rows in the dump, 2" in check_row_counts(content(), {("public", "A b"): 1})[0]
    assert "None rows" in check_row_counts(content(), {})[0]


@pytest.mark.parametrize("size", [*range(1, 40), len(DUMP)])
def test_rows_are_counted_however_the_stream_is_cut(size: int) -> None:
    counter = RowCounter()
    for start in range(0, len(DUMP), size):
        counter.feed(DUMP[start : start + size])
    assert counter.finish() == COUNTED


@pytest.mark.parametrize("left", [60, -3])
def test_stream_that_ends_in_a_block(left: int) -> None:
    counter = RowCounter()
    counter.feed(DUMP[:left])
    with pytest.raises(UnexpectedEnd):
        counter.finish()


def test_a_backup_of_another_database_is_refused_by_name() -> None:
    manifest = seal(content(database={"name": "shop", "system_identifier": "7001"}))
    check_database(manifest, "shop")
    check_database(manifest, "shop", "7001")
    with pytest.raises(Refused, match="is of the database 'shop', not of 'shop_test'"):
        check_database(manifest, "shop_test")
    with pytest.raises(Refused, match="on another server") as refusal:
        check_database(manifest, "shop", "7002")
    assert "other_server=true" in refusal.value.remedy


def test_a_header_that_is_cut_in_its_first_line_is_put_together() -> None:
    counter = RowCounter()
    for part in (b"COPY public.a", b' ("b\n', b'c") FROM stdin;\n', b"1\n", b"\\.\n"):
        counter.feed(part)
    assert counter.finish() == {("public", "a"): 1}
