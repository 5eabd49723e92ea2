# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release that is a git checkout: another revision is checked out, and commands restart the application."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .._domain.errors import Failed, Refused
from .._process import Finished, account_home, base_environment, check_finished, run_switch
from .interface import Way

TIMEOUT_SECONDS = 60.0
_UNTOUCHED = "The checkout was not touched."


class GitWay(Way):
    """The checkout C(git.checkout) is moved between the revisions C(git.older) and C(git.newer).

    Without C(git.newer), the newer revision is the one that C(git.older) took the place of in this run.
    """

    def __init__(self, params: Mapping[str, Any], remembered: Mapping[str, Any]) -> None:
        super().__init__(params, remembered)
        self._folder: str = params["git"]["checkout"]

    def has(self, wish: str) -> bool:
        """Tell whether another revision is checked out for it."""
        return wish in ("older", "newer")

    def check(self) -> dict[str, Any]:
        """See that the checkout has no changes of its own, and both revisions."""
        self._refuse_changes()
        self.memory["replaced_commit"] = self._commit("HEAD")
        given = self.params["git"]
        return {name: self._commit(given[name]) for name in ("older", "newer") if given.get(name)}

    def switch(self, wish: str) -> list[dict[str, Any]]:
        """Check a revision out, and read back that it is."""
        start = time.monotonic()
        self._refuse_changes()
        commit, before = self._commit(self._revision(wish)), self._commit("HEAD")
        finished = self._git("checkout", "--quiet", "--detach", commit)
        check_finished(finished, f"git checkout in {self._folder}", TIMEOUT_SECONDS, "Run it by hand there.")
        if self._commit("HEAD") != commit:
            raise Failed(
                f"The checkout {self._folder} is not at {commit} after git checkout.",
                remedy="Look there with git status: somebody else may work in it.",
            )
        self.memory["replaced_commit" if wish == "older" else "restored_commit"] = before
        text = f"{self._folder} is at {commit}, it was at {before}"
        return [{"seconds": round(time.monotonic() - start, 3), "exit_code": 0, "output_tail": text}]

    def _revision(self, wish: str) -> str:
        given = self.params["git"].get(wish) or (self.remembered.get("replaced_commit") if wish == "newer" else None)
        if given:
            return str(given)
        raise Refused(
            f"Nothing says which revision of {self._folder} is the {wish} release.",
            untouched=_UNTOUCHED,
            remedy=f"Set git.{wish} of rollback_release to a tag or a commit.",
        )

    def _commit(self, revision: str) -> str:
        finished = self._git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        commit = finished.output_tail.strip()
        if finished.exit_code == 0 and commit:
            return commit
        raise Refused(
            f"The checkout {self._folder} has no revision {revision!r}{_said(finished)}.",
            untouched=_UNTOUCHED,
            remedy=f"Type: git -C '{self._folder}' fetch --tags, and name a tag or a commit that is there.",
        )

    def _refuse_changes(self) -> None:
        finished = self._git("status", "--porcelain", "--untracked-files=no")
        if finished.exit_code != 0:
            raise Refused(
                f"{self._folder} is not a git checkout that this account can read{_said(finished)}.",
                untouched=_UNTOUCHED,
                remedy="Correct git.checkout of rollback_release, or let the account that runs the tools own it.",
            )
        if finished.output_tail.strip():
            changed = ", ".join(line[3:] for line in finished.output_tail.splitlines()[:5])
            raise Refused(
                f"The checkout {self._folder} has changes that are not committed: {changed}.",
                untouched=_UNTOUCHED,
                remedy="They would be mixed into the other release. Commit them or put them away, then start again.",
            )

    def _git(self, *arguments: str) -> Finished:
        environment = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
        given = {name: str(value) for name, value in (self.params["environment"] or {}).items() if name == "PATH"}
        return run_switch(
            ["git", "-C", self._folder, "-c", "core.hooksPath=/dev/null", *arguments],
            environment=base_environment({**given, **environment}, account_home()),
            folder="/",
            timeout=TIMEOUT_SECONDS,
        )


def _said(finished: Finished) -> str:
    last = finished.output_tail.strip().splitlines()[-1:]
    return f" (git says: {last[0]})" if last else ""
