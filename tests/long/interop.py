# SPDX-License-Identifier: MIT
"""2,000 acquisitions of one lock by Go and Python processes, on each server named (testing and ministack)."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.interop import contention
from tests.interop.go_driver import build
from tests.servers import launch


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.long interop", description=__doc__)
    parser.add_argument("servers", nargs="*", default=["testing", "ministack"])
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=2, help="on each side")
    told = parser.parse_args(arguments)
    binary, failed = build(), False
    for name in told.servers:
        with tempfile.TemporaryDirectory() as folder, launch.started(name) as site:
            found = contention.run(site, "contended", binary, Path(folder), told.rounds, told.processes)
        good = found.overlaps == 0 and found.ids == found.go + found.python == told.rounds
        print(f"{'passed' if good else 'FAILED'}: {name}: {found}", flush=True)
        failed = failed or not good
    return int(failed)
