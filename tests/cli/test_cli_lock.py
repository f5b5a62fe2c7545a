# SPDX-License-Identifier: MIT
"""`lock -- CMD`: what ends it, what is passed on, and that the lock is always given back."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from tests.cli.conftest import ROOT, Bench, checked
from unobin_s3.testing import Fault

# Says that it runs, waits for a line, and tells of SIGTERM by its exit code.
_WORK = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
signal.signal(signal.SIGINT, lambda *_: sys.exit(8))
print("running", flush=True)
sys.exit(int(sys.stdin.readline() or 1))
"""
WORK = ("--", sys.executable, "-c", _WORK)


def _working(bench: Bench, *arguments: str) -> subprocess.Popen[bytes]:
    process = bench.run.start("lock", *arguments, *WORK, stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"running\n"
    assert bench.locked()
    return process


def _ended(bench: Bench, process: subprocess.Popen[bytes], line: bytes | None = None) -> tuple[int, str, str]:
    if line is None:
        process.wait(30)  # with its stdin open
    with process:
        out, err = process.communicate(line, timeout=30)
    assert not bench.locked()
    return process.returncode, out.decode(), err.decode()


def test_the_exit_code_is_passed_on(bench: Bench) -> None:
    assert _ended(bench, _working(bench), b"7\n")[0] == 7
    done = bench.run.spawn("lock", "--json", "--", "sh", "-c", 'test -n "$UNOBIN_S3_LOCK_ID"')
    assert done.code == 0 and done.document["exit-code"] == 0 and not bench.locked()
    assert bench.run("lock", "--", "sh", "-c", "kill -9 $$").code == 128 + 9
    assert not bench.locked()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 9), (signal.SIGINT, 8), (signal.SIGHUP, 128 + 1)])
def test_signals_go_to_the_program(bench: Bench, number: int, code: int) -> None:
    process = _working(bench)
    process.send_signal(number)
    assert _ended(bench, process)[0] == code


@pytest.mark.parametrize("more", [["--check", "0.1"], ["--lease", "10", "--check", "0.1s"]])
def test_a_lost_lock_ends_the_program(bench: Bench, more: list[str]) -> None:
    process = _working(bench, *more, "--json")
    bench.server.put("net/prod/lock", b'{"id":"1","who":"eve@ci"}')
    process.wait(30)  # with its stdin open
    with process:
        out, err = process.communicate()
    document = checked(json.loads(out))
    assert (process.returncode, document["ok"], document["exit-code"]) == (124, False, 9)
    assert b"eve@ci" in err and bench.locked()  # hers is left alone


def test_a_lock_that_is_gone_at_the_end(bench: Bench) -> None:
    process = _working(bench)
    bench.server.delete("net/prod/lock")
    code, _, err = _ended(bench, process, b"0\n")
    assert code == 124 and "it is gone" in err


def test_an_outage_does_not_end_the_program(bench: Bench) -> None:
    bench.server.fault("GetObject /lock", Fault())  # a won lock is read back
    bench.server.fault("GetObject /lock", Fault(status=403, code="AccessDenied"), times=2)
    process = _working(bench, "--check", "0.05")
    bench.wait_for(lambda: [record.key for record in bench.server.requests].count("net/prod/lock") > 4)
    code, _, err = _ended(bench, process, b"0\n")
    assert code == 0 and err.count("not known") == 2


def test_own_failures(bench: Bench) -> None:
    assert bench.run("lock", "--", "no-such-program-anywhere").code == 127
    assert bench.run("lock", "--", "/dev/null").code == 126
    assert bench.run("lock").code == 125
    assert bench.run("lock", "--lease", "5s", "--", "true").code == 125
    assert not bench.locked()
    with bench.store().lock(who="bob@ci"):
        done = bench.run("lock", "--wait", "0", "--json", "--", "true")
        assert done.code == 125 and "bob@ci" in done.document["diagnostics"][0]["message"]


def test_a_waiting_lock_gives_up_on_sigterm(bench: Bench) -> None:
    with bench.store().lock() as lock:
        process = bench.run.start("lock", "--", "true")
        assert process.stderr is not None
        assert b"waiting for the lock" in process.stderr.readline()
        process.terminate()
        with process:
            process.communicate(timeout=30)
        assert process.returncode == 143
        assert lock.check().id == lock.info.id


def test_arguments_of_the_program_are_its_own(bench: Bench) -> None:
    done = bench.run.spawn("lock", "--", "echo", "--json", "-v")
    assert (done.code, done.out) == (0, "--json -v\n")


# Becomes the foreground of the terminal that is its stdin, as a shell's job is.
_FOREGROUND = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
# Ends a while after the first SIGINT, with the number of them.
_COUNT = """
import signal, sys, time
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
print("running", flush=True)
while not seen:
    signal.pause()
time.sleep(0.5)
sys.exit(10 + len(seen))
"""


def test_ctrl_c_reaches_the_program_once(bench: Bench) -> None:
    """The terminal sends it to the whole group: sent on, it would come twice, and many programs then stop hard."""
    ours, theirs = pty.openpty()
    lock = ["-m", "unobin_s3", "lock", "--", sys.executable, "-c", _COUNT]
    env = bench.run.env | {"PYTHONPATH": ROOT}
    command = [sys.executable, "-c", _FOREGROUND, sys.executable, *lock]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=env) as process:
        os.close(theirs)
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        os.write(ours, b"\x03")
        assert process.wait(30) == 11
    os.close(ours)
    assert not bench.locked()
