# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing that others wrote steers a terminal, or passes for a line of ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.balcon.rollback.plugins.module_utils._domain.readable import readable, readable_line

PROJECT = Path(__file__).resolve().parents[2]
STEERING = {
    "colour": "\x1b[31m",
    "title of the window": "\x1b]0;x\x07",
    "8-bit control": "\x9b2J",
    "back to the line's begin": "\r",
    "right to left": "\u202e",
    "isolate": "\u2066",
    "zero width": "\u200b",
    "line separator": "\u2028",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
}


@pytest.mark.parametrize("character", STEERING.values(), ids=STEERING)
def test_what_steers_is_replaced(character: str) -> None:
    assert readable_line(f"a{character}b").startswith("a?")
    assert readable(f"one\na{character}b").split("\n")[1].startswith("a?")


def test_a_line_stays_one() -> None:
    assert readable_line("column x\nRehearsed: yes") == "column x?Rehearsed: yes"
    assert readable("PostgreSQL said:\n\tline 1") == "PostgreSQL said:\n line 1"
    assert readable_line("Überweisung €, 東京, naïve – «ok»") == "Überweisung €, 東京, naïve – «ok»"


@pytest.mark.parametrize("role", ["rollback", "restore"])
@pytest.mark.parametrize("character", [*STEERING.values(), "\n"], ids=[*STEERING, "line feed"])
def test_the_questions_replace_the_same(role: str, character: str) -> None:
    """A question is text of a playbook, which no module has made."""
    variables = yaml.safe_load((PROJECT / "roles" / role / "vars" / "main.yml").read_text())
    pattern = variables[f"{role}_steering_characters"]
    assert re.sub(pattern, "?", f"a{character}b").startswith("a?")
    assert re.sub(pattern, "?", "Überweisung €, 東京 – «ok»") == "Überweisung €, 東京 – «ok»"


def test_every_question_does() -> None:
    for tasks in (PROJECT / "roles").glob("*/tasks/*.yml"):
        for prompt in re.findall(r"prompt: \|-\n(.*?)Type the name", tasks.read_text(), re.DOTALL):
            shown = re.findall(r"\{\{ (?:line|.*delete \| map)\b.*?\}\}", prompt, re.DOTALL)
            assert shown, tasks
            assert all("steering_characters" in expression for expression in shown), tasks
