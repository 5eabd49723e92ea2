#!/bin/sh
# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Runs every linter, also after one has complained; exits 1 when any did. `make lint` calls this.
set -u
cd -- "$(dirname -- "$0")/../.." || exit 1

[ -t 1 ] || export NO_COLOR=1

complained=
check() {
    name=$1
    shift
    echo "== $name"
    "$@" || complained="$complained $name"
}

check "ruff" ruff check --quiet .
check "ruff-format" ruff format --check --quiet .
# Plugins are named by their place below collections/, so that mypy knows them by the names they import each other by.
check "mypy" mypy collections/ansible_collections/balcon/rollback/plugins examples/demo tests molecule
check "yamllint" yamllint --strict .
check "ansible-lint" ansible-lint --offline -q

if [ -n "$complained" ]; then
    echo "lint: these complained:$complained" >&2
    exit 1
fi
