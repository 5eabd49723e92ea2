# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database compared with what it was: the change of its catalogue, and what differs beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .catalogue import canonical, change_between, columns_touched, describe, loss
from .fingerprint import compare, proof_of, rows_by_table, tables_changed, tables_only_counted, weakest

if TYPE_CHECKING:
    from .catalogue import Change
    from .fingerprint import Fingerprint


class Comparison(NamedTuple):
    """How a database differs from what it was.

    Attributes:
        change: of the catalogue.
        canonical_change: the same, in the form that is compared with that of a rehearsal.
        description: the change in lines for a person.
        differences: of rows and contents, outside what the change explains; one sentence each.
        proof: how much the comparison proves, one of `_domain.fingerprint.PROOFS`.
        loss: what is gone for good, see `_domain.catalogue.loss`.
        tables_changed: tables whose rows or contents differ.
    """

    change: Change
    canonical_change: Change
    description: list[str]
    differences: list[str]
    proof: str
    loss: dict[str, Any]
    tables_changed: list[str]

    @property
    def equal(self) -> bool:
        """Tell whether nothing at all differs."""
        return not self.description and not self.differences


def compare_fingerprints(before: Fingerprint, after: Fingerprint) -> Comparison:
    """Compare two fingerprints of the same database, or of file copies of it."""
    change = change_between(before["catalogue"], after["catalogue"])
    counted = ["counts"] if tables_only_counted(before, after, change) else []
    return Comparison(
        change,
        canonical(change),
        describe(change),
        compare(before, after, change),
        weakest([proof_of(before), proof_of(after), *counted]),
        loss(change, rows_by_table(before)),
        tables_changed(before, after, change),
    )


def as_result(fingerprint: Fingerprint, comparison: Comparison | None) -> dict[str, Any]:
    """Return a fingerprint and a comparison as the module db_fingerprint returns them."""
    result: dict[str, Any] = {"fingerprint": fingerprint, "proof": proof_of(fingerprint)}
    if comparison:
        result.update(
            change=comparison.change,
            canonical_change=comparison.canonical_change,
            description=comparison.description,
            differences=comparison.differences,
            equal=comparison.equal,
            proof=comparison.proof,
            loss=comparison.loss,
            columns_touched=columns_touched(comparison.change),
            tables_changed=comparison.tables_changed,
        )
    return result


def without_catalogue(result: dict[str, Any]) -> dict[str, Any]:
    """Leave the catalogue out of what goes through Ansible: it may be large, and it is in a file."""
    fingerprint = {name: value for name, value in result["fingerprint"].items() if name != "catalogue"}
    return {**result, "fingerprint": fingerprint}
