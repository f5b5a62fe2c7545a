# SPDX-License-Identifier: MIT
"""Thousands of writers killed with SIGKILL at random moments, on the testing server and MiniStack, and lease holders.

Shows that readers always see a whole, current state that opens, and that the next writer always gets in.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from pathlib import Path

from tests.killing import KEY, KEY_VARIABLE, Figures, Place, kill_holders, kill_many, server_process
from tests.servers import launch

SERVERS = ["testing", "ministack", "lease"]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.long kill9", description=__doc__)
    parser.add_argument("servers", nargs="*", default=SERVERS, help=f"of {', '.join(SERVERS)} and tests.servers")
    parser.add_argument("--kills", type=int, default=2000, help="on each server")
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args(arguments)
    os.environ[KEY_VARIABLE] = KEY
    logging.basicConfig(level=logging.ERROR)  # every take-over is a warning
    failed = False
    for name in told.servers:
        began = time.monotonic()
        try:
            print(f"passed: {name}: {_run(name, told.kills, told.seed)} ({time.monotonic() - began:.0f} s)", flush=True)
        except AssertionError as broken:
            print(f"FAILED: {name} (seed {told.seed}): {broken}", flush=True)
            failed = True
    return int(failed)


def _run(name: str, kills: int, seed: int) -> Figures:
    if name == "lease":
        return sum(kill_holders(kills, seed), Figures())
    if name == "testing":
        with tempfile.TemporaryDirectory() as folder, server_process(Path(folder)) as place:
            return kill_many(place, kills, seed)
    with launch.started(name) as site:
        return kill_many(Place(site.url, site.access_key, site.secret_key, site.region, site.bucket), kills, seed)
