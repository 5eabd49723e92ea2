# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of others, ended with everything that they started."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed, Refused
from ansible_collections.balcon.rollback.plugins.module_utils._process import (
    Finished,
    Program,
    base_environment,
    check_finished,
    private_home,
    readable_tail,
    run_program,
    run_switch,
)

GRANDCHILD = """
import os, sys, time
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        {ignore}
        open({file!r}, "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
while not os.path.exists({file!r}) or not open({file!r}).read():
    time.sleep(0.005)
{then}
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def run(code: str, timeout: float = 20, **more: object) -> Finished:
    return run_program(python(code), environment=base_environment({}, "/"), folder="/", timeout=timeout, **more)  # type: ignore[arg-type]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_exit_code_and_output() -> None:
    finished = run("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert finished.exit_code == 3
    assert set(finished.output_tail.split()) == {"out", "err"}
    assert finished.ended == 0
    assert finished.seconds > 0


@pytest.mark.parametrize("ignore", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
@pytest.mark.parametrize("then", ["", "time.sleep(600)"])
def test_orphan_in_a_session_of_its_own_is_ended(tmp_path: Path, ignore: str, then: str) -> None:
    file = tmp_path / "pid"
    finished = run(GRANDCHILD.format(file=str(file), ignore=ignore, then=then), timeout=2 if then else 20)
    assert finished.ended == (2 if then else 1)
    assert finished.exit_code == (None if then else 0)
    assert not is_running(int(file.read_text()))


def test_no_process_of_somebody_else_is_ended(tmp_path: Path) -> None:
    with Program(python("import time; time.sleep(600)"), environment=base_environment({}, "/"), folder="/") as other:
        run("pass")
        assert other.exit_code is None


def test_ended_when_something_is_raised(tmp_path: Path) -> None:
    file = tmp_path / "pid"

    def look() -> None:
        if file.exists() and file.read_text():
            raise Failed("it strayed", remedy="")

    code = f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    with pytest.raises(Failed, match="it strayed"):
        run(code, each=look)
    assert not is_running(int(file.read_text()))


def test_output_without_end_does_not_fill_memory_or_block() -> None:
    finished = run("import sys\nwhile True: sys.stdout.write('x' * 65536)", timeout=0.5)
    assert finished.exit_code is None
    assert 0 < len(finished.output_tail) <= 4000


def test_half_a_secret_at_the_cut_is_thrown_away() -> None:
    long_secret = "s3cret-" * 500
    output = (long_secret[10:] + long_secret * 20 + "\nthe end").encode()
    assert "s3cret" in readable_tail(output, [long_secret])
    assert "s3cret" not in readable_tail(output, [long_secret], cut=True)
    secret = "s3cret-" * 5
    coloured = f"\x1b[31m{secret[:4]}\x1b[0m{secret[4:]}".encode()
    assert readable_tail(coloured, [secret]) == "********"


def test_nothing_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://production")
    with private_home() as home:
        environment = base_environment({"A": "b", "PATH": "/mine"}, home, "/node", "")
        code = "import os; print(sorted(os.environ.items()))"
        printed = run_program(python(code), environment=environment, folder="/", timeout=20).output_tail
        assert environment == {"A": "b", "PATH": "/node:/mine", "HOME": home, "LANG": "C.UTF-8"}
        assert "DATABASE_URL" not in printed
        assert list(Path(home).iterdir()) == []
    assert not Path(home).exists()


def test_no_open_file_is_inherited(tmp_path: Path) -> None:
    """Not even one that was opened to be inherited: it may be the journal, or a session of the database."""
    descriptor = os.open(tmp_path / "journal", os.O_RDWR | os.O_CREAT)
    os.set_inheritable(descriptor, True)
    try:
        code = "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))"
        run = run_program(python(code), environment=base_environment({}, "/"), folder="/", timeout=20)
        switched = run_switch(python(code), environment=base_environment({}, "/"), folder="/", timeout=20)
    finally:
        os.close(descriptor)
    for finished in (run, switched):
        assert finished.output_tail.strip() == "[0, 1, 2, 3]", "3 is the folder that is listed"


def test_programs_that_cannot_be_started(tmp_path: Path) -> None:
    environment = base_environment({}, "/")
    for arguments, folder in ((["no-such-program"], "/"), ([sys.executable], str(tmp_path / "missing"))):
        with pytest.raises(Refused):
            Program(arguments, environment=environment, folder=folder)


def test_switch_leaves_running_what_it_started(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    finished = run_switch(
        python(GRANDCHILD.format(file=str(file), ignore="", then="print('done')")),
        environment=base_environment({}, "/"),
        folder="/",
        timeout=20,
    )
    pid = int(file.read_text())
    try:
        assert (finished.exit_code, finished.output_tail) == (0, "done\n")
        assert is_running(pid)
    finally:
        os.kill(pid, 9)
    wait_for(lambda: not is_running(pid))


def test_switch_that_hangs() -> None:
    code = "import time; print('begun', flush=True); time.sleep(600)"
    finished = run_switch(python(code), environment=base_environment({}, "/"), folder="/", timeout=1)
    assert finished.exit_code is None
    assert finished.output_tail == "begun\n"


@pytest.mark.parametrize(("code", "said"), [(3, "exit code 3"), (-9, "signal 9"), (None, "within 5 s")])
def test_what_is_said_of_a_bad_end(code: int | None, said: str) -> None:
    with pytest.raises(Failed, match=said) as failure:
        check_finished(Finished(code, 1.0, "one\ntwo\n", 0), "The tool", 5, "Look.")
    assert "one | two" in failure.value.text()
    check_finished(Finished(0, 1.0, "", 0), "The tool", 5, "Look.")
