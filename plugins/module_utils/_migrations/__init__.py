# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migration tools: one small interface, one file an engine."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._domain.errors import Refused
from .._domain.migration_files import MigrationFile
from .state_table import StateTable


class Engine(abc.ABC):
    """A migration tool, and where it keeps its state.

    Attributes:
        folder: the project's folder, in which commands are run.
        migrations: the folder with the migrations.
        state_table: where the tool notes what is applied.
        url_variable: the environment variable in which it takes the database's URL.
        path_folder: a folder that its commands need in front of C(PATH), or "".
        manifest: the file that lists the hash of each migration, or None.
        defaults: environment variables that keep the tool quiet and away from the network.
        authority_variable: the environment variable in which its language takes the file of one more certificate
            authority, or "".
    """

    folder: Path
    migrations: Path
    state_table: StateTable
    url_variable: str
    path_folder: str
    manifest: Path | None
    defaults: Mapping[str, str]
    authority_variable: str = ""

    @abc.abstractmethod
    def check(self) -> None:
        """Check that the project is there and can be used.

        Raises:
            Refused: it is not; the message says what is missing.
        """

    @abc.abstractmethod
    def command(self, verb: str) -> list[str]:
        """Return the argument list for C(down) (the last one), C(up) (all), C(up_one) or C(status).

        Raises:
            Refused: this project has no such command.
        """

    @abc.abstractmethod
    def has_command(self, verb: str) -> bool:
        """Tell whether the project has a command of that name."""

    @abc.abstractmethod
    def available(self) -> dict[str, Path]:
        """Return the migrations on disk, in their order, by the names that the state table gives them."""

    @abc.abstractmethod
    def prove_downs(self, files: Sequence[MigrationFile]) -> dict[str, tuple[str, str]]:
        """Say of each file whether it has a way back: a verdict of `_domain.migration_files`, and the reason."""


def make_engine(name: str, options: Mapping[str, Any]) -> Engine:
    """Make an engine from a module's options.

    Args:
        name: the engine's name.
        options: as described for C(engine_options) of M(balcon.rollback.migration_info).

    Raises:
        Refused: there is no such engine, or an option is wrong.
    """
    from .npm import NpmEngine

    if name != "npm":
        raise Refused(
            f"There is no migration engine {name!r}.",
            untouched="Nothing was touched.",
            remedy="Set rollback_engine to one of: npm.",
        )
    return NpmEngine(options)
