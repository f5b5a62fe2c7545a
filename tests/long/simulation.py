# SPDX-License-Identifier: MIT
"""Histories of the whole stack over a simulated bucket, clock and network: 100,000 and more, all modes in turn.

`--mode M --seed N` runs one history and prints it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from random import Random

from tests.simulation.modes import MODES, Broken, simulate, told

_BATCH = 200


def _batch(mode: str, first: int, count: int) -> tuple[Counter[str], list[str]]:
    """What happened in these histories, and those that broke an invariant."""
    seen: Counter[str] = Counter()
    broken = []
    for seed in range(first, first + count):
        try:
            seen.update(simulate(mode, seed).seen)
        except Broken as history:
            broken.append(str(history))
    return seen, broken


def _one(mode: str, seed: int) -> int:
    try:
        ended = simulate(mode, seed)
    except Broken as history:
        print(history)
        return 1
    print(told(mode, seed, f"nothing is broken; {dict(ended.seen)}", ended.history))
    return 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.long simulation", description=__doc__)
    parser.add_argument("--histories", type=int, default=100_000)
    parser.add_argument("--mode", choices=MODES, help="only this one")
    parser.add_argument("--seed", type=int, help="of the one history, or the first of all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    told_to = parser.parse_args(arguments)
    if told_to.mode and told_to.seed is not None and "--histories" not in arguments:
        return _one(told_to.mode, told_to.seed)
    modes = [told_to.mode] if told_to.mode else list(MODES)
    first = Random().randrange(10**9) if told_to.seed is None else told_to.seed
    start, seen, broken, done = time.monotonic(), Counter[str](), list[str](), 0
    batches = ((modes[n % len(modes)], first + n // len(modes) * _BATCH) for n in range(10**9))
    chosen = list(islice(batches, -(-told_to.histories // _BATCH)))
    with ProcessPoolExecutor(told_to.jobs) as pool:
        for found, failures in pool.map(_batch, *zip(*chosen, strict=True), [_BATCH] * len(chosen)):
            seen.update(found)
            broken += failures
            done += _BATCH
            for history in failures:
                print(history, flush=True)
    took = time.monotonic() - start
    print(f"{done} histories from seed {first} in {took:.0f} s, {done / took:.0f} a second; {dict(seen)}")
    print(f"FAILED: {len(broken)} broke an invariant" if broken else "passed: none broke an invariant")
    return int(bool(broken))
