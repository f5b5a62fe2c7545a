# SPDX-License-Identifier: MIT
"""copy and reencrypt: every snapshot verified, done ones passed over, the rest reported, stopped at any moment."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from typing import Any

import pytest

from tests.cli.conftest import Bench, snapshot
from tests.fake_kms import CREDENTIALS, FakeKMS, arn_of
from unobin_s3 import KMS, EnvKey, Noop, encode_snapshot, open_envelope, seal
from unobin_s3.aws.transport import Response
from unobin_s3.cli import settings
from unobin_s3.testing import Fault

NEW = EnvKey("NEW_KEY")


def _keys(bench: Bench, start: str = "net/prod/") -> dict[str, str]:
    """Which key opens each snapshot below `start`."""
    found = {}
    for key, body in bench.server.objects().items():
        if key.startswith(f"{start}snapshots/"):
            for name in ("UB_STATE_KEY", "NEW_KEY"):
                try:
                    open_envelope(body, "state", EnvKey(name))
                except Exception:
                    continue
                found[key.removeprefix(start)] = name
    return found


def _many(bench: Bench, count: int) -> list[str]:
    return bench.plant(count, seal(encode_snapshot(snapshot()), "state", EnvKey("UB_STATE_KEY")))


@pytest.mark.parametrize(
    "flags",
    [["--env-key", "NEW_KEY", "--older-key", "UB_STATE_KEY"], ["--env-key", "UB_STATE_KEY", "--to-env-key", "NEW_KEY"]],
)  # fmt: skip
def test_reencrypt_in_place(bench: Bench, flags: list[str]) -> None:
    revs = bench.write("a", "b", "c")
    before = bench.server.objects()
    found = bench.run.json("reencrypt", *flags)
    assert (found["done"], found["present"], found["failed"]) == (3, 0, [])
    assert found["sealed-by"] == {"env-key env-var UB_STATE_KEY": 3}
    assert set(_keys(bench).values()) == {"NEW_KEY"} and bench.revs() == revs
    assert bench.server.objects()["net/prod/current"] == before["net/prod/current"]
    store = bench.store(encrypter=NEW)
    assert [store.get(rev) == snapshot(value) for rev, value in zip(revs, "abc", strict=True)] == [True] * 3
    for record in bench.server.requests:
        if record.method == "PUT" and "/snapshots/" in record.key and record.headers.get("if-none-match") is None:
            assert record.headers.get("if-match")
    again = bench.run.json("reencrypt", *flags)
    assert (again["done"], again["present"]) == (0, 3) and not bench.locked()
    assert "found" not in bench.run("reencrypt", *flags).out


def test_reencrypt_under_the_same_variable(bench: Bench) -> None:
    """The name in the envelope does not tell which key sealed it; opening does."""
    bench.write("a")
    rotated = {"UB_STATE_KEY": bench.run.env["NEW_KEY"], "OLD": bench.run.env["UB_STATE_KEY"]}
    assert bench.run.json("reencrypt", UNOBIN_S3_ENCRYPTER="env-key:UB_STATE_KEY,OLD", **rotated)["done"] == 1
    assert set(_keys(bench).values()) == {"NEW_KEY"}


def test_to_clear_text_and_back(bench: Bench) -> None:
    bench.write("a")
    assert bench.run.json("reencrypt", "--to-noop")["done"] == 1
    assert b"noop" in b"".join(bench.server.objects().values())
    assert bench.run.json("reencrypt", "--noop", "--to-env-key", "NEW_KEY")["sealed-by"] == {"noop": 1}
    assert set(_keys(bench).values()) == {"NEW_KEY"}


def test_what_is_wrong_with_one_does_not_stop_the_others(bench: Bench) -> None:
    first, second, third = bench.write("a", "b", "c")
    bench.server.put(f"net/prod/snapshots/{first}.json.enc", seal(b"{}", "state", EnvKey("UB_STATE_KEY")))
    bench.server.put(f"net/prod/snapshots/{second}.json.enc", seal(b"x", "state", Noop()))
    bench.server.put("net/prod/snapshots/stray.json.enc", b"no envelope")
    done = bench.run("reencrypt", "--to-env-key", "NEW_KEY", "--json")
    found = done.document
    assert (done.code, found["ok"], found["done"], found["foreign"]) == (1, False, 1, 1)
    assert [(one["revision"], one["type"]) for one in found["failed"]] == [
        (first, "SnapshotFormatError"), (second, "DecryptionError"),
    ]  # fmt: skip
    assert _keys(bench)[f"snapshots/{third}.json.enc"] == "NEW_KEY"


def test_a_lost_answer_is_cleared_up(bench: Bench) -> None:
    bench.write("a", "b")
    bench.server.fault(
        lambda record: "if-match" in record.headers and "snapshots" in record.key, Fault(reset=True, applied=True)
    )
    assert bench.run.json("reencrypt", "--to-env-key", "NEW_KEY")["done"] == 2
    assert set(_keys(bench).values()) == {"NEW_KEY"}


def test_somebody_elses_write_is_not_overwritten(bench: Bench) -> None:
    (rev,) = bench.write("a")
    other = seal(encode_snapshot(snapshot("z")), "state", EnvKey("UB_STATE_KEY"))
    key = f"net/prod/snapshots/{rev}.json.enc"
    bench.server.fault("PutObject .json.enc", Fault(call=lambda: bench.server.put(key, other)))
    done = bench.run("reencrypt", "--to-env-key", "NEW_KEY", "--json")
    assert done.code == 1 and done.document["failed"][0]["type"] == "PreconditionFailed"
    assert bench.server.objects()[key] == other


def test_a_missing_right_stops_at_once(bench: Bench) -> None:
    _many(bench, 300)
    bench.server.fault(
        lambda record: record.method == "PUT" and "/snapshots/" in record.key,
        Fault(status=403, code="AccessDenied"),
        times=None,
    )
    done = bench.run("reencrypt", "--to-env-key", "NEW_KEY", "--json")
    assert done.code == 1 and done.document["kind"] == "command-error" and not bench.locked()
    assert Counter(record.operation for record in bench.server.requests)["PutObject"] < 200


@pytest.mark.parametrize("key", [[], ["--to-env-key", "NEW_KEY"]])
def test_copy_to_another_bucket(bench: Bench, key: list[str]) -> None:
    revs = bench.write("a", "b")
    bench.store().set_current(revs[0])
    bench.server.put("net/prod/snapshots/stray.json.enc", b"no envelope")
    bench.client()  # the bucket is made by hand: the client makes none
    bench.server.fault("HeadBucket", Fault())
    found = bench.run.json("copy", "--to-prefix", "moved", *key)
    assert (found["done"], found["foreign"], found["state-rev"]) == (2, 1, revs[0])
    assert (found["from"], found["to"]) == ("s3://state/net/prod", "s3://state/moved/net/prod")
    store = bench.store(prefix="moved", encrypter=NEW if key else bench.encrypter)
    assert (store.list(), store.current_rev(), store.current()) == (revs, revs[0], snapshot("a"))
    if not key:
        objects = bench.server.objects()
        for rev in revs:
            assert objects[f"net/prod/snapshots/{rev}.json.enc"] == objects[f"moved/net/prod/snapshots/{rev}.json.enc"]
    again = bench.run.json("copy", "--to-prefix", "moved", *key)
    assert (again["done"], again["present"]) == (0, 2) and not bench.locked()
    bench.store().set_current(revs[1])
    assert bench.run.json("copy", "--to-prefix", "moved", *key)["state-rev"] == revs[1]


def test_copy_refuses_to_mix(bench: Bench) -> None:
    revs = bench.write("a", "b")
    bench.write("z", prefix="other")
    before = bench.server.objects()
    done = bench.run("copy", "--to-prefix", "other", "--json")
    assert done.code == 1 and "does not, such as" in done.err
    assert bench.run("copy").code == 2 and bench.run("copy", "--to-prefix", "").code == 2
    assert bench.server.objects() == before
    other = seal(encode_snapshot(snapshot("z")), "state", EnvKey("UB_STATE_KEY"))
    bench.server.put(f"third/net/prod/snapshots/{revs[0]}.json.enc", other)
    done = bench.run("copy", "--to-prefix", "third", "--json")
    assert (done.code, done.document["done"], done.document["state-rev"]) == (1, 1, None)
    assert "holds another snapshot" in done.document["failed"][0]["message"]
    assert "third/net/prod/current" not in bench.server.objects()


def test_copy_locks_both(bench: Bench) -> None:
    bench.write("a")
    with bench.store(prefix="moved").lock():
        assert bench.run("copy", "--to-prefix", "moved", "--wait", "0").code == 3
        assert not bench.server.objects().get("net/prod/lock")
    with bench.store().lock():
        assert bench.run("copy", "--to-prefix", "moved", "--wait", "0").code == 3
    assert "moved/net/prod/current" not in bench.server.objects()


def test_copy_without_the_key(bench: Bench) -> None:
    bench.write("a")
    done = bench.run("copy", "--to-prefix", "moved", "--env-key", "NEW_KEY", "--json")
    assert done.document["failed"][0]["type"] == "DecryptionError" and done.code == 1
    assert bench.run("copy", "--to-prefix", "moved", UNOBIN_S3_ENCRYPTER="").code == 2


@pytest.mark.parametrize("command", [["copy", "--to-prefix", "moved"], ["reencrypt", "--to-env-key", "NEW_KEY"]])
def test_stopped_half_way_and_run_again(bench: Bench, command: list[str]) -> None:
    _many(bench, 140)
    stopped = threading.Event()

    def writes(record: Any) -> bool:
        return record.method == "PUT" and "/snapshots/" in record.key

    bench.server.fault(writes, Fault(), times=100)
    bench.server.fault(writes, Fault(call=lambda: stopped.wait(20)), times=8)
    process = bench.run.start(*command, "--json")
    bench.wait_for(lambda: sum(map(writes, bench.server.requests)) >= 101)
    process.send_signal(signal.SIGINT)
    bench.server.put("seen", b"")
    stopped.set()
    with process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert b'"ok":false' in out and not bench.locked()
    assert len(_keys(bench)) == 140 and "moved/net/prod/current" not in bench.server.objects()
    again = bench.run.json(*command)
    assert again["done"] + again["present"] == 140 and again["present"] >= 100
    assert bench.run.json(*command)["present"] == 140


def test_to_kms(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an environment's key to one of KMS, and to the next one; a key that KMS refuses cannot decrypt."""
    fake = FakeKMS("one", "two")
    monkeypatch.setattr(
        settings, "KMS", lambda key, **more: KMS(key, **more | {"transport": fake, "credentials": CREDENTIALS})
    )
    revs = bench.write("a", "b")
    one, two = arn_of("one"), arn_of("two")
    assert bench.run.json("reencrypt", "--to-kms", one)["done"] == 2
    found = bench.run.json("reencrypt", "--kms", two, "--older-key", one)
    assert (found["done"], found["sealed-by"]) == (2, {f"kms key-id {one}": 2})
    assert bench.run.json("reencrypt", "--kms", two, "--older-key", one)["present"] == 2
    assert bench.run.json("status")["encrypter"] == f"kms key-id {two}"
    assert bench.run("pull", revs[0], "--kms", two).code == 0
    assert bench.run("pull", "--kms", one).code == 6
    fake.plan.append(Response(400, {}, b'{"__type":"AccessDeniedException"}'))
    assert bench.run("pull", UNOBIN_S3_ENCRYPTER=f"kms:{two}").code == 6
