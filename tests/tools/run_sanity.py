# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ``ansible-test sanity`` on this checkout.

ansible-test wants a checkout at ``…/ansible_collections/balcon/rollback`` and refuses a link to one: it gets a copy of
the files that git knows or would add. It fetches a pip of its own from a server that may be out of reach: it is handed
the one that comes with Python. It drops the environment variables that configure pip: they are written into a file, in
a home folder made for ansible-test, where its virtual environments stay for the next run.

Arguments are handed on: ``run_sanity.py --test validate-modules plugins/modules/db_info.py``.
"""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
CACHE = PROJECT / ".cache" / "sanity"
HOME = CACHE / "home"

# Runs in place of get-pip.py, whose arguments are options and packages for pip.
BOOTSTRAP_PIP = """\
import subprocess
import sys

packages = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", *packages])
"""


def main() -> int:
    """Run the tests and return their exit code."""
    prepare_home()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [str(Path(sys.executable).with_name("ansible-test")), "sanity", "--local", "--python", version]
    with tempfile.TemporaryDirectory(dir=CACHE, ignore_cleanup_errors=True) as folder:
        copy = Path(folder, "ansible_collections", "balcon", "rollback")
        copy_checkout(copy)
        return subprocess.run([*command, *sys.argv[1:]], cwd=copy, env=environment(), check=False).returncode


def copy_checkout(copy: Path) -> None:
    """Copy what git knows or would add, without what it ignores, into a repository of its own."""
    for name in git("ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0"):
        source, target = PROJECT / name, copy / name
        if not name or not (source.exists() or source.is_symlink()):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet", str(copy)], check=True)


def git(*arguments: str) -> str:
    command = ["git", "-c", f"safe.directory={PROJECT}", *arguments]
    return subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout


def prepare_home() -> None:
    """Lay out the home folder: a stand-in for get-pip.py, and pip's configuration."""
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in pip_versions():
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(BOOTSTRAP_PIP)
    configuration = HOME / ".config" / "pip" / "pip.conf"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    configuration.unlink(missing_ok=True)
    with os.fdopen(os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        pip_configuration().write(handle)


def pip_versions() -> set[str]:
    """Return the releases of pip that this ansible-test may ask for."""
    spec = find_spec("ansible_test")
    if spec is None or spec.origin is None:
        sys.exit("ansible-test is not installed: run 'make setup'.")
    source = Path(spec.origin).parent / "_internal" / "python_requirements.py"
    return set(re.findall(r"""\bpip=['"]([0-9.]+)['"]""", source.read_text()))


def pip_configuration() -> configparser.RawConfigParser:
    """Return pip's effective configuration, files and environment taken together."""
    result = configparser.RawConfigParser()
    result.add_section("global")
    result.set("global", "quiet", "2")
    for option, names in {
        "cert": ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        "proxy": ("HTTPS_PROXY", "https_proxy"),
    }.items():
        found = [os.environ[name] for name in names if os.environ.get(name)]
        if found:
            result.set("global", option, found[0])
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):  # the environment wins
        key, _equals, value = line.partition("=")
        section, _dot, option = key.rpartition(".")
        section = "global" if section == ":env:" else section
        if not result.has_section(section):
            result.add_section(section)
        result.set(section, option, "\n".join(str(ast.literal_eval(value)).split()))
    return result


def environment() -> dict[str, str]:
    """Return the environment for ansible-test: its own home, and none of this user's settings for Ansible."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "GIT_", "XDG_"))}
    return {
        **kept,
        "HOME": str(HOME),
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
    }


if __name__ == "__main__":
    sys.exit(main())
