# SPDX-License-Identifier: MIT
"""Go and Python processes contending for one lock. For a test, and for `python -m tests.long`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.interop.go_driver import GoProgram
from tests.interop.sides import FACTORY
from tests.servers.launch import Site
from tests.servers.processes import clean_environment

ROOT = Path(__file__).parents[2]
POLL = 0.01  # seconds; the real pauses of half a second would only make it longer
HOLD = 0.002  # seconds inside, so that a second holder would be seen
REST = 0.03  # seconds after each turn: longer than a poll, or the holder would win nearly always
LIMIT = 1800.0  # seconds for one process


@dataclass(frozen=True)
class Contention:
    """What happened: acquisitions by each side, how often the side changed, second holders seen inside."""

    go: int
    python: int
    handovers: int
    overlaps: int
    ids: int
    seconds: float


def run(site: Site, stack: str, go_binary: Path, folder: Path, rounds: int, processes: int = 2) -> Contention:
    """`rounds` acquisitions in all, by `processes` Go and as many Python processes. `folder` is empty."""
    each = rounds // (2 * processes)
    told = {
        "rounds": each, "poll": POLL, "hold": HOLD, "rest": REST,
        "marker": str(folder / "marker"), "journal": str(folder / "journal"),
    }  # fmt: skip
    with ExitStack() as stacked:
        children = [stacked.enter_context(_python(site, stack, folder, told)) for _ in range(processes)]
        programs = [stacked.enter_context(GoProgram(go_binary)) for _ in range(processes)]
        pool = stacked.enter_context(ThreadPoolExecutor(2 * processes))
        began = time.monotonic()
        running = [pool.submit(_contend_in_python, child) for child in children]
        running += [pool.submit(_contend_in_go, program, site, stack, told) for program in programs]
        overlaps = sum(side.result() for side in running)
        seconds = time.monotonic() - began
    lines = [line.split() for line in (folder / "journal").read_text().splitlines()]
    names = [name for name, _ in lines]
    handovers = sum(before != after for before, after in pairwise(names))
    unique = len({lock for _, lock in lines})
    return Contention(names.count("go"), names.count("python"), handovers, overlaps, unique, round(seconds, 1))


def _contend_in_go(program: GoProgram, site: Site, stack: str, told: dict[str, Any]) -> int:
    keys = (site.access_key, site.secret_key)
    store = program.open(site.url, site.bucket, factory=FACTORY, stack=stack, keys=keys, poll=POLL)
    pauses = {"hold_ms": int(HOLD * 1000), "rest_ms": int(REST * 1000)}
    files = {name: told[name] for name in ("rounds", "marker", "journal")}
    return int(store.call("contend", limit=LIMIT, **pauses, **files))


@contextmanager
def _python(site: Site, stack: str, folder: Path, told: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """A contender that is ready to begin: both sides start at once, or one would be done before the other came."""
    keys = [site.access_key, site.secret_key]
    place = {"endpoint": site.url, "bucket": site.bucket, "keys": keys, "factory": FACTORY, "stack": stack}
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.interop.contender", json.dumps(told | place)],
        cwd=ROOT, env=clean_environment(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with child:
        try:
            if child.stdout is None or child.stdout.readline() != "ready\n":
                raise AssertionError("a Python contender did not start; its error is on standard error")
            yield child
        finally:
            child.kill()


def _contend_in_python(child: subprocess.Popen[str]) -> int:
    printed, _ = child.communicate("begin\n", timeout=LIMIT)
    if child.returncode != 0:
        raise AssertionError("a Python contender failed; its error is on standard error")
    return int(printed)
