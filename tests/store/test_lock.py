# SPDX-License-Identifier: MIT
"""Taking, holding, losing and giving back the lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pytest

from tests.store.conftest import JumpingClock, MakeStore, client_of, operations, snapshot, vouched
from unobin_s3 import (
    AccessDenied,
    ConditionalWritesUnsupported,
    ConfigurationError,
    Credentials,
    CredentialsError,
    LockCancelled,
    LockHeld,
    LockInfo,
    LockLost,
    OutcomeUnknown,
    S3Client,
    Store,
    TransportError,
)
from unobin_s3.holder import decode_lock, encode_lock, own_name
from unobin_s3.testing import Fault, S3Server

LOCK = "net/prod/lock"


def plant(server: S3Server, **members: Any) -> None:
    """Somebody else's lock."""
    server.put(
        LOCK, json.dumps({"id": "f" * 32, "who": "ci@host", "created": "2026-05-01T10:00:00.5Z"} | members).encode()
    )


def test_the_second_is_kept_out_and_told_by_whom(make: MakeStore) -> None:
    with make().lock() as lock, pytest.raises(LockHeld, match="force-unlock") as caught:
        make().lock(timeout=0.05, poll=0.01)
    assert caught.value.id == lock.info.id
    assert caught.value.who == lock.info.who and "@" in caught.value.who
    with make().lock(timeout=0):
        pass


def test_a_waiter_gets_it_when_it_is_released(make: MakeStore) -> None:
    first = make().lock()
    seen: list[LockInfo] = []
    won = threading.Event()

    def wait() -> None:
        with make().lock(timeout=10, poll=0.01, on_wait=seen.append):
            won.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not won.wait(0.1)
    first.release()
    assert won.wait(5)
    thread.join()
    assert [info.id for info in seen] == [first.info.id]


def test_body_and_holder(make: MakeStore, server: S3Server) -> None:
    with make().lock() as lock:
        body = json.loads(server.objects()[LOCK])
        assert list(body) == ["id", "who", "created"]
        assert len(body["id"]) == 32 and body["who"].count("@") == 1
        info = make().lock_info()
        assert info is not None and (info.id, info.age) == (lock.info.id, info.age)
        assert info.age is not None and 0 <= info.age < 5
    assert make().lock_info() is None


def test_only_one_lock_for_a_store(make: MakeStore, server: S3Server) -> None:
    store = make()
    with store.lock():
        server.reset_requests()
        with pytest.raises(LockHeld, match="already holds"):
            store.lock()
        assert server.requests == []
    with store.lock():
        pass


def test_cancel_ends_the_wait(make: MakeStore, server: S3Server) -> None:
    plant(server)
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    started = time.monotonic()
    with pytest.raises(LockCancelled, match="ci@host since 2026-05-01T10:00:00Z"):
        make().lock(timeout=None, cancel=cancel)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timeout": -1}, "timeout"),
        ({"poll": 0}, "poll"),
        ({"lease": 5}, "lease"),
        ({"lease": 30.5}, "lease"),
        ({"lease": True}, "lease"),
    ],
)
def test_arguments_are_checked_first(
    make: MakeStore, server: S3Server, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make().lock(**arguments)
    assert server.requests == []


# Lost answers


@pytest.mark.parametrize(
    "fault",
    [
        Fault(reset=True, applied=True),
        Fault(500, "InternalError", applied=True),
        Fault(502, applied=True),
        Fault(504, applied=True),
    ],
)
def test_a_lock_won_by_a_lost_answer_is_ours(make: MakeStore, server: S3Server, fault: Fault) -> None:
    server.fault("PutObject /lock", fault)
    store = make()
    with store.lock(timeout=0) as lock:
        assert json.loads(server.objects()[LOCK])["id"] == lock.info.id
        assert lock.check().id == lock.info.id
    assert LOCK not in server.objects()


def test_a_lost_answer_of_somebody_elses_lock_is_not_ours(make: MakeStore, server: S3Server) -> None:
    plant(server)
    server.fault("PutObject /lock", Fault(reset=True))
    with pytest.raises(OutcomeUnknown, match="unlock --id") as caught:
        make().lock(timeout=0)
    assert caught.value.id and caught.value.id != "f" * 32
    assert b"ci@host" in server.objects()[LOCK]


def test_an_end_that_cannot_be_found_out(make: MakeStore, server: S3Server) -> None:
    server.fault("PutObject /lock", Fault(reset=True, applied=True))
    server.fault("*  /lock".replace("  ", " "), Fault(reset=True), times=None)
    with pytest.raises(OutcomeUnknown) as caught:
        make().lock(timeout=0)
    assert caught.value.id == json.loads(server.objects()[LOCK])["id"]
    assert caught.value.id in str(caught.value)


def test_409_is_repeated_and_is_no_412(make: MakeStore, server: S3Server) -> None:
    server.fault("PutObject /lock", Fault(409, "ConditionalRequestConflict"), times=3)
    with make().lock(timeout=5):
        assert operations(server) == ["PUT lock"] * 4


def test_a_409_never_burns_a_suffix(make: MakeStore, server: S3Server) -> None:
    server.fault("PutObject", Fault(409, "ConditionalRequestConflict"), times=3)
    assert "_" not in make().write(snapshot())


def test_interrupted_while_waiting_gives_back_what_may_be_ours(make: MakeStore, server: S3Server) -> None:
    server.fault("PutObject /lock", Fault(reset=True, applied=True))

    def interrupt(_: LockInfo) -> None:
        raise KeyboardInterrupt

    # The first read-back shows somebody else's lock, so that the wait begins; on the way out it is ours.
    server.fault("GetObject /lock", Fault(body=b'{"id":"other","who":"x@y"}'))
    with pytest.raises(KeyboardInterrupt):
        make().lock(timeout=5, on_wait=interrupt)
    assert LOCK not in server.objects()


def test_a_store_that_lets_two_win_is_noticed(make: MakeStore, server: S3Server) -> None:
    server.fault("GetObject /lock", Fault(body=b'{"id":"other","who":"x@y"}'))
    store = make(store_report=None)
    with pytest.raises(LockHeld, match="x@y"):
        store.lock(timeout=0)
    assert LOCK in server.objects()  # it may be the other's, so it is left alone


# Release


def test_release_twice_and_from_another_thread(make: MakeStore, server: S3Server) -> None:
    lock = make().lock()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    server.reset_requests()
    lock.release()
    assert server.requests == [] and not lock.held


@pytest.mark.parametrize("stolen", [True, False])
def test_release_of_a_lock_that_is_not_ours_any_more(make: MakeStore, server: S3Server, stolen: bool) -> None:
    lock = make().lock()
    plant(server) if stolen else server.delete(LOCK)
    with pytest.raises(LockLost, match="ci@host" if stolen else "gone"):
        lock.release()
    assert (LOCK in server.objects()) == stolen
    lock.release()


def test_a_lost_delete_is_never_repeated_blindly(make: MakeStore, server: S3Server) -> None:
    lock = make().lock()
    server.fault("DeleteObject /lock", Fault(reset=True, applied=True, call=lambda: plant(server)))
    lock.release()
    assert b"ci@host" in server.objects()[LOCK]
    assert operations(server).count("DELETE lock") == 1


def test_a_delete_that_had_no_effect_is_repeated_after_a_look(make: MakeStore, server: S3Server) -> None:
    lock = make().lock()
    server.fault("DeleteObject /lock", Fault(reset=True))
    lock.release()
    assert LOCK not in server.objects()
    assert operations(server)[-4:] == ["PUT lock", "DELETE lock", "GET lock", "DELETE lock"]


def test_a_store_without_conditional_delete(make: MakeStore, server: S3Server) -> None:
    lock = make().lock()
    server.fault(lambda record: "if-match" in record.headers, Fault(501, "NotImplemented"), times=None)
    lock.release()
    assert LOCK not in server.objects()


def test_a_failing_release_never_hides_the_exception_inside(make: MakeStore, server: S3Server) -> None:
    with pytest.raises(ZeroDivisionError) as caught, make().lock():
        server.delete(LOCK)
        _ = 1 / 0
    assert "not released in order" in caught.value.__notes__[0]


def test_release_can_be_tried_again(make: MakeStore, server: S3Server) -> None:
    lock = make(store_report=None).lock()  # nobody vouches for the store, so a release begins with a look
    server.fault("* /lock", Fault(reset=True), times=5)
    with pytest.raises(TransportError):
        lock.release()
    lock.release()
    assert LOCK not in server.objects()


def test_after_release_the_store_writes_without_a_lock(make: MakeStore) -> None:
    store = make()
    with store.lock():
        rev = store.write(snapshot())
    store.set_current(rev)
    assert store.current_rev() == rev


def run(code: str, server: S3Server, *, wait: bool = True) -> subprocess.Popen[str]:
    """A process of its own with a store named `store`."""
    head = f"""
        import sys, os, time, signal
        from unobin_s3 import *
        client = S3Client(endpoint_url={server.url!r}, region="us-east-1",
                          credentials=Credentials({server.access_key!r}, {server.secret_key!r}))
        report = StoreReport(host=client.settings.endpoint.host, bucket="state", exclusive=True, leases=True)
        store = Store(client, bucket="state", factory="net", stack="prod", encrypter=Noop(), store_report=report)
    """
    text = textwrap.dedent(head) + textwrap.dedent(code)
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if wait:
        process.communicate(timeout=30)
    return process


def test_interpreter_exit_releases(server: S3Server) -> None:
    process = run("store.lock()\n", server)
    assert process.returncode == 0
    assert operations(server)[-1] == "DELETE lock" and LOCK not in server.objects()


def test_exit_can_leave_it(server: S3Server) -> None:
    assert run("store.lock(at_exit=False)\n", server).returncode == 0
    assert LOCK in server.objects()


def test_a_forked_child_does_not_release(server: S3Server) -> None:
    code = """
        lock = store.lock()
        pid = os.fork()
        if pid == 0:
            try:
                lock.release()
            except LockLost as error:
                sys.exit(7 if "parent" in str(error) else 8)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 7
        lock.check()
        lock.release()
    """
    process = run(code, server)
    assert process.returncode == 0
    assert LOCK not in server.objects()


def test_sigterm_releases_when_asked(server: S3Server) -> None:
    code = """
        with store.lock(handle_sigterm=True):
            print("held", flush=True)
            time.sleep(30)
    """
    process = run(code, server, wait=False)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert LOCK not in server.objects()


def test_handlers_are_put_back(make: MakeStore, server: S3Server) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with make().lock(handle_sigterm=True):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    plant(server)
    with pytest.raises(LockHeld):
        make().lock(timeout=0, handle_sigterm=True)
    assert signal.getsignal(signal.SIGTERM) is before


# Force-unlock


def test_force_unlock(make: MakeStore, server: S3Server) -> None:
    assert make().force_unlock() is None
    plant(server)
    with pytest.raises(LockHeld, match=r"held by ci@host.*not by abc"):
        make().force_unlock(id="abc")
    cleared = make().force_unlock(id="f" * 32)
    assert cleared is not None and cleared.who == "ci@host"
    assert LOCK not in server.objects()


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"not json", b"\xff", b"{}" + b" " * 200_000])
def test_unreadable_locks_can_be_seen_and_cleared(make: MakeStore, server: S3Server, body: bytes) -> None:
    server.put(LOCK, body)
    with pytest.raises(LockHeld, match="an unknown holder"):
        make().lock(timeout=0)
    info = make().lock_info()
    assert info is not None and info.id == "" and info.etag
    assert make().force_unlock() is not None
    assert LOCK not in server.objects()


# Leases


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
def leased(clock: JumpingClock, monkeypatch: pytest.MonkeyPatch) -> Any:
    """(server, build): a server and stores that live by the jumping clock."""
    from tests.store.conftest import KEY
    from unobin_s3 import EnvKey

    monkeypatch.setenv("UB_STATE_KEY", KEY)
    clients: list[S3Client] = []
    with S3Server(bucket="state", now=clock.time) as server:

        def build(own: JumpingClock | None = None) -> Store:
            client = client_of(server, clock=own or clock)
            clients.append(client)
            return Store(
                client,
                bucket="state",
                factory="net",
                stack="prod",
                encrypter=EnvKey("UB_STATE_KEY"),
                store_report=vouched(client),
            )

        yield server, build
        for client in clients:
            client.close()


def test_an_expired_lease_is_taken_over_and_its_holder_cannot_write(leased: Any, clock: JumpingClock) -> None:
    server, build = leased
    old = build()
    lost: list[LockLost] = []
    held = old.lock(lease=10, heartbeat=False, on_lost=lost.append)
    first = old.write(snapshot("first"))
    old.set_current(first)
    body = json.loads(server.objects()[LOCK])
    assert (body["lease"], body["beat"]) == (10, 0)
    clock.ahead += 9
    assert held.held
    clock.ahead += 4
    assert not held.held
    new = build()
    with new.lock(timeout=0) as lock:
        assert json.loads(server.objects()[LOCK])["id"] == lock.info.id
        assert server.objects()["net/prod/current"] != f"{first}\n".encode()
        assert new.current_rev() == first
        server.reset_requests()
        for call in (lambda: old.write(snapshot()), lambda: old.set_current(first), held.renew, held.check):
            with pytest.raises(LockLost, match="lease"):
                call()
        assert server.requests == []
        assert len(lost) == 1
        new.set_current(new.write(snapshot("second")))
    with pytest.raises(LockLost):
        held.release()


def test_a_displaced_holder_that_does_not_know_cannot_move_the_pointer(leased: Any, clock: JumpingClock) -> None:
    from unobin_s3 import PointerMoved

    server, build = leased
    frozen = JumpingClock()
    old = build(frozen)
    held = old.lock(lease=10, heartbeat=False)
    first = old.write(snapshot("first"))
    old.set_current(first)
    mine = old.write(snapshot("mine"))
    clock.ahead += 20  # the world goes on, the old holder's machine stands still
    with build().lock(timeout=0):
        assert held.held
        with pytest.raises(PointerMoved):
            old.set_current(mine)
    del server


def test_a_lock_without_a_lease_never_expires(leased: Any, clock: JumpingClock) -> None:
    server, build = leased
    for members in ({}, {"lease": 5}, {"lease": 1e3}, {"lease": "60"}, {"lease": 86401}, {"lease": True}):
        plant(server, **members)
        clock.ahead += 100_000
        with pytest.raises(LockHeld):
            build().lock(timeout=0)


def test_renewal_moves_the_end_and_changes_the_etag(leased: Any, clock: JumpingClock) -> None:
    _, build = leased
    store = build()
    with store.lock(lease=10, heartbeat=False) as lock:
        for beat in range(1, 5):
            clock.ahead += 8
            before = lock.info.etag
            lock.renew()
            assert lock.info.beat == beat and lock.info.etag != before
        with pytest.raises(LockHeld):
            build().lock(timeout=0)
        assert lock.held


@pytest.mark.parametrize("fault", [Fault(reset=True, applied=True), Fault(500, "InternalError", applied=True)])
def test_a_renewal_whose_answer_was_lost_counts(leased: Any, clock: JumpingClock, fault: Fault) -> None:
    server, build = leased
    with build().lock(lease=10, heartbeat=False) as lock:
        clock.ahead += 5
        server.fault("PutObject /lock", fault)
        lock.renew()
        clock.ahead += 8
        assert lock.held and lock.check().id == lock.info.id


def test_renewing_a_stolen_lock(leased: Any) -> None:
    server, build = leased
    lost: list[LockLost] = []
    lock = build().lock(lease=10, heartbeat=False, on_lost=lost.append)
    plant(server)
    with pytest.raises(LockLost, match="ci@host"):
        lock.renew()
    assert lost and not lock.held


def test_the_heartbeat_renews_in_its_own_thread(make: MakeStore) -> None:
    with make().lock(lease=10) as lock:  # QuickClock: a third of the lease is over at once
        end = time.monotonic() + 10
        while lock.info.beat < 3 and time.monotonic() < end:
            time.sleep(0.01)
        assert lock.info.beat >= 3 and lock.held


def test_no_lease_on_a_store_whose_delete_ignores_conditions(make: MakeStore, server: S3Server) -> None:
    from unobin_s3 import LeaseUnsupported

    server.fault("DeleteObject", Fault(ignore=("if-match",)), times=None)
    store = make(store_report=None)
    with pytest.raises(LeaseUnsupported, match=r"DELETE.*deleted it all the same"):
        store.lock(lease=30)
    with store.lock():
        pass
    assert server.objects() == {}


# The store and the credentials


def test_a_store_that_ignores_the_condition_is_refused(make: MakeStore, server: S3Server) -> None:
    server.fault("PutObject", Fault(ignore=("if-none-match",)), times=None)
    with pytest.raises(ConditionalWritesUnsupported, match="half-sent"):
        make(store_report=None).lock()
    assert server.objects() == {}


def test_a_store_that_refuses_the_condition(make: MakeStore, server: S3Server) -> None:
    server.fault(lambda record: "if-none-match" in record.headers, Fault(501, "NotImplemented"), times=None)
    for report in (None, make().__dict__["_report"]):
        with pytest.raises(ConditionalWritesUnsupported, match="501"):
            make(store_report=report).lock()
    assert server.objects() == {}


def test_exclusion_is_proven_once_for_a_client(make: MakeStore, server: S3Server) -> None:
    store = make(store_report=None)
    with store.lock():
        pass
    server.reset_requests()
    with store.lock():
        pass
    assert operations(server) == ["PUT lock", "GET lock", "GET lock", "DELETE lock"]


def test_a_report_of_another_store_is_refused(make: MakeStore) -> None:
    from dataclasses import replace

    report = make().__dict__["_report"]
    with pytest.raises(ConfigurationError, match="speaks for"):
        make(store_report=replace(report, bucket="other")).lock()


def test_missing_rights_are_named(make: MakeStore, server: S3Server) -> None:
    server.fault("PutObject /lock", Fault(403, "AccessDenied"))
    with pytest.raises(AccessDenied, match="s3:GetObject"):
        make().lock()


def test_credentials_must_outlive_the_lock(make: MakeStore, server: S3Server) -> None:
    from datetime import UTC, datetime, timedelta

    soon = datetime.now(UTC) + timedelta(seconds=90)
    short = client_of(server, credentials=Credentials(server.access_key, server.secret_key, expires_at=soon))
    store = make(client=short, store_report=vouched(short))
    with store.lock(timeout=5):
        pass
    with pytest.raises(CredentialsError, match=r"end in \d+ s"):
        store.lock(timeout=60)
    short.close()


# The holder's name


@pytest.mark.parametrize(
    ("env", "who"),
    [
        ({"USER": "ci", "AWS_LAMBDA_FUNCTION_NAME": "f", "_X_AMZN_TRACE_ID": "Root=1-ab-cd;x"}, "f/1-ab-cd@lambda"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_LOG_STREAM_NAME": "2026/[$LATEST]9f"}, "f/9f@lambda"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, "f/unknown@lambda"),
    ],
)
def test_names_in_lambda(env: dict[str, str], who: str) -> None:
    assert own_name(env) == who


def test_the_name_never_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 987654)
    assert own_name({}).startswith("unknown@")
    assert own_name({"USER": "a@b\n\ud800"}).partition("@")[0] == "a_b__"


def test_lock_bodies_like_gos() -> None:
    path = os.path.join(os.path.dirname(__file__), "..", "state", "wire_vectors.json")
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)["lock-encode"]
    for vector in vectors:
        info = LockInfo(id=vector["id"], who=vector["who"], created=vector["created"])
        assert encode_lock(info).decode() == vector["json"]
        assert decode_lock(vector["json"].encode()) == info


def test_a_lock_that_goes_between_two_looks_without_the_right_to_list(make: MakeStore, server: S3Server) -> None:
    server.fault("PutObject /lock", Fault(412, "PreconditionFailed"))
    server.fault("GetObject /lock", Fault(403, "AccessDenied"))
    with make().lock(timeout=5, poll=0.01):
        pass


def test_without_the_right_to_read_the_wait_ends_at_once(make: MakeStore, server: S3Server) -> None:
    plant(server)
    server.fault("GetObject /lock", Fault(403, "AccessDenied"), times=None)
    with pytest.raises(AccessDenied, match="lock"):
        make().lock(timeout=60, poll=0.01)


def test_interpreter_exit_releases_what_nobody_holds_any_more(server: S3Server) -> None:
    process = run("store.lock()\ndel store\nimport gc; gc.collect()\n", server)
    assert process.returncode == 0
    assert LOCK not in server.objects()
