# SPDX-License-Identifier: MIT
"""The processes of a run: the canned server, the delaying proxy, and a worker for each contender."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .cold import environment
from .venvs import CACHE, python

_HERE = Path(__file__).parent
# Where a worker of this name runs.
_VENVS = {"unobin_s3": "own", "httpx.Client": "own"}

Ask = Callable[..., dict[str, float]]


class Site:
    """Where the canned server listens."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.port = ports["http"]
        self.http = f"http://127.0.0.1:{ports['http']}"
        self.https = f"https://127.0.0.1:{ports['https']}"

    def counts(self) -> dict[str, int]:
        """Requests so far, by bucket."""
        with urllib.request.urlopen(f"{self.http}/-/counts") as answer:
            found: dict[str, int] = json.loads(answer.read())
            return found


@contextmanager
def site() -> Iterator[Site]:
    with _running([sys.executable, str(_HERE / "server.py"), str(CACHE / "server.pem")]) as process:
        yield Site(json.loads(_line(process)))


@contextmanager
def delayed(port: int, round_trip: float) -> Iterator[str]:
    """The URL of the server behind a proxy that adds `round_trip` seconds."""
    with _running([sys.executable, str(_HERE / "proxy.py"), str(port), str(round_trip / 2)]) as process:
        yield f"http://127.0.0.1:{int(_line(process))}"


@contextmanager
def worker(name: str, url: str) -> Iterator[Ask]:
    """A contender in its own process and environment; calling it with a command waits for its figures."""
    with _running([python(_VENVS.get(name, name)), "-P", str(_HERE / "worker.py"), name, url]) as process:

        def ask(do: str, **arguments: Any) -> dict[str, float]:
            if process.stdin is None:
                raise RuntimeError("no way to ask")
            process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            process.stdin.flush()
            answer: dict[str, float] = json.loads(_line(process))
            return answer

        yield ask


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Ends with its standard input; killed, this one process, if that is not enough."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(), cwd=CACHE
    )
    try:
        yield process
    finally:
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _line(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError(f"{process.args!r} ended")
    return line
