# SPDX-License-Identifier: MIT
"""A writer killed at a random moment, a hundred times a server: the state stays whole, and the next writer gets in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.killing import KEY, KEY_VARIABLE, PHASES, Figures, Place, kill_holders, kill_many, server_process
from tests.servers.launch import Site, fresh_bucket

KILLS, LEASE_KILLS = 100, 20


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


def judge(figures: Figures) -> None:
    """The kills must have hit what they were meant to hit, or the test shows nothing."""
    assert figures.kills == KILLS and figures.reads > KILLS
    assert figures.locks_left >= 10, figures
    assert sum(figures.phases[phase] > 0 for phase in PHASES) >= 4, figures


def test_kills_on_the_testing_server(tmp_path: Path) -> None:
    with server_process(tmp_path) as place:
        judge(kill_many(place, KILLS, seed=9))


def test_kills_on_ministack(servers: Callable[[str], Site]) -> None:
    site = fresh_bucket(servers("ministack"), "killed")
    judge(kill_many(Place(site.url, site.access_key, site.secret_key, site.region, site.bucket), KILLS, seed=9))


def test_kills_of_lease_holders() -> None:
    (figures,) = kill_holders(LEASE_KILLS, seed=9)
    assert figures.kills == LEASE_KILLS and figures.locks_left >= 3, figures
