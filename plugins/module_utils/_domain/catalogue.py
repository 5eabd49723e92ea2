# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database's catalogue as data, and what changed between two of them.

A catalogue is ``{kind: {identity: {attribute: value}}}``, for example
``{"columns": {"public.users.email": {"table": "public.users", "type": "text"}}}``. An identity is quoted as PostgreSQL
quotes it. Attributes that are null are left out.

Two databases that say the same may print it differently: PostgreSQL prints ``CHECK (status IN ('a', 'b'))`` on a
C(varchar) column in one way after CREATE TABLE, and in another after a dump and restore. So catalogues of different
origin are never compared as text; *changes* are, in a canonical form.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Dict, List, Union

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Attributes = Dict[str, Any]
Catalogue = Dict[str, Dict[str, Attributes]]
Change = Dict[str, Dict[str, Any]]
_Node = Union[str, List[Any]]

RIGHTS = ("owner", "owner_without", "acl", "roles")
"""Attributes that name roles: they differ between environments, and a restore may have to leave them out."""

PLACEMENT = ("tablespace",)
"""Attributes that say on which disk something lies."""

_RIGHTS_KINDS = ("default_privileges",)

_CHILDREN = ("columns", "constraints", "indexes", "triggers", "policies", "rules")
"""Kinds whose objects belong to a table, which their attribute C(table) names."""

_EXPRESSIONS = (
    "definition",
    "default",
    "expression",
    "using",
    "check",
    "partition_bound",
    "partition_key",
    "constraints",
    "tables",
)
"""Attributes that hold SQL as PostgreSQL prints it from its own parse tree."""

_VERBATIM_KINDS = ("functions",)
"""Kinds whose definition is a person's own text, kept by the server as it was written."""


def catalogue_hash(catalogue: Catalogue) -> str:
    """Return the SHA-256 of a catalogue as hexadecimal digits; equal only where every attribute is."""
    text = json.dumps(catalogue, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def change_between(before: Catalogue, after: Catalogue) -> Change:
    """Return what must be added, removed and altered to come from one catalogue to another.

    Returns:
        ``{"added": {kind: {identity: attributes}}, "removed": {kind: {identity: attributes}},
        "altered": {kind: {identity: {attribute: {"before": …, "after": …}}}}}``; all empty where nothing changed.
    """
    change: Change = {"added": {}, "removed": {}, "altered": {}}
    for kind in sorted(set(before) | set(after)):
        old, new = before.get(kind, {}), after.get(kind, {})
        _put(change["added"], kind, {name: new[name] for name in sorted(set(new) - set(old))})
        _put(change["removed"], kind, {name: old[name] for name in sorted(set(old) - set(new))})
        altered = {name: _altered(old[name], new[name]) for name in sorted(set(old) & set(new))}
        _put(change["altered"], kind, {name: attributes for name, attributes in altered.items() if attributes})
    return change


def is_empty(change: Change) -> bool:
    """Tell whether a change, canonical or not, changes nothing."""
    return not any(change.values())


def canonical(change: Change) -> Change:
    """Return a change in the form in which changes of databases of different origin can be compared.

    Of what was removed only identities remain; of what was altered only the new value, and only where the canonical
    value changed; expressions lose casts, redundant parentheses and their spacing. Who owns and may use an object, and
    where it lies, differs between environments: of a new object it is left out, and of one that stays only the
    difference remains, which privileges it gained and which it lost.
    """
    return {
        "added": _each(change["added"], _canonical_attributes),
        "removed": {kind: sorted(objects) for kind, objects in change["removed"].items()},
        "altered": _without_empty(_each(change["altered"], _canonical_alteration)),
    }


def compare_changes(expected: Change, found: Change) -> list[str]:
    """Return how a canonical change differs from the one that was expected, one line for each difference."""
    wanted, got = dict(_flattened(expected)), dict(_flattened(found))
    lines = [f"expected and missing: {what}" for what in sorted(set(wanted) - set(got))]
    lines += [f"not expected: {what}{_with(got[what])}" for what in sorted(set(got) - set(wanted))]
    lines += [
        f"{what} was expected{_with(wanted[what])}, and is{_with(got[what])}"
        for what in sorted(set(wanted) & set(got))
        if wanted[what] != got[what]
    ]
    return lines


def canonical_catalogue(catalogue: Catalogue) -> Catalogue:
    """Return a catalogue with expressions canonical, for comparing a database with a restored copy of it."""
    return {
        kind: {name: _canonical_values(kind, attributes) for name, attributes in objects.items()}
        for kind, objects in catalogue.items()
    }


def without(catalogue: Catalogue, attributes: tuple[str, ...], kinds: tuple[str, ...] = ()) -> Catalogue:
    """Return a catalogue without some attributes and some kinds."""
    return {
        kind: {
            name: {key: value for key, value in values.items() if key not in attributes}
            for name, values in objects.items()
        }
        for kind, objects in catalogue.items()
        if kind not in kinds
    }


def without_rights(catalogue: Catalogue) -> Catalogue:
    """Return a catalogue without owners, privileges, roles of policies and default privileges."""
    return without(catalogue, RIGHTS, _RIGHTS_KINDS)


def roles_in(catalogue: Catalogue) -> dict[str, set[str]]:
    """Return the names of the roles that a catalogue speaks of, by how: C(owner), C(acl) and C(roles) (of policies)."""
    found: dict[str, set[str]] = {"owner": set(), "acl": set(), "roles": set()}
    for objects in catalogue.values():
        for attributes in objects.values():
            if attributes.get("owner"):
                found["owner"].add(str(attributes["owner"]))
            found["acl"].update(entry.rsplit("=", 1)[0] for entry in attributes.get("acl", []))
            found["roles"].update(attributes.get("roles", []))
    return {how: names - {"PUBLIC", "public"} for how, names in found.items()}


def describe(change: Change) -> list[str]:
    """Return a change as lines for a person, the gravest first; what belongs to a removed table is not repeated."""
    removed, added = change["removed"].get("tables", {}), change["added"].get("tables", {})
    lines = [
        f"{_one(kind)} {name} removed{_detail(kind, attributes)}"
        for kind, name, attributes in _listed(change["removed"])
        if attributes.get("table") not in removed
    ]
    lines += [
        f"{_one(kind)} {name}: {_alteration(attributes)}" for kind, name, attributes in _listed(change["altered"])
    ]
    lines += [
        f"{_one(kind)} {name} added{_detail(kind, attributes)}"
        for kind, name, attributes in _listed(change["added"])
        if attributes.get("table") not in added
    ]
    return lines


def loss(change: Change, rows_by_table: Mapping[str, int | None]) -> dict[str, Any]:
    """Return what is gone for good when a change is made.

    Args:
        change: the change, not canonical.
        rows_by_table: rows of every table before it, by identity.

    Returns:
        C(tables) that go; C(columns) that go while their table stays; C(rows), the number of rows of those tables and
        of the tables that lose a column, each table counted once.
    """
    tables = sorted(change["removed"].get("tables", {}))
    columns = {
        name: str(attributes["table"])
        for name, attributes in change["removed"].get("columns", {}).items()
        if attributes["table"] not in tables
    }
    touched = {*tables, *columns.values()}
    return {
        "tables": tables,
        "columns": sorted(columns),
        "rows": sum(rows_by_table.get(table) or 0 for table in touched),
    }


def columns_touched(change: Change) -> dict[str, list[str]]:
    """Return, by table, the quoted names of columns that a change adds, removes or gives another type.

    The contents of the other columns can be compared before and after.
    """
    names = [*change["added"].get("columns", {}), *change["removed"].get("columns", {})]
    names += [name for name, what in change["altered"].get("columns", {}).items() if {"type", "collation"} & set(what)]
    touched: dict[str, list[str]] = {}
    for name in sorted(names):
        table, column = split_identity(name)
        touched.setdefault(table, []).append(column)
    return touched


def split_identity(identity: str) -> tuple[str, str]:
    """Split a quoted identity before its last part: ``public."a.b".c`` is ``public."a.b"`` and ``c``."""
    parts = re.findall(r'"(?:[^"]|"")*"|[^".]+', identity)
    return ".".join(parts[:-1]), parts[-1]


def unquote(identifier: str) -> str:
    """Return the name that a quoted identifier stands for."""
    return identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier


def _put(part: dict[str, Any], kind: str, objects: dict[str, Any]) -> None:
    if objects:
        part[kind] = objects


def _altered(old: Attributes, new: Attributes) -> Attributes:
    return {
        key: {"before": old.get(key), "after": new.get(key)}
        for key in sorted(set(old) | set(new))
        if old.get(key) != new.get(key)
    }


def _flattened(change: Change) -> Iterator[tuple[str, Any]]:
    for action, kinds in change.items():
        for kind, objects in kinds.items():
            for name in objects:
                yield f"{_one(kind)} {name} {action}", objects[name] if isinstance(objects, dict) else None


def _with(attributes: Any) -> str:
    return f" with {_shown(attributes)}" if attributes else ""


def _each(part: dict[str, Any], function: Any) -> dict[str, Any]:
    return {
        kind: {name: function(kind, attributes) for name, attributes in objects.items()}
        for kind, objects in part.items()
    }


def _without_empty(part: dict[str, Any]) -> dict[str, Any]:
    kept = {
        kind: {name: attributes for name, attributes in objects.items() if attributes} for kind, objects in part.items()
    }
    return {kind: objects for kind, objects in kept.items() if objects}


def _canonical_attributes(kind: str, attributes: Attributes) -> Attributes:
    values = _canonical_values(kind, attributes)
    kept = RIGHTS if kind in _RIGHTS_KINDS else ()  # the privileges are what such an entry is
    return {key: value for key, value in values.items() if key in kept or key not in (*RIGHTS, *PLACEMENT)}


def _canonical_alteration(kind: str, alteration: Attributes) -> Attributes:
    before = _canonical_attributes(kind, {key: value["before"] for key, value in alteration.items()})
    after = _canonical_attributes(kind, {key: value["after"] for key, value in alteration.items()})
    altered = {key: value for key, value in after.items() if value != before[key]}
    rights = {key: _difference(alteration[key]) for key in RIGHTS if key in alteration and key not in altered}
    return {**altered, **rights}


def _difference(alteration: Mapping[str, Any]) -> Any:
    """Return what was given and taken of a list of privileges or roles; of an owner, the new one."""
    before, after = alteration["before"], alteration["after"]
    if isinstance(before, str) or isinstance(after, str):
        return after
    old, new = set(before or ()), set(after or ())
    return {"added": sorted(new - old), "removed": sorted(old - new)}


def _canonical_values(kind: str, attributes: Attributes) -> Attributes:
    if kind in _VERBATIM_KINDS:
        return dict(attributes)
    return {key: _canonical_value(value) if key in _EXPRESSIONS else value for key, value in attributes.items()}


def _canonical_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_canonical_value(item) for item in value]
    return canonical_expression(value) if isinstance(value, str) else value


def _listed(part: dict[str, Any]) -> Iterator[tuple[str, str, Attributes]]:
    order = ["tables", "columns"]
    for kind in sorted(part, key=lambda kind: (order.index(kind) if kind in order else len(order), kind)):
        for name in sorted(part[kind]):
            yield kind, name, part[kind][name]


def _one(kind: str) -> str:
    singular = {"policies": "policy", "indexes": "index", "default_privileges": "default privileges"}
    return singular.get(kind, kind[:-1] if kind.endswith("s") else kind).replace("_", " ")


def _detail(kind: str, attributes: Attributes) -> str:
    if kind == "columns":
        return f" ({attributes.get('type')})"
    short = attributes.get("definition")
    return f" ({short})" if kind in ("constraints", "indexes") and short else ""


def _alteration(attributes: Attributes) -> str:
    return "; ".join(
        f"{key.replace('_', ' ')} was {_shown(value['before'])}, is {_shown(value['after'])}"
        for key, value in attributes.items()
    )


def _shown(value: Any) -> str:
    text = "not set" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:199] + "…"  # noqa: PLR2004


# -- expressions --------------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""\s+ | (?P<token> [EBXU]&?'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | :: | [()\[\],;.]
    | \d[\w.]* | \w[\w$]* | [^\s\w()\[\],;.'":]+ | :)""",
    re.VERBOSE | re.DOTALL,
)

_MORE_WORDS = {
    "double": ("precision",),
    "character": ("varying",),
    "bit": ("varying",),
    "interval": ("year", "month", "day", "hour", "minute", "second", "to"),
}

_ZONE = (["with", "time", "zone"], ["without", "time", "zone"])

_NOT_FUNCTIONS = frozenset(
    (
        "and", "or", "not", "when", "then", "else", "case", "end", "where", "on", "is", "between", "like", "ilike",
        "as", "select", "from", "having", "by", "returning", "default", "distinct", "limit", "offset", "union",
        "all", "collate",
    )
)  # fmt: skip
"""Words after which parentheses only group: after any other word they may hold the arguments of a function."""

_PAIRS = {"(": ")", "[": "]"}


def canonical_expression(text: str) -> str:
    """Return an SQL expression without casts, redundant parentheses and spacing.

    PostgreSQL prints ``(ARRAY['a'::character varying])::text[]`` before a dump and restore what it prints as
    ``ARRAY[('a'::character varying)::text]`` after it. The result is for comparing only: it is not SQL.
    """
    tree, _end = _parse(_without_casts([match["token"] for match in _TOKEN.finditer(text) if match["token"]]), 0)
    return " ".join(_rendered(_simplified(tree)))


def _without_casts(tokens: list[str]) -> list[str]:
    kept: list[str] = []
    position = 0
    while position < len(tokens):
        if tokens[position] == "::":
            position = _end_of_type(tokens, position + 1)
        else:
            kept.append(tokens[position])
            position += 1
    return kept


def _end_of_type(tokens: list[str], position: int) -> int:
    """Return the position behind a type's name, which may be qualified, of many words, with length and as array."""
    while tokens[position + 1 : position + 2] == ["."]:
        position += 2
    word = tokens[position] if position < len(tokens) else ""
    position += 1
    while position < len(tokens) and tokens[position] in _MORE_WORDS.get(word, ()):
        position += 1
    if tokens[position : position + 1] == ["("]:
        position = tokens.index(")", position) + 1
    if word in ("time", "timestamp") and tokens[position : position + 3] in _ZONE:
        position += 3
    while tokens[position : position + 2] == ["[", "]"]:
        position += 2
    return position


def _parse(tokens: list[str], position: int, end: str = "") -> tuple[list[_Node], int]:
    nodes: list[_Node] = []
    while position < len(tokens):
        token = tokens[position]
        if token == end:
            return nodes, position + 1
        if token in _PAIRS:
            inner, position = _parse(tokens, position + 1, _PAIRS[token])
            nodes.append([token, *inner])
        else:
            nodes.append(token)
            position += 1
    return nodes, position


def _simplified(nodes: list[_Node]) -> list[_Node]:
    simple: list[_Node] = []
    for node in nodes:
        current = node if isinstance(node, str) else [node[0], *_simplified(node[1:])]
        while _is_redundant(current, simple[-1] if simple else ""):
            simple.extend(current[1:-1])
            current = current[-1]
        simple.append(current)
    return simple if len(nodes) != 1 or not _is_group(simple[-1]) else _opened(simple)


def _opened(nodes: list[_Node]) -> list[_Node]:
    """Take away parentheses around the whole of what stands in parentheses already, or alone."""
    while len(nodes) == 1 and _is_group(nodes[0]):
        nodes = list(nodes[0][1:])
    return nodes


def _is_group(node: _Node) -> bool:
    return isinstance(node, list) and bool(node) and node[0] == "("


def _is_redundant(node: _Node, previous: _Node) -> bool:
    if not _is_group(node) or _is_function(previous):
        return False
    inner = node[1:]
    if len(inner) == 1:
        return isinstance(inner[0], str) or _is_group(inner[0])
    return len(inner) == 2 and _is_function(inner[0]) and isinstance(inner[1], list)  # noqa: PLR2004


def _is_function(node: _Node) -> bool:
    if not isinstance(node, str) or not node:
        return False
    return (node[0].isalpha() or node[0] in '_"') and node.lower() not in _NOT_FUNCTIONS


def _rendered(nodes: list[_Node]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        else:
            yield node[0]
            yield from _rendered(node[1:])
            yield _PAIRS[node[0]]
