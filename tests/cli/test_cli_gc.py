# SPDX-License-Identifier: MIT
"""What gc may delete, how it asks for it, and what is left when it is stopped or disturbed."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.conftest import Bench
from unobin_s3.cli.bulk import doomed
from unobin_s3.state.revision import make_revision, sort_revisions
from unobin_s3.testing import Fault

DAY = 86400.0


def _asked(bench: Bench) -> Counter[str]:
    return Counter(record.operation for record in bench.server.requests)


@given(
    ages=st.lists(st.integers(0, 400), min_size=1, max_size=30, unique=True),
    keep=st.none() | st.integers(0, 40),
    min_age=st.integers(0, 400),
    data=st.data(),
)
def test_rules(ages: list[int], keep: int | None, min_age: int, data: st.DataObject) -> None:
    """Against the rules said another way: oldest first, and each one that goes may go."""
    now = 2_000_000_000.0
    written = {make_revision(int((now - age * DAY) * 1e9)): now - age * DAY for age in ages}
    own = sort_revisions(written)
    current, pin = data.draw(st.sampled_from(own)), data.draw(st.sampled_from(own))
    late = data.draw(st.sampled_from(own))
    written |= {"stray": 0.0, late: now}  # one was copied there today
    going = doomed(written, current, keep=keep, min_age=min_age * DAY, pins=[pin], now=now)
    assert going == [rev for rev in own if rev in going]
    for index, rev in enumerate(own):
        newer = len(own) - 1 - index
        goes = rev not in (current, pin) and now - written[rev] >= min_age * DAY and (keep is None or newer >= keep)
        assert (rev in going) == goes


def test_ten_thousand_snapshots(bench: Bench) -> None:
    nothing = _peak(bench, "snapshots")
    revs = bench.plant(10_000)
    bench.server.put("net/prod/snapshots/stray.json.enc", b"")
    bench.server.reset_requests()
    assert bench.run.json("status")["snapshots"]["count"] == 10_000
    assert _asked(bench)["ListObjectsV2"] < 12
    bench.server.reset_requests()
    assert _peak(bench, "gc", "--keep", "100") - nothing < 20_000  # kB; ten thousand names are 2 MB
    assert _asked(bench)["DeleteObjects"] == 10 and _asked(bench)["PutObject"] < 30
    assert bench.revs() == [*revs[-100:], "stray"] and not bench.locked()


def _peak(bench: Bench, *arguments: str) -> int:
    """Peak of resident memory, in kB."""
    process = bench.run.start(*arguments, stdout=None, stderr=None)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


def test_dry_run_takes_no_lock_and_deletes_nothing(bench: Bench) -> None:
    revs = bench.plant(5)
    before = bench.server.objects()
    found = bench.run.json("gc", "--keep", "2", "--dry-run")
    assert (found["would-delete"], found["deleted"], found["kept"]) == (revs[:3], 0, 2)
    assert bench.server.objects() == before and not _asked(bench)["PutObject"]
    assert revs[0] in bench.run("gc", "--keep", "2", "--dry-run").out


def test_pins_current_and_grace(bench: Bench) -> None:
    revs = bench.plant(6)
    bench.store().set_current(revs[0])
    (young,) = bench.write("a")
    bench.store().set_current(revs[0])
    assert bench.run("gc", "--keep", "0", "--pin", "2026-01-01T00:00:00Z").code == 5
    found = bench.run.json("gc", "--keep", "0", "--pin", revs[2])
    assert bench.revs() == [revs[0], revs[2], young] and found["kept"] == 3
    assert bench.run.json("gc", "--older-than", "999w")["deleted"] == 0


def test_what_may_go_must_be_said(bench: Bench) -> None:
    bench.plant(2)
    for arguments in ([], ["--keep", "-1"], ["--older-than", "soon"], ["--keep", "x"]):
        assert bench.run("gc", *arguments).code == 2
    assert len(bench.revs()) == 2


def test_refuses_without_a_pointer(bench: Bench) -> None:
    bench.plant(3)
    bench.server.delete("net/prod/current")
    assert bench.run("gc", "--keep", "0").code == 5
    for name in list(bench.server.objects()):
        bench.server.delete(name)
    assert bench.run("gc", "--keep", "0").code == 5  # nothing was ever written


@pytest.mark.parametrize(
    ("status", "code"), [(501, "NotImplemented"), (405, "MethodNotAllowed"), (400, "InvalidRequest")]
)
def test_falls_back_to_one_by_one(bench: Bench, status: int, code: str) -> None:
    revs = bench.plant(40)
    bench.server.fault("DeleteObjects", Fault(status=status, code=code), times=None)
    found = bench.run.json("gc", "--keep", "5")
    assert found["deleted"] == 35 and bench.revs() == revs[-5:]
    assert _asked(bench)["DeleteObjects"] == 1


def test_partial_work_is_reported(bench: Bench) -> None:
    revs = bench.plant(1500)
    bench.server.fault(lambda record: record.operation == "DeleteObjects", Fault(), times=1)
    bench.server.fault("DeleteObjects", Fault(status=403, code="AccessDenied"), times=None)
    done = bench.run("gc", "--keep", "1", "--json")
    assert done.code == 1
    assert (done.document["ok"], done.document["deleted"], done.document["kept"]) == (False, 1000, 500)
    assert bench.revs() == revs[1000:] and not bench.locked()
    assert "AccessDenied" in done.err


def test_one_that_cannot_be_deleted_is_named(bench: Bench) -> None:
    bench.plant(10)
    bench.server.add_user(bench.server.access_key, bench.server.secret_key, deny={"s3:DeleteObject"})
    done = bench.run("gc", "--keep", "1", "--json")
    assert done.code == 1 and len(bench.revs()) == 10


def test_a_pointer_that_moves_meanwhile_stops_it(bench: Bench) -> None:
    revs = bench.plant(2100)
    moves = Fault(applied=True, call=lambda: bench.server.put("net/prod/current", f"{revs[1500]}\n".encode()))
    bench.server.fault("DeleteObjects", moves)
    done = bench.run("gc", "--keep", "1", "--json")
    assert (done.code, done.document["deleted"]) == (1, 1000)
    assert done.document["diagnostics"][0]["type"] == "PointerMoved" and revs[1500] in bench.revs()


def test_two_at_once(bench: Bench) -> None:
    revs = bench.plant(1500)
    inside: list[int] = []

    def second() -> None:
        inside.append(bench.run.spawn("gc", "--keep", "10", "--wait", "0").code)

    bench.server.fault("DeleteObjects", Fault(call=second))
    assert bench.run.json("gc", "--keep", "10")["deleted"] == 1490
    assert inside == [3] and bench.revs() == revs[-10:]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_stopped_half_way(bench: Bench, number: int, code: int) -> None:
    revs = bench.plant(2100)
    stopped = threading.Event()
    bench.server.fault("DeleteObjects", Fault())
    bench.server.fault("DeleteObjects", Fault(call=lambda: stopped.wait(20), applied=True), times=1)
    process = bench.run.start("gc", "--keep", "10", "--json")
    bench.wait_for(lambda: _asked(bench)["DeleteObjects"] == 2)
    process.send_signal(number)
    stopped.set()
    with process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert b'"ok":false,"dry-run":false,"deleted":1000' in out
    assert bench.revs() == revs[2000:] and not bench.locked()
    assert bench.run.json("gc", "--keep", "10")["deleted"] == 90
