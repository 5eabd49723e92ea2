# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints, on the controller, what a long module says of itself while it runs on the host.

The module is run as always, in the foreground: nothing is added to what it does or to how long it takes. Meanwhile a
thread reads, through a second channel of the same connection, the file that the module writes its lines into. What is
over within a second is never looked at.
"""

from __future__ import annotations

import contextlib
import copy
import secrets
import threading
from collections.abc import Iterator
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.balcon.rollback.plugins.module_utils._domain.progress import printable
from ansible_collections.balcon.rollback.plugins.module_utils._progress import FOLDER, PREFIX, VARIABLE

_FIRST_LOOK_SECONDS, _LOOK_SECONDS, _PATIENCE_SECONDS = 1.5, 1.5, 5.0

_BYTES_A_LOOK = 64 * 1024


class ProgressAction(ActionBase):
    """Runs the module of the same name, and prints its lines of progress."""

    _supports_check_mode = True
    _supports_diff = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module, and print what it says meanwhile.

        Args:
            tmp: not used any more.
            task_vars: the task's variables.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        in_background = bool(self._task.async_val) and not self._connection.has_native_async
        if in_background or not self._is_wanted():
            return {**result, **self._execute_module(task_vars=task_vars, wrap_async=in_background)}
        path = f"{FOLDER}/{PREFIX}{secrets.token_hex(16)}"
        title = f"[{(task_vars or {}).get('inventory_hostname', '')}] {self._task.action.rpartition('.')[2]}"
        with self._told_to_write(path), self._printing(path, title):
            return {**result, **self._execute_module(task_vars=task_vars)}

    def _is_wanted(self) -> bool:
        """Tell whether lines between the tasks do no harm: not where nothing may be shown, or a program reads."""
        callback = str(constants.config.get_config_value("DEFAULT_STDOUT_CALLBACK"))
        return not self._task.no_log and not callback.endswith(("json", "jsonl"))

    @contextlib.contextmanager
    def _told_to_write(self, path: str) -> Iterator[None]:
        """Name the file to the module, in its environment."""
        before = self._task.environment
        own = before if isinstance(before, list) else [before] if before else []
        self._task.environment = [*own, {VARIABLE: path}]
        try:
            yield
        finally:
            self._task.environment = before

    @contextlib.contextmanager
    def _printing(self, path: str, title: str) -> Iterator[None]:
        """Print the lines of the file for as long as the block runs."""
        over = threading.Event()
        thread = threading.Thread(target=self._print, args=[path, title, over], daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(_PATIENCE_SECONDS)

    def _print(self, path: str, title: str, over: threading.Event) -> None:
        start, wait = 0, _FIRST_LOOK_SECONDS
        while not over.wait(wait):
            wait = _LOOK_SECONDS
            try:
                content = self._read(path, start)
            except Exception as error:  # noqa: BLE001  # whatever a connection raises: the module does not depend on it
                Display().vvv(f"{title}: its progress cannot be read any more: {error}")
                return
            complete = content[: content.rfind("\n") + 1]
            start += len(complete.encode())
            for line in complete.splitlines():
                Display().display(printable(f"{title} | {line}"))

    def _read(self, path: str, start: int) -> str:
        """Read on where we stopped; nothing where there is no file.

        Connection and become plugin are copies: the module's own wait for its end in the other thread.
        """
        reader = copy.copy(self)
        reader._connection = copy.copy(self._connection)  # our own
        if self._connection.become:
            reader._connection.become = copy.copy(self._connection.become)
        command = f"tail -c +{start + 1} {path} 2>/dev/null | head -c {_BYTES_A_LOOK}"
        answer: dict[str, Any] = reader._low_level_execute_command(command)
        return str(answer["stdout"])
