# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests share: running a module of the collection as Ansible would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

PROJECT = Path(__file__).resolve().parents[1]
MODULES = "ansible_collections.balcon.rollback.plugins.modules"


# How long an example takes is a matter of the machine, and proves nothing.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


class OneServerForEachWorker(LoadScopeScheduling):
    """Gives all tests of one PostgreSQL version to one worker, so that each version has one server.

    (``--dist loadgroup`` would, but xdist's marks do not reach the identifiers of pytest 9.2.)
    """

    def _split_scope(self, nodeid: str) -> str:
        version = re.search(r"\[(postgresql-\d+)", nodeid)
        return version[1] if version else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> OneServerForEachWorker:
    """Distribute tests by server."""
    return OneServerForEachWorker(config, log)


class ModuleRunner:
    """Runs modules in processes of their own; the arguments go through standard input, as they do under Ansible.

    Whatever is in `secrets` must never come out of a module: each run asserts that it did not.
    """

    def __init__(self, remote_tmp: Path) -> None:
        self.secrets: set[str] = set()
        self._remote_tmp = remote_tmp

    def __call__(
        self,
        module: str,
        /,
        *,
        check_mode: bool = False,
        diff_mode: bool = False,
        _env: Mapping[str, str] | None = None,
        _deadline: float = 120,
        **arguments: Any,
    ) -> dict[str, Any]:
        """Run a module and return its result; ``failed`` is always in it."""
        process = self.start(module, check_mode=check_mode, diff_mode=diff_mode, _env=_env, **arguments)
        try:
            output, errors = process.communicate(timeout=_deadline)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            pytest.fail(f"{module} did not end within {_deadline} seconds.\n{output}\n{errors}")
        return self.result(module, output, errors, process.returncode)

    def start(
        self,
        module: str,
        /,
        *,
        check_mode: bool = False,
        diff_mode: bool = False,
        _env: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> subprocess.Popen[str]:
        """Start a module and return its process, for tests that kill it or look at the database meanwhile."""
        internal = {
            "_ansible_check_mode": check_mode,
            "_ansible_diff": diff_mode,
            "_ansible_remote_tmp": str(self._remote_tmp),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", f"{MODULES}.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._remote_tmp,
            env={**os.environ, "PYTHONPATH": str(PROJECT / "collections"), **(_env or {})},
        )
        assert process.stdin
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, **internal}}))
        process.stdin.close()
        process.stdin = None
        return process

    def result(self, module: str, output: str, errors: str, returncode: int) -> dict[str, Any]:
        """Read what a module printed."""
        leaked = [secret for secret in self._spellings() if secret in output + errors]
        assert not leaked, f"{module} printed {len(leaked)} spelling(s) of a secret"
        try:
            result = json.loads(output)
        except json.JSONDecodeError:
            pytest.fail(f"{module} printed no result (exit code {returncode}).\n{output}\n{errors}")
        result.setdefault("failed", returncode != 0)
        assert result["failed"] == (returncode != 0), f"{module} says failed={result['failed']}, exits {returncode}"
        assert isinstance(result, dict)
        return result

    def _spellings(self) -> set[str]:
        return {spelling for secret in self.secrets for spelling in (secret, quote(secret), quote(secret, safe=""))}


@pytest.fixture
def run_module(tmp_path_factory: pytest.TempPathFactory) -> ModuleRunner:
    """``run_module("db_info", database_url=...)`` runs a module of the collection and returns its result."""
    return ModuleRunner(tmp_path_factory.mktemp("module"))
