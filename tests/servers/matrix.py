# SPDX-License-Identifier: MIT
"""MATRIX.md: server by guarantee, written from what a run saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .capabilities import BUILT_FROM_GO, GUARANTEES, SITES, expected

PATH = Path(__file__).with_name("MATRIX.md")
SEEN: dict[tuple[str, str], str] = {}  # (site, guarantee) -> what happened in this run

_INTRODUCTION = """# Which stores keep which guarantee

Written by `python -m tests.servers` (add `--go` for MinIO and versitygw, which it builds first) from what each server
did under the conformance suite in `checks.py`; every run of the tests compares it with the servers at hand.
*refused* means that the library notices and raises that error instead of going on.

"""


def rendered(cell: Callable[[str, str], str]) -> str:
    names = SITES | BUILT_FROM_GO
    lines = ["| | " + " | ".join(names.values()) + " |", "|---" * (len(names) + 1) + "|"]
    for guarantee, title in GUARANTEES.items():
        cells = [cell(site, guarantee) for site in names]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return _INTRODUCTION + "\n".join(lines) + "\n"


def seen_or_known(site: str, guarantee: str) -> str:
    """What this run saw; of a server that did not run, what the last run that had it saw."""
    return SEEN.get((site, guarantee)) or expected(site, guarantee)
