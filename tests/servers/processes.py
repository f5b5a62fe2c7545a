# SPDX-License-Identifier: MIT
"""Starting and stopping programs: free loopback ports, a clean environment, a log, and a certain end."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

# As it was before tests/conftest.py takes credentials and proxies out: pip and go may need them.
STARTED_WITH = dict(os.environ)

KEEPER = Path(__file__).with_name("keeper.py")


class Unavailable(Exception):
    """This machine cannot run that server; the message says what to install."""


class StartFailed(Exception):
    """The server is installed and did not come up; holds the end of its log."""


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, all different. Another program may still take one: start again then."""
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def clean_environment(folder: Path, **more: str) -> dict[str, str]:
    """Nothing of the caller's but the search path: no credentials, no proxies, no home."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8", **more}


def run(arguments: Sequence[object], *, env: Mapping[str, str], timeout: float = 600.0, also_good: int = 0) -> str:
    """Run to the end; its standard output. StartFailed when the exit status is neither 0 nor `also_good`."""
    words = [str(word) for word in arguments]
    done = subprocess.run(words, env=dict(env), capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode not in (0, also_good):
        raise StartFailed(f"{' '.join(words)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


class Running:
    """One program under its keeper."""

    def __init__(self, keeper: subprocess.Popen[bytes], log: Path) -> None:
        self._keeper = keeper
        self._log = log

    def wait_until(self, ready: Callable[[], bool], *, seconds: float = 60.0) -> None:
        """Ask `ready` until it says yes. StartFailed with the log's end when the program or the time ends."""
        end = time.monotonic() + seconds
        while not ready():
            if self._keeper.poll() is not None or time.monotonic() > end:
                printed = self._log.read_text(errors="replace")[-2000:]
                raise StartFailed(f"{self._log.stem} did not come up:\n{printed}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._keeper.wait(30)


@contextmanager
def running(
    name: str, arguments: Sequence[object], *, folder: Path, env: Mapping[str, str], grace: float = 5.0
) -> Iterator[Running]:
    """Keep a program running inside the block; its output goes to `folder`/`name`.log."""
    log = folder / f"{name}.log"
    words = [sys.executable, str(KEEPER), str(grace), *(str(word) for word in arguments)]
    with log.open("ab") as output:
        # A session of its own: an interrupt at the keyboard is for the test run, which ends it in order.
        keeper = subprocess.Popen(
            words,
            cwd=folder,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    program = Running(keeper, log)
    try:
        yield program
    finally:
        program.stop()


def answers(port: int, path: str = "/") -> bool:
    """Does somebody speak HTTP there?"""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        connection.getresponse().read()
        return True
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def listens(port: int) -> bool:
    """Does somebody accept connections there?"""
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0
