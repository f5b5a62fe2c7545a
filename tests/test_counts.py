# SPDX-License-Identifier: MIT
"""Every request counts: money, latency, and one more thing that can go wrong. What each operation sends, exactly.

On a bucket behind an Amazon host, in memory, and on the testing server with a report that vouches for it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.simulation.bucket import BUCKET, Manners, SimBucket, locate
from unobin_s3 import (
    Credentials,
    Encrypter,
    EnvKey,
    FactoryInfo,
    LockHeld,
    NoCurrentSnapshot,
    Noop,
    PointerMissing,
    S3Client,
    Snapshot,
    Store,
    StoreReport,
)
from unobin_s3.aws.transport import Request, Response
from unobin_s3.testing import S3Server

SNAPSHOT = Snapshot(factory=FactoryInfo(name="net"), stack="prod", entries=[])


class Direct:
    """A transport that is the bucket; every request takes a second of its clock."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.bucket = SimBucket(Manners(), lambda: float(len(self.sent)))

    def send(
        self, request: Request, *, connect: float, read: float, total: float, limit: int | None = None
    ) -> Response:
        key, query = locate(request)
        self.sent.append(f"{request.method} {'list' if 'list-type' in query else _short(key)}")
        return self.bucket.apply(request)[0]

    def close(self) -> None:
        """Nothing is kept."""


class Site:
    """A way to make stores of one stack, and the requests that they sent."""

    def __init__(
        self, client: Callable[[], S3Client], sent: Callable[[], list[str]], report: StoreReport | None
    ) -> None:
        self._client, self._sent, self._report = client, sent, report

    def store(self, *, encrypter: Encrypter | None = None, report: bool = True) -> Store:
        return Store(
            self._client(), bucket=BUCKET, factory="net", stack="prod", encrypter=encrypter or EnvKey("UB_STATE_KEY"),
            store_report=self._report if report else None,
        )  # fmt: skip

    @contextmanager
    def sends(self, *expected: str) -> Iterator[None]:
        before = len(self._sent())
        yield
        assert self._sent()[before:] == list(expected)


def _short(key: str) -> str:
    name = key.rpartition("/")[2]
    return "snapshot" if name.endswith(".json.enc") else name


@pytest.fixture(params=["amazon", "vouched"])
def site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("UB_STATE_KEY", base64.b64encode(bytes(range(32))).decode())
    if request.param == "amazon":
        direct = Direct()
        keys = Credentials("AKIDEXAMPLE", "secret")
        yield Site(lambda: S3Client(region="us-east-1", credentials=keys, transport=direct), lambda: direct.sent, None)
        return
    with S3Server(bucket=BUCKET) as server:
        keys = Credentials(server.access_key, server.secret_key)
        client = S3Client(endpoint_url=server.url, region=server.region, credentials=keys)
        report = StoreReport(host=client.settings.endpoint.host, bucket=BUCKET, exclusive=True, leases=True)

        def sent() -> list[str]:
            records = server.requests
            return [f"{r.method} {'list' if r.operation == 'ListObjectsV2' else _short(r.key)}" for r in records]

        yield Site(lambda: client, sent, report)
        client.close()


def written(site: Site) -> str:
    store = site.store()
    rev = store.write(SNAPSHOT)
    store.set_current(rev)
    return rev


def test_a_cycle_is_six(site: Site) -> None:
    written(site)
    store = site.store()
    six = site.sends("PUT lock", "GET current", "GET snapshot", "PUT snapshot", "PUT current", "DELETE lock")
    with six, store.lock(at_exit=False):
        store.current()
        store.set_current(store.write(SNAPSHOT))


def test_each_step_of_a_cycle(site: Site) -> None:
    written(site)
    store = site.store()
    with site.sends("PUT lock"):
        lock = store.lock(at_exit=False)
    with site.sends("GET current", "GET snapshot"):
        store.current()
    with site.sends("PUT snapshot"):
        rev = store.write(SNAPSHOT)
    with site.sends("PUT current"):
        store.set_current(rev)
    with site.sends("PUT snapshot", "PUT current"):  # and the same again, by what our own move left
        store.set_current(store.write(SNAPSHOT))
    with site.sends("DELETE lock"):
        lock.release()
    with site.sends():
        lock.release()


def test_the_first_run_of_a_stack(site: Site) -> None:
    store = site.store()
    with site.sends("GET current", "GET list"), pytest.raises(NoCurrentSnapshot):
        store.current()
    first = site.sends("PUT lock", "GET current", "GET list", "PUT snapshot", "PUT current", "DELETE lock")
    with first, store.lock(at_exit=False):
        with pytest.raises(NoCurrentSnapshot):
            store.current()
        store.set_current(store.write(SNAPSHOT))


def test_a_missing_pointer_is_looked_for_twice(site: Site) -> None:
    store = site.store()
    store.write(SNAPSHOT)
    with site.sends("GET current", "GET list", "GET current"), pytest.raises(PointerMissing):
        store.current()


def test_set_current_without_a_read_or_an_own_write(site: Site) -> None:
    rev = written(site)
    store = site.store()
    with store.lock(at_exit=False):
        fresh = store.write(SNAPSHOT)
        with site.sends("GET current", "PUT current"):
            store.set_current(fresh)
        with site.sends("HEAD snapshot", "PUT current"):
            store.set_current(rev)
    with store.lock(at_exit=False), site.sends("GET current", "HEAD snapshot", "PUT current"):
        store.set_current(rev)


def test_without_a_lock(site: Site) -> None:
    rev = written(site)
    store = site.store()
    with site.sends("HEAD snapshot", "PUT current"):
        store.set_current(rev)
    with site.sends("GET current", "HEAD snapshot", "PUT current"):
        store.set_current(rev, expected=rev)
    with site.sends("GET current"):
        store.current_rev()
    with site.sends("GET snapshot"):
        store.get(rev)
    with site.sends("GET list"):
        store.list()
    with site.sends("DELETE snapshot"):
        store.delete(rev)


def test_a_lease(site: Site) -> None:
    with site.sends("PUT lock"):
        lock = site.store().lock(lease=30, heartbeat=False, at_exit=False)
    with site.sends("PUT lock"):
        lock.renew()
    with site.sends("GET lock"):
        lock.check()
    with site.sends("DELETE lock"):
        lock.release()


def test_a_lock_in_the_way(site: Site) -> None:
    lock = site.store().lock(at_exit=False)
    other = site.store()
    with site.sends("PUT lock", "GET lock"), pytest.raises(LockHeld):
        other.lock(timeout=0)
    with site.sends("GET lock"):
        other.lock_info()
    with site.sends("GET lock", "DELETE lock"):
        other.force_unlock()
    with site.sends("GET lock"):
        assert other.force_unlock() is None
    with site.sends("PUT lock", "DELETE lock"):
        other.lock(at_exit=False).release()
    assert lock.held  # it does not know yet


def test_clear_text_is_guarded_once(site: Site) -> None:
    store = site.store(encrypter=Noop())
    with site.sends("GET current", "GET list", "PUT snapshot"):
        store.write(SNAPSHOT)
    with site.sends("PUT snapshot"):
        store.write(SNAPSHOT)


@pytest.mark.parametrize("site", ["vouched"], indirect=True)
def test_where_nobody_vouches_a_won_lock_is_read_back_and_compared_again(site: Site) -> None:
    store = site.store(report=False)
    store.lock(at_exit=False).release()  # the proof of exclusion is sent once for a client and bucket
    with site.sends("PUT lock", "GET lock", "GET lock", "DELETE lock"):
        store.lock(at_exit=False).release()
