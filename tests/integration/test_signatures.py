# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a key is given, everything that reads a backup or evidence refuses what this key did not sign."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from window import Window

from ansible_collections.balcon.rollback.plugins.module_utils._domain import evidence as evidences
from ansible_collections.balcon.rollback.plugins.module_utils._domain import manifest as manifests

if TYPE_CHECKING:
    from tests.integration.conftest import Database

KEY = "the key of the inventory"
NOW = datetime.now(UTC).isoformat(timespec="seconds")

Content = dict[str, Any]


def without_seal(content: Content) -> Content:
    seals = ("digest", "content_hash", "signature")
    return {name: value for name, value in content.items() if name not in seals}


def hashed_again(content: Content, signature: object) -> Content:
    """Compute the hash anew, as anybody can, and leave or put a signature beside it."""
    plain = without_seal(content)
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    name = "digest" if "digest" in content else "content_hash"
    return {**plain, name: hashlib.sha256(text).hexdigest(), "signature": signature}


def sealed_with(content: Content, key: str | None) -> Content:
    seal = manifests.seal if "digest" in content else evidences.seal
    return seal(without_seal(content), key)


FORGERIES: dict[str, Callable[[Content], Content]] = {
    "not signed": lambda content: sealed_with(content, None),
    "another key": lambda content: sealed_with(content, "a key of somebody else"),
    "edited": lambda content: hashed_again({**content, "created_at": NOW}, content["signature"]),
    "no text": lambda content: hashed_again(content, {"hmac": content["signature"]}),
    "no ascii": lambda content: hashed_again(content, "ü" * 64),
    "empty": lambda content: hashed_again(content, ""),
}


PLAIN = ("not signed", "another key")
"""Tried on every reader; the others, which all of them leave to the same rule, on one."""


class Store:
    """A state folder with one signed backup of a database, and signed evidence of a rehearsal on its schema."""

    def __init__(self, database: Database, state_dir: Path, run_module: Any) -> None:
        self.window = Window(database.url, state_dir, run_module)
        self.client = {"client_path": [str(database.server.bin_dir)]}
        self._run_module = run_module
        database.execute("CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users SELECT generate_series(1, 9)")
        made = self("db_backup", checkpoint=False, **self.client)
        assert not made["failed"], made["msg"]
        self.backup = Path(made["path"])
        identity = self.window.server.identity()
        rehearsed = {
            "run_id": self.window.run.run_id, "plan": ["1.js"], "plan_id": "p", "server_major": database.server.version,
            "production": {**identity._asdict(), "database": database.name}, "files": {}, "checks": [], "loss": {},
            "catalogue_hash": json.loads(self.manifest.read_text())["fingerprint"]["catalogue_hash"],
            "canonical_change": {}, "change": [], "skip_columns": {}, "skip_tables": [], "masking": "none",
            "timings": {"copy_bytes_per_second": 1e6, "migrate_seconds": 1.0, "trial_seconds": 1.0},
        }  # fmt: skip
        written = self.evidence_module(state="written", content=rehearsed)
        assert not written["failed"], written["msg"]
        (self.evidence,) = (state_dir / "evidence").iterdir()
        names = ("plan", "plan_id", "catalogue_hash", "server_major")
        self.request = {**{name: rehearsed[name] for name in names}, "database_oid": identity.oid, "size_bytes": 1}
        self.request["system_identifier"] = identity.system_identifier

    @property
    def manifest(self) -> Path:
        return self.backup / manifests.FILE_NAME

    def __call__(self, module: str, /, **arguments: Any) -> dict[str, Any]:
        given = {**self.window.arguments, "phase": "restore", "signing_key": KEY, **arguments}
        return dict(self._run_module(module, **given))

    def evidence_module(self, **arguments: Any) -> dict[str, Any]:
        given = {"evidence_dir": str(self.window.run.state_dir), "signing_key": KEY, **arguments}
        return dict(self._run_module("rehearsal_evidence", **given))

    def status(self, **arguments: Any) -> dict[str, Any]:
        place = {"database_url": self.window.arguments["database_url"], "state_dir": str(self.window.run.state_dir)}
        return dict(self._run_module("rollback_status", signing_key=KEY, **place, **arguments))

    def readers_of_backups(self) -> Mapping[str, Callable[[], dict[str, Any]]]:
        """All modules that do something with a backup."""
        name, client = {"backup": self.backup.name}, self.client
        folder = {"backup_dir": str(self.backup.parent)}
        check: dict[str, Any] = {"check_mode": True}
        return {
            "db_restore": lambda: self("db_restore", name="again", **check, **name, **client),
            "good_backup": lambda: self("good_backup", **check, **client),
            "good_backup by name": lambda: self("good_backup", **check, **name, **client),
            "table_recovery": lambda: self("table_recovery", tables=["users"], **check, **name, **folder, **client),
            "db_assess": lambda: self("db_assess", **name),
            "partial_state": lambda: self("partial_state", backup=str(self.backup)),
            "db_backup, again": lambda: self("db_backup", checkpoint=False, **client),
        }


@pytest.fixture
def store(database: Database, tmp_path: Path, run_module: Any) -> Iterator[Store]:
    store = Store(database, tmp_path, run_module)
    yield store
    assert database.relatives() == [database.name]


@pytest.mark.newest_server
def test_every_reader_of_a_backup(store: Store) -> None:
    for name, read in store.readers_of_backups().items():
        result = read()
        assert not result["failed"], (name, result["msg"])
    assert store.status()["backups"][0]["trusted"]
    honest = json.loads(store.manifest.read_text())
    for forgery, forge in FORGERIES.items():
        store.manifest.write_text(manifests.render(forge(honest)))
        for name, read in list(store.readers_of_backups().items())[: None if forgery in PLAIN else 1]:
            result = read()
            assert result["failed"], (forgery, name)
            assert "sign" in result["msg"], (forgery, name, result["msg"])
        (told,) = store.status(check_files=forgery == "edited")["backups"]
        assert [told["trusted"], "sign" in told["problem"]] == [False, True], (forgery, told)


@pytest.mark.newest_server
def test_every_reader_of_evidence(store: Store) -> None:
    """The gate; going back to before a rollback; what a partial state is compared with; the status."""
    gate = {"state": "checked", **store.request}
    assert not store.evidence_module(**gate)["failed"]
    before = {"before_rollback": True, "check_mode": True, **store.client}
    assert not store("good_backup", **before)["failed"]
    assert store("partial_state", backup=str(store.backup))["evidence_id"]
    assert not store.status()["evidence"][0]["problem"]
    honest = json.loads(store.evidence.read_text())
    for forgery, forge in FORGERIES.items():
        store.evidence.write_text(json.dumps(forge(honest)))
        refused = store.evidence_module(**gate)
        assert refused["failed"], forgery
        assert "sign" in refused["msg"], (forgery, refused["msg"])
        (told,) = store.status()["evidence"]
        assert "sign" in told["problem"], (forgery, told)
        if forgery not in PLAIN:
            continue
        assert store("good_backup", **before)["failed"], forgery
        assert store("partial_state", backup=str(store.backup))["evidence_id"] is None, forgery
