# SPDX-License-Identifier: MIT
"""The gate's share of histories, over every mode; more by `python -m tests.long simulation`."""

from __future__ import annotations

from collections import Counter

import pytest

from .modes import MODES, simulate

HISTORIES = 170  # of each mode; 2,040 in all
# What must have happened in them, or they prove nothing.
_ALWAYS = ("moves", "writes", "OutcomeUnknown", "LockHeld", "TransportError")
_LEASE = ("take-overs", "lock lost", "PointerMoved")
_OPEN = ("suffixes", "late creates")


@pytest.mark.parametrize("mode", MODES)
def test_no_history_breaks_an_invariant(mode: str) -> None:
    seen: Counter[str] = Counter()
    for seed in range(HISTORIES):
        seen.update(simulate(mode, seed).seen)
    made = MODES[mode]
    wanted = _ALWAYS + (_LEASE if made.lease else ()) + (_OPEN if made.late and not made.aim else ())
    assert not [name for name in wanted if not seen[name]]


@pytest.mark.parametrize("mode", MODES)
def test_a_seed_gives_the_same_history_again(mode: str) -> None:
    assert simulate(mode, 7).history == simulate(mode, 7).history


def test_seeds_differ() -> None:
    assert simulate("plain", 1).history != simulate("plain", 2).history
