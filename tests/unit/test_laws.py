# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold for any input: URLs, names, descriptions, journals and manifests, with input that is made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql import connection
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server, make_url
from ansible_collections.balcon.rollback.plugins.module_utils._domain import evidence as evidences
from ansible_collections.balcon.rollback.plugins.module_utils._domain import manifest as manifests
from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import (
    KEY,
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
EDITS = TEXT | st.sampled_from(
    ["\\ud800", "\\udc00\\ud800", "NaN", "1e999", '"ä"', "9" * 5000, "[" * 3000, "null", "{}"]
)
"""What somebody or something may have put into a file: what JSON lets through and Python stumbles over is among it."""
KEYS = st.text(min_size=1, max_size=20).filter(lambda key: key.isprintable())


@given(user=TEXT.filter(bool), password=TEXT.filter(bool), database=NAMES, other=NAMES)
def test_a_url_says_what_it_was_made_of_and_nothing_else(user: str, password: str, database: str, other: str) -> None:
    parts = {"host": "db.example", "port": "5433", "user": user, "password": password, "dbname": database}
    url = make_url(parts)
    assert parse_dsn(url) == parts
    assert Server(url).database == database
    assert parse_dsn(Server(url).url(other)) == {**parts, "dbname": other}


HOSTS = (
    "db.example",
    "10.0.0.1",
    "::1",
    "fe80::1%eth0",
    "ä.example",
    "one,two",
    "one,::1,three",
    "/var/run",
    "/a b,/c",
)
TAKEN = ("host", "port", "user", "password", "dbname", "application_name", "connect_timeout", "client_encoding")


def is_known(parameter: str) -> bool:
    """Tell whether the libpq that is here has a parameter: the newest ones are not everywhere."""
    try:
        return bool(parse_dsn(f"{parameter}=x"))
    except ProgrammingError:
        return False


OTHER_PARAMETERS = st.sampled_from(sorted(filter(is_known, set(connection._ENVIRONMENT) - set(TAKEN))))


@given(
    host=st.none() | st.sampled_from(HOSTS),
    ports=st.none() | st.lists(st.integers(1, 65535), min_size=3, max_size=3),
    rest=st.dictionaries(OTHER_PARAMETERS, TEXT.filter(bool), max_size=3),
    database=NAMES,
    one_port=st.booleans(),
)
def test_a_url_leads_every_tool_to_the_same_place(
    host: str | None, ports: list[int] | None, rest: dict[str, str], database: str, one_port: bool
) -> None:
    """psycopg2 by parameters, the client tools by their environment, a migration tool by a URL."""
    given = {**rest, "user": "anna", "dbname": "shop"}
    number = 1 if host is None else host.count(",") + 1
    if host is not None:
        given["host"] = host
    if ports is not None:
        given["port"] = str(ports[0]) if one_port else ",".join(map(str, ports[:number]))
    server = Server(make_url(given))
    places = [
        server.parameters(database),
        {name: server.environment(database)[variable] for name, variable in connection._ENVIRONMENT.items()
         if variable in server.environment(database)},
        parse_dsn(server.url(database)),
    ]  # fmt: skip
    expected = {**given, "dbname": database}
    if "port" in given and one_port:  # one port is that of every host
        expected["port"] = ",".join([given["port"]] * number)
    for place in places:
        port = place.pop("port", "")
        if port.strip(","):  # commas alone are how libpq says: of every host the usual one
            place["port"] = port if "," in port else ",".join([port] * number)
        assert {name: value for name, value in place.items() if name in expected} == expected
        assert set(place) - set(expected) <= {"connect_timeout", "application_name"}


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


TYPES: dict[str, Any] = {"lease_seconds": int, "original_comment": (str, type(None)), "data": dict}
FIELDS = ("run_id", "role", "state", "lease_until", "lease_seconds", "original_comment", "note", "data")


@given(content=st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON, cut=st.none() | st.integers(0, 40))
def test_a_comment_that_somebody_edited_is_taken_for_a_description_only_where_it_is_one(
    content: Any, cut: int | None
) -> None:
    description = parse_description(json.dumps({KEY: content})[:cut])
    if description is not None:
        for field in FIELDS:
            assert isinstance(getattr(description, field), TYPES.get(field, str))
        assert parse_description(render_description(description)) == description


def test_a_comment_without_end_is_somebodys() -> None:
    assert parse_description('{"balcon.rollback": ' + "[" * 3000) is None


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


@given(contents=st.lists(st.dictionaries(TEXT, JSON, max_size=2), min_size=2, max_size=5), data=st.data())
def test_lines_of_a_journal_that_changed_places_are_found(contents: list[dict[str, Any]], data: st.DataObject) -> None:
    lines = journal(contents)
    shuffled = data.draw(st.permutations(lines).filter(lambda order: order != lines))
    with pytest.raises(RollbackError):
        read_journal(shuffled)


@given(
    contents=st.lists(st.dictionaries(TEXT, JSON, max_size=2), min_size=1, max_size=4),
    others=st.lists(st.dictionaries(TEXT, JSON, max_size=2), min_size=1, max_size=4),
    data=st.data(),
)
def test_a_line_of_another_journal_is_found(
    contents: list[dict[str, Any]], others: list[dict[str, Any]], data: st.DataObject
) -> None:
    lines, foreign = journal(contents), journal(others)
    place = data.draw(st.integers(0, len(lines)))
    line = data.draw(st.sampled_from(foreign))
    assume(lines[:place] != foreign[: foreign.index(line)])  # the same up to there is the same journal
    with pytest.raises(RollbackError):
        read_journal([*lines[:place], line, *lines[place:]])


@given(contents=st.lists(st.dictionaries(TEXT, JSON, max_size=2), min_size=1, max_size=3), edit=EDITS, data=st.data())
def test_a_journal_that_was_written_into_is_refused_or_says_what_it_said(
    contents: list[dict[str, Any]], edit: str, data: st.DataObject
) -> None:
    text = "\n".join(journal(contents))
    assert_seen(lambda edited: read_journal(edited.split("\n")), text, edit, data)


def assert_seen(read: Callable[[str], object], text: str, edit: str, data: st.DataObject) -> None:
    """Assert that a text with an edit at any place is refused with a message, or reads as before."""
    whole = read(text)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 12)))
    try:
        found = read(text[:start] + edit + text[end:])
    except RollbackError:
        return
    assert found == whole


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


@given(content=CONTENTS, key=st.none() | KEYS, edit=EDITS, data=st.data())
def test_a_manifest_that_was_written_into_is_refused_or_says_what_it_said(
    content: dict[str, Any], key: str | None, edit: str, data: st.DataObject
) -> None:
    text = manifests.render(manifests.seal(content, key))
    assert_seen(lambda edited: manifests.read(edited, key), text, edit, data)


@given(content=CONTENTS, key=KEYS, signature=JSON)
def test_only_the_signature_of_the_key_lets_through(content: dict[str, Any], key: str, signature: Any) -> None:
    """Whoever edits a file can compute the digest again; the signature he can only make up, or leave out."""
    manifest = {**manifests.seal(content), "signature": signature}
    evidence = {**evidences.seal(content, None), "signature": signature}
    with pytest.raises(Refused):
        manifests.read(manifests.render(manifest), key)
    with pytest.raises(Refused):
        evidences.check_seal(evidence, key)
    evidences.check_seal(evidences.seal(content, key), key)


FILES = st.dictionaries(
    st.text("abc/.", min_size=1, max_size=4),
    st.fixed_dictionaries({"sha256": st.text("0123456789abcdef", min_size=64, max_size=64), "bytes": st.integers(0)}),
    max_size=5,
)


@given(wanted=FILES, found=FILES)
def test_every_file_that_is_not_as_the_manifest_says_is_named(wanted: dict[str, Any], found: dict[str, Any]) -> None:
    different = {name for name in {*wanted, *found} if wanted.get(name) != found.get(name)}
    if not different:
        manifests.check_files({"files": wanted}, found)
        return
    with pytest.raises(manifests.BackupNotTrusted) as refusal:
        manifests.check_files({"files": wanted}, found)
    for name in different:
        assert f"{name} " in refusal.value.message
