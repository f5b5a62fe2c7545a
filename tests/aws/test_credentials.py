# SPDX-License-Identifier: MIT
"""The masked value, and the cache that renews it: ahead of time, one at a time, and never more often than needed."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from unobin_s3.aws.credentials import CachedSource, Credentials, Secret, StaticSource
from unobin_s3.errors import ConfigurationError, CredentialsError

EPOCH = datetime(2026, 5, 1, tzinfo=UTC).timestamp()


class World:
    """A clock, and a place that hands out numbered sets which live for `life` seconds."""

    def __init__(self, life: float = 3600.0) -> None:
        self.time, self.life, self.loads = EPOCH, life, 0
        self.failing: Exception | None = None
        self.before: Callable[[], None] = lambda: None

    def now(self) -> float:
        return self.time

    def load(self) -> Credentials:
        self.before()
        self.loads += 1
        if self.failing is not None:
            raise self.failing
        end = datetime.fromtimestamp(self.time + self.life, UTC)
        return Credentials(f"AKIA{self.loads}", "secret", "token", end)

    def source(self) -> CachedSource:
        return CachedSource(self.load, self.now)


def test_a_set_is_what_was_given() -> None:
    end = datetime(2026, 5, 1, tzinfo=timezone(timedelta(hours=2)))
    found = Credentials("AKIDEXAMPLE", "wJalr/+=", "token", end)
    assert (found.access_key_id, found.secret_access_key, found.session_token) == ("AKIDEXAMPLE", "wJalr/+=", "token")
    assert found.expires_at == end
    assert found == Credentials("AKIDEXAMPLE", "wJalr/+=", "token", end)
    assert len({found, Credentials("AKIDEXAMPLE", "wJalr/+=", "token", end), Credentials("AKIDEXAMPLE", "x")}) == 2
    assert found != Credentials("AKIDEXAMPLE", "wJalr/+=", "other", end)


def test_the_secret_still_signs() -> None:
    secret = Credentials("AKID", "sEcReT", "tOkEn").secret_access_key
    assert ("AWS4" + secret).encode() == b"AWS4sEcReT" and f"{secret}" == "sEcReT" and secret == "sEcReT"


def test_an_empty_token_is_none() -> None:
    assert Credentials("AKID", "secret", "").session_token is None


def test_a_set_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Credentials("AKID", "secret").secret_access_key = "x"  # type: ignore[misc]


BAD = ["", " ", "se cret", "secret\n", "\tsecret", "sec\x00ret", "s\u00e9cret", "secret\u200b"]


@pytest.mark.parametrize(
    ("place", "bad"),
    [
        (place, bad)
        for place in ("access_key_id", "secret_access_key", "session_token")
        for bad in BAD
        if bad or place != "session_token"
    ],
)
def test_a_bad_value_is_refused_by_name(place: str, bad: str) -> None:
    values = {"access_key_id": "AKID", "secret_access_key": "secret", "session_token": "token", place: bad}
    with pytest.raises(ConfigurationError) as caught:
        Credentials(values["access_key_id"], values["secret_access_key"], values["session_token"])
    assert place in str(caught.value) and "cret" not in str(caught.value).replace("secret_access_key", "")


@pytest.mark.parametrize("place", ["access_key_id", "secret_access_key"])
def test_a_value_that_is_no_text_is_refused(place: str) -> None:
    values = {"access_key_id": "AKID", "secret_access_key": "secret", place: None}
    with pytest.raises(ConfigurationError, match=place):
        Credentials(**values)  # type: ignore[arg-type]


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="time zone"):
        Credentials("AKID", "secret", None, datetime(2026, 5, 1))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused(protocol: int) -> None:
    found = Credentials("AKID", "secret", "token")
    for secret in (found, found.secret_access_key, [found.session_token]):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(secret, protocol)


def test_copies_are_the_same_object() -> None:
    found = Credentials("AKID", "secret", "token")
    assert copy.copy(found) is found and copy.deepcopy([found])[0] is found
    assert repr(copy.deepcopy(found.secret_access_key)) == "'***'"


def test_a_static_source_has_nothing_newer() -> None:
    source = StaticSource(Credentials("AKID", "secret"))
    assert source.get().access_key_id == "AKID" and source.renew(source.get()) is None


@pytest.mark.parametrize(
    ("life", "kept_until"),
    [(3600, 2700), (7200, 6300), (36000, 35100), (900, 675), (60, 45)],
)
def test_renewal_is_a_quarter_hour_or_a_quarter_of_the_life_ahead(life: float, kept_until: float) -> None:
    world = World(life)
    source = world.source()
    source.get()
    world.time = EPOCH + kept_until - 0.001
    assert source.get().access_key_id == "AKIA1"
    world.time = EPOCH + kept_until
    assert source.get().access_key_id == "AKIA2" and world.loads == 2


def test_without_an_end_it_is_loaded_once() -> None:
    loads: list[int] = []

    def load() -> Credentials:
        loads.append(1)
        return Credentials("AKID", "secret")

    source = CachedSource(load, lambda: EPOCH + 1e9 * len(loads))
    assert {source.get() for _ in range(5)} == {Credentials("AKID", "secret")} and len(loads) == 1


def test_a_failed_renewal_serves_the_valid_set_and_pauses(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    source = world.source()
    source.get()
    world.failing = CredentialsError("the place is down")
    tries = []
    with caplog.at_level(logging.WARNING):
        for second in range(2700, 3600):
            world.time = EPOCH + second
            before = world.loads
            assert source.get().access_key_id == "AKIA1"
            if world.loads > before:
                tries.append(second)
    advisory = list(range(2700, 3000, 60))
    assert tries == advisory + list(range(3000, 3600, 10)), "a minute apart, then ten seconds"
    assert len(caplog.records) == len(tries) and "the place is down" in caplog.text
    world.time = EPOCH + 3600
    with pytest.raises(CredentialsError, match="the place is down"):
        source.get()
    world.failing = None
    assert source.get().access_key_id.startswith("AKIA")


def test_a_foreign_failure_is_logged_by_type_only(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    source = world.source()
    source.get()
    world.failing = RuntimeError("key s3cr3t refused")
    world.time = EPOCH + 3000
    with caplog.at_level(logging.DEBUG):
        source.get()
    assert "RuntimeError" in caplog.text and "s3cr3t" not in caplog.text


def test_a_set_that_is_over_on_arrival_is_an_error_that_names_the_clock() -> None:
    world = World(life=-7200)
    with pytest.raises(CredentialsError, match=r"expired at 2026-04-30T22:00:00\+00:00.*clock"):
        world.source().get()


def test_renew_loads_although_the_expiry_says_valid() -> None:
    world = World()
    source = world.source()
    first = source.get()
    second = source.renew(first)
    assert second is not None and second.access_key_id == "AKIA2" and source.get() is second
    assert source.renew(first) is second and world.loads == 2, "another thread's renewal is taken over"


def test_renew_with_nothing_newer_is_none() -> None:
    fixed = Credentials("AKID", "secret", "token")
    source = CachedSource(lambda: fixed, lambda: EPOCH)
    assert source.renew(source.get()) is None


def test_renew_that_fails_says_why_and_keeps_the_set() -> None:
    world = World()
    source = world.source()
    first = source.get()
    world.failing = CredentialsError("the place is down")
    with pytest.raises(CredentialsError, match="the place is down"):
        source.renew(first)
    assert source.get() is first


def in_threads(count: int, work: Callable[[], object]) -> list[object]:
    """Results of `count` simultaneous calls; an exception counts as a result."""
    results: list[object] = []
    barrier = threading.Barrier(count)

    def run() -> None:
        barrier.wait()
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_64_threads_one_renewal_per_expiry_and_no_failed_call() -> None:
    world = World(life=100.0)
    source = world.source()
    lock = threading.Lock()
    served: list[tuple[float, float]] = []

    def work() -> None:
        for _ in range(300):
            with lock:
                world.time += 0.01
            found = source.get()
            assert found.expires_at is not None
            served.append((world.time, found.expires_at.timestamp()))

    assert in_threads(64, work) == [None] * 64
    assert len(served) == 64 * 300 and all(time <= end + 1 for time, end in served)
    # 192 s pass, and each set is renewed after 75 of its 100 s: the first load and two renewals.
    assert world.loads == 3


def test_threads_that_find_an_expired_set_wait_for_one_load() -> None:
    world = World(life=100.0)
    source = world.source()
    source.get()
    world.time += 100

    def slow() -> None:
        threading.Event().wait(0.05)

    world.before = slow
    found = in_threads(64, lambda: source.get().access_key_id)
    assert found == ["AKIA2"] * 64 and world.loads == 2


def test_others_go_on_while_one_renews() -> None:
    world = World()
    source = world.source()
    source.get()
    world.time = EPOCH + 3500
    entered, leave = threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        assert leave.wait(10)

    world.before = slow
    renewing = threading.Thread(target=source.get)
    renewing.start()
    assert entered.wait(10)
    assert source.get().access_key_id == "AKIA1", "not blocked, though renewal is urgent"
    leave.set()
    renewing.join(10)
    assert source.get().access_key_id == "AKIA2" and world.loads == 2


def test_64_rejected_calls_renew_once() -> None:
    world = World()
    source = world.source()
    first = source.get()
    assert {getattr(one, "access_key_id", one) for one in in_threads(64, lambda: source.renew(first))} == {"AKIA2"}
    assert world.loads == 2


def test_a_renewal_that_another_thread_has_just_done_is_not_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    source = world.source()
    source.get()
    world.time = EPOCH + 3000
    guard = source._guard

    def overtaken() -> threading.Lock:
        """Between this thread's look at the times and its turn, another thread renews."""
        monkeypatch.setattr(source, "_guard", guard)
        source.get()
        return guard()

    monkeypatch.setattr(source, "_guard", overtaken)
    assert source.get().access_key_id == "AKIA2" and world.loads == 2


def test_those_who_waited_for_nothing_newer_do_not_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, loads = Credentials("AKID", "secret", "token"), []
    arrived = threading.Semaphore(0)

    def load() -> Credentials:
        loads.append(1)
        for _ in range(8 if len(loads) == 2 else 0):
            assert arrived.acquire(timeout=20)
        return fixed

    source = CachedSource(load, lambda: EPOCH)
    source.get()
    guard = source._guard

    def counted() -> threading.Lock:
        arrived.release()
        return guard()

    monkeypatch.setattr(source, "_guard", counted)
    assert in_threads(8, lambda: source.renew(fixed)) == [None] * 8 and len(loads) == 2


def test_a_failure_is_shared_by_those_who_waited_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.failing = CredentialsError("the place is down")
    source = world.source()
    arrived, guard = threading.Semaphore(0), source._guard

    def counted() -> threading.Lock:
        arrived.release()
        return guard()

    def slow() -> None:
        for _ in range(8):
            assert arrived.acquire(timeout=20), "all eight are at the lock before the first attempt ends"

    monkeypatch.setattr(source, "_guard", counted)
    world.before = slow
    results = in_threads(8, source.get)
    assert [str(one) for one in results] == ["the place is down"] * 8
    assert world.loads == 1 and len({id(one) for one in results}) == 8, "each thread raises its own exception"


def test_a_child_process_is_not_stuck_on_a_lock_held_at_the_fork() -> None:
    world = World()
    source = world.source()
    entered, leave = threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        leave.wait(10)

    world.before = slow
    renewing = threading.Thread(target=source.get)
    renewing.start()
    assert entered.wait(10)
    world.before = lambda: None
    child = os.fork()
    if child == 0:
        threading.Timer(5, lambda: os._exit(3)).start()
        os._exit(0 if source.get().access_key_id == "AKIA1" else 2)
    leave.set()
    renewing.join(10)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_secret_is_masked_in_containers() -> None:
    assert repr({"x-amz-security-token": Secret("hunter2")}) == "{'x-amz-security-token': '***'}"
