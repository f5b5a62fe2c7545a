# SPDX-License-Identifier: MIT
"""One lock, taken by Go and by Python: never two holders, and each can tell who the other is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.interop import contention
from tests.interop.go_driver import GoError, GoProgram
from tests.interop.sides import Pairing
from tests.servers.launch import Site
from unobin_s3 import LockHeld, LockLost


def test_two_hundred_acquisitions(go_binary: Path, site: Site, stack: str, tmp_path: Path) -> None:
    found = contention.run(site, stack, go_binary, tmp_path, rounds=200)
    assert found.overlaps == 0
    assert (found.go, found.python, found.ids) == (100, 100, 200)
    assert found.handovers >= 10  # they did take turns, so they did contend


def test_python_is_kept_out_by_go_and_says_by_whom(pair: Pairing, site: Site, stack: str) -> None:
    sides = pair(site, stack)
    lock_id = sides.go.lock()
    held = json.loads(sides.raw("lock"))
    told: list[object] = []
    with pytest.raises(LockHeld) as refused:
        sides.python.lock(timeout=0.2, poll=0.05, on_wait=told.append)
    error = refused.value
    assert (error.id, error.who) == (lock_id, held["who"])
    assert held["who"] in str(error)
    assert held["created"].startswith(error.since[:-1])  # to the second
    assert len(told) == 1
    sides.go.unlock()
    with sides.python.lock(timeout=5):
        pass


def test_go_is_kept_out_by_python_and_says_by_whom(go: GoProgram, pair: Pairing, site: Site, stack: str) -> None:
    sides = pair(site, stack)
    with sides.python.lock(timeout=5) as lock:
        with pytest.raises(GoError) as refused:
            sides.go.lock(timeout=0.1)
        assert refused.value.kind == "deadline"
        since = f"{lock.info.created[:19]}Z"
        holder = f"state locked by {lock.info.who} since {since}; run 'state force-unlock' if the holder is gone"
        assert str(refused.value) == f"context deadline exceeded; {holder}"
        body = sides.raw("lock")
        # Go's bytes, but for a run URL where CI gives one.
        assert go.batch("lock-recode", [body]) == [re.sub(rb',"run-url":.*', b"}", body)]
    assert sides.go.lock(timeout=5)
    sides.go.unlock()


def test_go_reads_a_lock_with_a_lease(pair: Pairing, site: Site, stack: str) -> None:
    sides = pair(site, stack)
    lock = sides.python.lock(timeout=5, lease=30, heartbeat=False)
    assert b'"lease":30' in sides.raw("lock")
    with lock, pytest.raises(GoError, match=f"state locked by {lock.info.who}"):
        sides.go.lock(timeout=0.1)


def test_each_breaks_the_others_lock(pair: Pairing, site: Site, stack: str) -> None:
    sides = pair(site, stack)
    lock_id = sides.go.lock()
    broken = sides.python.force_unlock()
    assert broken is not None
    assert broken.id == lock_id
    assert sides.python.lock_info() is None
    lock = sides.python.lock(timeout=5)
    sides.go.force_unlock()
    assert sides.python.lock_info() is None
    with pytest.raises(LockLost):
        lock.release()
