# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that several modules share, and which of their values are secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ._argspec import ArgumentSpec
from ._domain.errors import Refused
from ._domain.notice import EVENTS
from ._domain.probe import without_credentials
from ._domain.railway import ENDPOINT as ENDPOINT_OF_RAILWAY
from ._domain.secrets import is_plain

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

ENDPOINT: dict[str, Any] = {
    "name": {"type": "str"},
    "url": {"type": "str", "required": True, "no_log": True},
    "method": {"type": "str", "default": "GET"},
    "headers": {"type": "dict", "no_log": True},
    "body": {"type": "raw", "no_log": True},
    "status": {"type": "list", "elements": "int"},
    "json": {"type": "dict"},
    "contains": {"type": "str"},
    "absent": {"type": "str"},
    "max_latency_ms": {"type": "float"},
}

_REQUEST: dict[str, Any] = {
    "url": {"type": "str", "no_log": True},
    "method": {"type": "str"},
    "body": {"type": "raw", "no_log": True},
}

RAILWAY: dict[str, Any] = {
    "token": {"type": "str", "required": True, "no_log": True},
    "token_kind": {"type": "str", "choices": ["project", "account"], "default": "project", "no_log": False},
    "project_id": {"type": "str", "required": True},
    "environment_id": {"type": "str", "required": True},
    "service_id": {"type": "str", "required": True},
    "endpoint": {"type": "str", "default": ENDPOINT_OF_RAILWAY},
}

MAINTENANCE_OPTIONS: dict[str, Any] = {
    "provider": {"type": "str", "required": True, "choices": ["file", "command", "http", "railway"]},
    "file": {
        "type": "dict",
        "options": {"path": {"type": "path", "required": True}, "content": {"type": "str"}},
    },
    "command": {
        "type": "dict",
        "options": {
            "on": {"type": "list", "elements": "raw", "required": True},
            "off": {"type": "list", "elements": "raw", "required": True},
            "status": {"type": "list", "elements": "str"},
            "environment": {"type": "dict", "no_log": True},
            "chdir": {"type": "path"},
        },
    },
    "http": {
        "type": "dict",
        "options": {
            "url": {"type": "str", "required": True, "no_log": True},
            "on": {"type": "dict", "options": _REQUEST},
            "off": {"type": "dict", "options": _REQUEST},
            "headers": {"type": "dict", "no_log": True},
        },
    },
    "railway": {
        "type": "dict",
        "options": {
            **RAILWAY,
            "variable": {"type": "str", "default": "MAINTENANCE_MODE"},
            "on": {"type": "str", "default": "true"},
            "off": {"type": "str", "default": "false"},
            "redeploy": {"type": "bool", "default": True},
            "deadline": {"type": "float", "default": 300.0},
        },
    },
    "probe": {"type": "dict", "options": ENDPOINT},
    "deadline": {"type": "float", "default": 10.0},
}

MAINTENANCE_RULES: list[tuple[str, str, list[str]]] = [
    ("provider", kind, [kind]) for kind in ("file", "command", "http", "railway")
]

NOTICE_CHANNEL: dict[str, Any] = {
    "channel": {"type": "str", "required": True, "choices": ["webhook", "slack", "email", "command"]},
    "name": {"type": "str"},
    "events": {"type": "list", "elements": "str", "choices": list(EVENTS)},
    "url": {"type": "str", "no_log": True},
    "headers": {"type": "dict", "no_log": True},
    "host": {"type": "str"},
    "port": {"type": "int"},
    "security": {"type": "str", "choices": ["starttls", "tls", "none"], "default": "starttls"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "sender": {"type": "str"},
    "to": {"type": "list", "elements": "str"},
    "ca_file": {"type": "path"},
    "command": {"type": "list", "elements": "str"},
    "environment": {"type": "dict", "no_log": True},
    "chdir": {"type": "path"},
}

ENGINE = ArgumentSpec(
    {
        "engine": {"type": "str", "choices": ["npm"], "default": "npm"},
        "engine_options": {
            "type": "dict",
            "required": True,
            "options": {
                "project_dir": {"type": "path", "required": True},
                "migrations_dir": {"type": "str", "default": "migrations"},
                "pattern": {"type": "str", "default": "*"},
                "extension": {"type": "str", "default": ""},
                "manifest": {"type": "str"},
                "schema": {"type": "str", "default": "public"},
                "table": {"type": "str", "default": "migrations_meta"},
                "name_column": {"type": "str", "default": "name"},
                "order": {"type": "str", "choices": ["name", "column"], "default": "name"},
                "order_column": {"type": "str"},
                "scripts": {
                    "type": "dict",
                    "options": {
                        "down": {"type": "str", "default": "migrate:down"},
                        "up": {"type": "str", "default": "migrate"},
                        "up_one": {"type": "str"},
                        "status": {"type": "str", "default": "migrate:status"},
                    },
                },
                "node_path": {"type": "path"},
                "url_variable": {"type": "str", "default": "DATABASE_URL"},
            },
        },
        "environment": {"type": "dict", "no_log": True, "default": {}},
    }
)


def maintenance_options(given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of M(balcon.rollback.maintenance_mode), as that module would get them.

    Args:
        given: what a module got for them as one dictionary.

    Raises:
        Refused: they are not what that module takes.
    """
    result = ArgumentSpecValidator(MAINTENANCE_OPTIONS, required_if=MAINTENANCE_RULES).validate(given)
    if result.error_messages:
        raise Refused(
            f"Maintenance mode cannot be set as it is described: {'; '.join(result.error_messages)}.",
            untouched="Nothing was touched.",
            remedy="Correct rollback_maintenance in the inventory: the module maintenance_mode says what it takes.",
        )
    return dict(result.validated_parameters)


def show_plain_values(module: AnsibleModule, *sources: Any) -> None:
    """Let harmless values of secret options be seen: ``NODE_ENV=production`` must not blot out "production" everywhere.

    Ansible takes every value of an option with C(no_log) out of the whole result, numbers and short words included.

    Args:
        module: the module.
        sources: values of its options that are marked C(no_log), or hold such.
    """
    leaves = [leaf for source in sources for leaf in _leaves("", source)]
    plain = {value for name, value in leaves if _may_be_seen(name, value)}
    module.no_log_values -= plain - {value for name, value in leaves if not _may_be_seen(name, value)}


def show_maintenance(module: AnsibleModule, given: dict[str, Any] | None) -> None:
    """Let what is not secret in the options of maintenance mode be seen, where a module takes all of them as one.

    Such an option is secret as a whole, and Ansible would take the endpoint's name out of the message that it does not
    answer. The same values are secret here as in M(balcon.rollback.maintenance_mode).

    Args:
        module: the module.
        given: the value of its option that is marked C(no_log).
    """
    secret = [leaf for name, value in _secrets(MAINTENANCE_OPTIONS, given or {}) for leaf in _leaves(name, value)]
    module.no_log_values -= {value for _name, value in _leaves("", given)} - {value for _name, value in secret}
    show_plain_values(module, given)


def _secrets(options: dict[str, Any], given: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return name and value of each option that is secret by itself, at any depth."""
    for name, value in given.items():
        option = options.get(name, {"no_log": True})  # what nobody knows may be anything
        if option.get("no_log"):
            yield name, value
        elif isinstance(value, dict) and "options" in option:
            yield from _secrets(option["options"], value)


def _may_be_seen(name: str, value: str) -> bool:
    if name == "url":  # of an endpoint: some carry a token in their query
        return without_credentials(value) == value
    return is_plain(name, value)


def _leaves(name: str, value: object) -> Iterator[tuple[str, str]]:
    """Return names and values; all of a request's body counts as secret, as logins stand there."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _leaves("SECRET" if key == "body" else str(key), entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _leaves(name, entry)
    elif value is not None and not isinstance(value, bool):
        yield name, str(value)
