# SPDX-License-Identifier: MIT
"""What moves the pointer or clears a lock: push, rollback, unlock, force-unlock, and how their ends are told."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Bench, snapshot
from unobin_s3 import EnvKey, FactoryInfo, LockLost, encode_snapshot, seal
from unobin_s3.testing import Fault


def test_push_of_a_snapshot_and_of_what_a_failed_run_left(bench: Bench, tmp_path: Path) -> None:
    clear, sealed = tmp_path / "state.json", tmp_path / "spilled.json.enc"
    clear.write_bytes(encode_snapshot(snapshot("a")))
    sealed.write_bytes(seal(encode_snapshot(snapshot("b")), "state", EnvKey("UB_STATE_KEY")))
    first = bench.run.json("push", str(clear))
    assert first["ok"] and first["from"] is None and first["to"] == first["state-rev"]
    second = bench.run("push", str(sealed))
    assert second.code == 0 and first["to"] in second.out
    found = bench.store().current().find("resource.db")
    assert found is not None and found.outputs == {"url": "https://b.example"}
    assert not bench.locked() and b"secret" not in b"".join(bench.server.objects().values())


def test_push_from_stdin(bench: Bench) -> None:
    with bench.run.start("push", "-", "--json", stdin=-1) as process:
        out, _ = process.communicate(encode_snapshot(snapshot("a")))
    assert process.returncode == 0 and b'"ok":true' in out
    assert bench.store().current_rev() == bench.revs()[0]


@pytest.mark.parametrize(
    ("snap", "code", "text"),
    [
        (encode_snapshot(snapshot(stack="other")), 1, "is of stack 'other'"),
        (encode_snapshot(snapshot(factory=FactoryInfo(name="app"))), 1, "is of factory 'app'"),
        (b'{"format-version": 2}', 1, "unsupported format-version 2"),
        (b"", 1, "snapshot:"),
        (b'{"envelope-version": 1, "payload-type": "plan"}', 1, "payload-type plan, expected state"),
        (b'{"envelope-version": 1, "encrypter": {"name": "kms"}, "ciphertext": "AAAA"}', 6, "sealed with kms"),
        (b'{"envelope-version": 1, "encrypter": {"name": "env-key"}, "ciphertext": "AAAA"}', 6, "sealed with env-key"),
    ],
)
def test_push_of_what_is_not_ours(bench: Bench, tmp_path: Path, snap: bytes, code: int, text: str) -> None:
    bench.write("a")
    before = bench.server.objects()
    (tmp_path / "file").write_bytes(snap)
    done = bench.run("push", str(tmp_path / "file"), "--json")
    assert done.code == code and text in done.document["diagnostics"][0]["message"]
    assert bench.server.objects() == before


def test_push_can_expect_a_revision(bench: Bench, tmp_path: Path) -> None:
    first, second = bench.write("a", "b")
    (tmp_path / "file").write_bytes(encode_snapshot(snapshot("c")))
    done = bench.run("push", str(tmp_path / "file"), "--expected", first)
    assert done.code == 1 and second in done.err and bench.store().current_rev() == second
    assert bench.revs() == [first, second]
    assert bench.run.json("push", str(tmp_path / "file"), "--expected", second)["from"] == second
    assert bench.run("push", str(tmp_path / "nothing")).code == 2


def test_rollback_writes_nothing_but_the_pointer(bench: Bench) -> None:
    first, second = bench.write("a", "b")
    before = bench.server.objects()
    found = bench.run.json("rollback", first)
    assert (found["from"], found["to"]) == (second, first)
    after = bench.server.objects()
    assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} == {"net/prod/current"}
    assert bench.run("rollback", second).out.split() == ["from", first, "to", second, "state-rev", second]


@pytest.mark.parametrize("pointer", [None, b"", b"../../x\n", b"2020-01-01T00:00:00Z\n"])
def test_rollback_repairs_a_pointer(bench: Bench, pointer: bytes | None) -> None:
    first, _ = bench.write("a", "b")
    bench.server.delete("net/prod/current")
    if pointer is not None:
        bench.server.put("net/prod/current", pointer)
    assert bench.run("rollback", first).code == 0
    assert bench.store().current_rev() == first


def test_rollback_to_what_cannot_be(bench: Bench) -> None:
    first, second = bench.write("a", "b")
    bench.server.put("net/prod/snapshots/damaged.json.enc", b"{}")
    for rev, code in (("nowhere", 5), ("../other/snapshots/x", 2), ("a/b", 2), ("..", 2), ("damaged", 1)):
        assert bench.run("rollback", rev).code == code, rev
    assert bench.run("rollback", first, UB_STATE_KEY=bench.run.env["NEW_KEY"]).code == 6
    assert bench.store().current_rev() == second
    assert bench.run("rollback", first, UNOBIN_S3_ENCRYPTER="").code == 0  # without a key it must only exist


def test_what_was_done_is_told_when_the_release_fails(bench: Bench) -> None:
    first, second = bench.write("a", "b")
    bench.server.fault("PutObject /current", Fault(call=lambda: bench.server.delete("net/prod/lock"), applied=True))
    done = bench.run("rollback", first, "--json")
    assert done.code == 4
    assert (done.document["ok"], done.document["to"]) == (False, first)
    assert done.document["diagnostics"][0]["code"] == "unobin.state.unlock"
    bench.server.fault("PutObject /current", Fault(call=lambda: bench.server.put("net/prod/current", b"x\n"), status=0))
    done = bench.run("rollback", second, "--json")
    assert done.code == 1 and done.document["kind"] == "command-error"  # nothing was moved


def test_locked_by_somebody_else(bench: Bench) -> None:
    first, _ = bench.write("a", "b")
    with pytest.raises(LockLost, match="it is gone"), bench.store().lock(who="bob@ci") as lock:
        for command in (["rollback", first], ["gc", "--keep", "1"], ["reencrypt"]):
            done = bench.run(*command, "--wait", "0", "--json")
            assert done.code == 3 and "bob@ci" in done.document["diagnostics"][0]["message"]
        assert bench.run("rollback", first, "--wait", "0.2s").err.count("waiting for the lock") == 1
        assert bench.run("unlock", "--id", "0" * 32).code == 3
        assert bench.locked()
        assert bench.run.json("unlock", "--id", lock.info.id)["lock"]["who"] == "bob@ci"
        assert bench.run.json("unlock", "--id", lock.info.id)["unlocked"] is False


def test_force_unlock_asks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    bench.server.put("net/prod/lock", b'{"id":"7","who":"bob@ci","created":"2026-01-01T00:00:00Z"}')
    refused = bench.run("force-unlock")
    assert refused.code == 2 and "held by bob@ci" in refused.err and "give --yes" in refused.err
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    assert bench.run("force-unlock").code == 1 and bench.locked()
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    done = bench.run("force-unlock")
    assert done.code == 0 and "it was held by bob@ci since 2026-01-01T00:00:00Z" in done.out and not bench.locked()
    assert bench.run("force-unlock").out == "there is no lock\n"


def test_force_unlock_deletes_only_the_lock_that_it_showed(bench: Bench) -> None:
    bench.server.put("net/prod/lock", b'{"id":"7","who":"bob@ci"}')
    swap = Fault(applied=True, call=lambda: bench.server.put("net/prod/lock", b'{"id":"8","who":"eve@ci"}'))
    bench.server.fault("GetObject /lock", swap)
    done = bench.run("force-unlock", "--yes")
    assert done.code == 3 and "eve@ci" in done.err and bench.locked()
