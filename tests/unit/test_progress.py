# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.progress import (
    Activity,
    Pace,
    amount,
    printable,
    progress_line,
    subject_of,
)
from ansible_collections.balcon.rollback.plugins.module_utils._progress import FOLDER, PREFIX, Reporter


@pytest.mark.parametrize(
    ("activity", "text"),
    [
        (Activity("restore into shop"), "restore into shop"),
        (Activity("copy", unit="bytes", total=3 * 1024**3), "copy: 3.0 GB in all"),
        (Activity("copy", unit="bytes", total=2048, done=512), "copy: 512 bytes of 2.0 kB (25 %)"),
        (Activity("dump", unit="tables", total=40, done=12, subject="a"), "dump: 12 of 40 tables (30 %), now a"),
        (Activity("restore", total=100, done=130, about=True), "restore: 100 of about 100 rows (100 %)"),
        (Activity("read back", unit="bytes", done=0), "read back: 0 bytes"),
        (Activity("none", total=0, done=0), "none: 0 rows"),
    ],
)  # fmt: skip
def test_an_activity_is_said_with_what_is_known(activity: Activity, text: str) -> None:
    assert activity.text() == text


def test_a_line_begins_with_the_time_and_names_all_that_is_under_way() -> None:
    line = progress_line(125.4, [Activity("dump"), Activity("contents", unit="bytes", total=2, done=1)])
    assert line == "2:05 | dump; contents: 1 bytes of 2 bytes (50 %)"


def test_a_line_is_due_at_once_after_a_second_when_something_changes_and_after_five_seconds() -> None:
    pace, activity = Pace(), Activity("dump")
    assert pace.due(100.0, [activity])
    assert not pace.due(104.9, [activity])
    assert pace.due(105.0, [activity])
    activity.subject = "public.orders"
    assert not pace.due(105.9, [activity])
    assert pace.due(106.0, [activity])
    assert not pace.due(200.0, [])


@pytest.mark.parametrize(
    ("statement", "subject"),
    [
        ("COPY public.orders (id, note) FROM stdin;", "public.orders"),
        ('COPY "My Schema"."a b" (id) TO stdout;', '"My Schema"."a b"'),
        ("CREATE UNIQUE INDEX orders_key ON public.orders USING btree (id);", "index orders_key"),
        ("ALTER TABLE ONLY public.orders\n    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);", "constraint orders_pkey"),
        ("SELECT pg_catalog.set_config('search_path', '', false);", ""),
    ],
)
def test_what_a_statement_works_on(statement: str, subject: str) -> None:
    assert subject_of(statement) == subject


def test_a_hostile_name_cannot_move_the_cursor_or_make_lines() -> None:
    assert printable('a\x1b[2Jb\nc\rd\u202ee"é–日') == 'a?[2Jb?c?d?e"é–日'
    assert len(printable("x" * 5000)) == 400


def test_bytes_are_written_for_a_person() -> None:
    assert [amount(number, "bytes") for number in (0, 1023, 1024, 5 * 1024**2)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 kB",
        "5.0 MB",
    ]


@pytest.fixture
def path() -> Iterator[Path]:
    path = Path(f"{FOLDER}/{PREFIX}{secrets.token_hex(16)}")
    yield path
    path.unlink(missing_ok=True)


def test_a_reporter_that_nobody_listens_to_starts_nothing_and_asks_nobody() -> None:
    reporter = Reporter("")
    with reporter.activity("dump", sampler=lambda _activity: pytest.fail("it was asked")):
        reporter.line("a line")
    assert reporter._thread is None


@pytest.mark.parametrize("name", ["/etc/passwd", "/tmp/balcon-rollback-progress-../x", "/tmp/other"])  # noqa: S108
def test_a_reporter_writes_to_no_other_file(name: str) -> None:
    assert not Reporter(name).is_on


def test_lines_are_private_and_gone_with_the_module(path: Path) -> None:
    reporter = Reporter(str(path))
    reporter.line("one")
    reporter.line("two\nthree")
    assert path.read_text() == "one\ntwo?three\n"
    assert path.stat().st_mode & 0o777 == 0o600
    reporter.close()
    reporter.line("four")
    assert not path.exists()


def test_a_file_that_is_there_already_is_not_written_to(path: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    path.symlink_to(tmp_path / "precious")
    Reporter(str(path)).line("a line")
    assert (tmp_path / "precious").read_text() == "precious"


def test_what_a_killed_module_left_is_removed_and_that_of_a_running_one_is_not(path: Path) -> None:
    left = Path(f"{FOLDER}/{PREFIX}{secrets.token_hex(16)}")
    running = Path(f"{FOLDER}/{PREFIX}{secrets.token_hex(16)}")
    left.touch(0o600)
    descriptor = os.open(running, os.O_WRONLY | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        Reporter(str(path)).line("a line")
        assert not left.exists()
        assert running.exists()
    finally:
        os.close(descriptor)
        running.unlink()


def test_a_sampler_that_fails_is_not_asked_again_and_costs_nothing_else(path: Path) -> None:
    asked: list[int] = []

    def failing(_activity: Activity) -> None:
        asked.append(1)
        raise ValueError

    reporter = Reporter(str(path))
    with reporter.activity("dump", sampler=failing) as activity:
        wait_for(path, "0:01 | dump\n")
        activity.subject = "orders"
        wait_for(path, "dump: now orders\n")
    assert asked == [1]


def wait_for(path: Path, text: str) -> None:
    deadline = time.monotonic() + 30
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_pipe_of_somebody_else_keeps_no_module_waiting(path: Path) -> None:
    pipe = Path(f"{FOLDER}/{PREFIX}{secrets.token_hex(16)}")
    os.mkfifo(pipe, 0o600)
    try:
        writer = threading.Thread(target=Reporter(str(path)).line, args=["a line"], daemon=True)
        writer.start()
        writer.join(20)
        assert path.read_text() == "a line\n"
    finally:
        pipe.unlink(missing_ok=True)
