# SPDX-License-Identifier: MIT
"""Each known bug, planted alone, is found by the very histories that the gate runs."""

from __future__ import annotations

import pytest

from .modes import Broken, simulate
from .plants import PLANTS
from .test_simulation import HISTORIES


@pytest.mark.parametrize("name", PLANTS)
def test_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mode, plants = PLANTS[name]
    plants(monkeypatch)
    with pytest.raises(Broken, match=f"mode {mode}, seed"):
        for seed in range(HISTORIES):
            simulate(mode, seed)
