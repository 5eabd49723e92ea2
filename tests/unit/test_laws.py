# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold for any input: URLs, names, descriptions, journals and manifests, with input that is made up."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server, make_url
from ansible_collections.balcon.rollback.plugins.module_utils._domain import manifest as manifests
from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import (
    Description,
    parse_description,
    render_description,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused, RollbackError
from ansible_collections.balcon.rollback.plugins.module_utils._domain.journal import (
    next_event,
    read_journal,
    render_event,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import (
    MAXIMUM_NAME_BYTES,
    PURPOSES,
    derived_name,
    new_run_id,
    parse_derived_name,
)

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=63)
RUN_IDS = st.builds(
    new_run_id,
    st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2099, 1, 1)),  # noqa: DTZ001  # the caller's UTC
    st.text("0123456789abcdef", min_size=4, max_size=4),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXT, values, max_size=3),
    max_leaves=8,
)
CONTENTS = st.fixed_dictionaries(
    {
        "backup_id": TEXT,
        "database": JSON,
        "server_version": st.integers(150000, 190000),
        "dump_version": st.integers(150000, 190000),
        "files": st.dictionaries(TEXT, JSON, max_size=3),
        "locale": JSON,
        "properties": JSON,
        "fingerprint": JSON,
    }
)
KEYS = st.text(min_size=1, max_size=20).filter(lambda key: key.isprintable())


@given(user=TEXT.filter(bool), password=TEXT.filter(bool), database=NAMES, other=NAMES)
def test_a_url_says_what_it_was_made_of_and_nothing_else(user: str, password: str, database: str, other: str) -> None:
    parts = {"host": "db.example", "port": "5433", "user": user, "password": password, "dbname": database}
    url = make_url(parts)
    assert parse_dsn(url) == parts
    assert Server(url).database == database
    assert parse_dsn(Server(url).url(other)) == {**parts, "dbname": other}


@given(rest=TEXT)
def test_a_url_that_cannot_be_read_is_refused_without_its_password(rest: str) -> None:
    try:
        Server(f"postgresql://anna:c4n4ryc4n4ry{rest}@db.example/shop")
    except Refused as refused:
        assert "c4n4ry" not in refused.text()  # noqa: PT017  # most of these URLs can be read


@given(database=NAMES, purpose=st.sampled_from(PURPOSES), run_id=RUN_IDS)
def test_a_derived_name_fits_and_says_whose_it_is(database: str, purpose: str, run_id: str) -> None:
    name = derived_name(database, purpose, run_id)
    assert len(name.encode()) <= MAXIMUM_NAME_BYTES
    parts = parse_derived_name(name)
    assert parts is not None
    assert (parts.purpose, parts.run_id) == (purpose, run_id)


@given(stem=NAMES, first=TEXT, second=TEXT, purpose=st.sampled_from(PURPOSES), run_id=RUN_IDS)
def test_two_databases_never_share_a_derived_name(
    stem: str, first: str, second: str, purpose: str, run_id: str
) -> None:
    assume(first != second)
    longest = "x" * 40 + stem
    assert derived_name(longest + first, purpose, run_id) != derived_name(longest + second, purpose, run_id)


@given(run_id=RUN_IDS, note=TEXT, comment=st.none() | TEXT, data=st.dictionaries(TEXT, JSON, max_size=3))
def test_a_description_survives_the_comment_it_is_kept_in(
    run_id: str, note: str, comment: str | None, data: dict[str, Any]
) -> None:
    description = Description(run_id=run_id, role="candidate", note=note, original_comment=comment, data=data)
    assert parse_description(render_description(description)) == description


@given(comment=st.none() | TEXT | JSON.map(str))
def test_any_comment_can_be_looked_at(comment: str | None) -> None:
    assert parse_description(comment) is None


def journal(contents: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a journal with these events."""
    events: list[dict[str, Any]] = []
    for content in contents:
        events.append(next_event(events[-1] if events else None, {"data": content}))
    return [render_event(event) for event in events]


@given(contents=st.lists(st.dictionaries(TEXT, JSON, max_size=3), max_size=5))
def test_a_journal_reads_as_it_was_written(contents: list[dict[str, Any]]) -> None:
    assert [event["data"] for event in read_journal(journal(contents))] == contents


@given(contents=st.lists(st.dictionaries(TEXT, JSON, max_size=2), min_size=1, max_size=4), data=st.data())
def test_any_other_character_in_a_journal_is_found(contents: list[dict[str, Any]], data: st.DataObject) -> None:
    lines = journal(contents)
    number = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[number]) - 1))
    other = data.draw(st.characters(exclude_characters=lines[number][place], exclude_categories=["Cs"]))
    lines[number] = lines[number][:place] + other + lines[number][place + 1 :]
    with pytest.raises(RollbackError):
        read_journal(lines)


@given(contents=st.lists(st.dictionaries(TEXT, JSON, max_size=2), min_size=2, max_size=5), data=st.data())
def test_a_line_that_is_taken_out_of_a_journal_is_missed(contents: list[dict[str, Any]], data: st.DataObject) -> None:
    lines = journal(contents)
    del lines[data.draw(st.integers(0, len(lines) - 2))]
    with pytest.raises(RollbackError):
        read_journal(lines)


@given(content=CONTENTS, key=st.none() | KEYS)
def test_a_manifest_reads_as_it_was_sealed(content: dict[str, Any], key: str | None) -> None:
    manifest = manifests.seal(content, key)
    assert manifests.read(manifests.render(manifest), key) == manifest


@given(content=CONTENTS, changed=st.sampled_from(["backup_id", "server_version", "files"]), value=JSON, key=KEYS)
def test_a_manifest_that_was_edited_is_refused(content: dict[str, Any], changed: str, value: Any, key: str) -> None:
    assume(content[changed] != value or type(content[changed]) is not type(value))
    manifest = manifests.seal(content)
    with pytest.raises(RollbackError):
        manifests.read(manifests.render({**manifest, changed: value}))
    resealed = manifests.seal({**content, changed: value}, "another " + key)
    with pytest.raises(RollbackError):
        manifests.read(manifests.render(resealed), key)
