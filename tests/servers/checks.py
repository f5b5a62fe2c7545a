# SPDX-License-Identifier: MIT
"""The conformance suite: one function for each guarantee of capabilities.py. Each tries it on one site and says what
happened, in the words of that table; whatever is not in the table's vocabulary fails by an ordinary assertion.
"""

from __future__ import annotations

import http.client
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, nullcontext, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest

from unobin_s3 import (
    AccessDenied,
    ConditionalWritesUnsupported,
    LeaseUnsupported,
    LockHeld,
    LockLost,
    NoCurrentSnapshot,
    NotFound,
    PointerMoved,
    PreconditionFailed,
    S3Client,
    ServiceError,
)
from unobin_s3.aws import sigv4
from unobin_s3.aws.caller import Clock

from .capabilities import KEYS, NO_EXCLUSION, TURNS, WORKS
from .contender import Plan
from .lossy import lossy
from .subject import FACTORY, LEASE, Subject, named, snapshot

ROOT = Path(__file__).parents[2]
IGNORED = "condition ignored"
_ODD_TAG = '"00000000000000000000000000000000"'

AWKWARD_KEYS = [
    "awkward/a b",
    "awkward/a+b",
    "awkward/a%2Fb",
    "awkward/2026-05-01T10:00:00.1Z.json",
    "awkward/~()*!'$,;=@",
    'awkward/"<&>"',
    "awkward/?#[]{}|\\^`",
    "awkward/\u00fcml\u00e4ut \u6f22\u5b57 \U0001f511",
    "awkward/u\u0308 is not \u00fc",
    "awkward/" + "long" * 55,
]


def objects(subject: Subject) -> str:
    s3, bucket = subject.client, subject.site.bucket
    body = bytes(range(256)) * 2048  # 512 KiB
    etag = s3.put_object(bucket, "objects/one", body, metadata={"owner": "me"})
    got = s3.get_object(bucket, "objects/one")
    head = s3.head_object(bucket, "objects/one")
    assert (got.body, got.etag, head.etag, head.body) == (body, etag, etag, b"")
    assert {name.lower() for name in head.metadata} == {"owner"}
    assert head.date is not None
    assert head.last_modified is not None
    assert abs((head.date - head.last_modified).total_seconds()) < 60
    s3.put_object(bucket, "objects/empty", b"")
    assert s3.get_object(bucket, "objects/empty").body == b""
    listed = {entry.key: entry.size for entry in s3.list_objects_v2(bucket, "objects/")}
    assert listed == {"objects/one": len(body), "objects/empty": 0}
    s3.delete_object(bucket, "objects/one")
    s3.delete_object(bucket, "objects/one")
    assert s3.delete_objects(bucket, ["objects/empty", "objects/never"]) == []
    assert not list(s3.list_objects_v2(bucket, "objects/"))
    with pytest.raises(NotFound):
        s3.get_object(bucket, "objects/one")
    with pytest.raises(NotFound):
        s3.get_object("no-such-bucket-here", "objects/one")
    return WORKS


def keys(subject: Subject) -> str:
    """boto3 must find each under the same name, so that a mistake made twice is not taken for right."""
    s3, bucket = subject.client, subject.site.bucket
    with closing(subject.site.boto3()) as boto3:
        for number, key in enumerate(AWKWARD_KEYS):
            s3.put_object(bucket, key, b"%d" % number)
            assert boto3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"%d" % number
            assert s3.get_object(bucket, key).body == b"%d" % number
    assert sorted(entry.key for entry in s3.list_objects_v2(bucket, "awkward/")) == sorted(AWKWARD_KEYS)
    assert s3.delete_objects(bucket, AWKWARD_KEYS) == []
    assert not list(s3.list_objects_v2(bucket, "awkward/"))
    return WORKS


def paging(subject: Subject) -> str:
    """2,500 keys in three pages; a tenth of that on a slow store, with smaller pages. Byte order, none twice."""
    s3, bucket = subject.client, subject.site.bucket
    count = KEYS.get(subject.site.name, 2500)
    wanted = [f"paging/{number:04}" for number in range(count)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(bucket, key, b"."), wanted))
    assert [entry.key for entry in s3.list_objects_v2(bucket, "paging/", max_keys=count * 2 // 5)] == wanted
    assert s3.delete_objects(bucket, wanted) == []
    assert not list(s3.list_objects_v2(bucket, "paging/"))
    return WORKS


def _intrusion(subject: Subject, intruder: S3Client) -> str:
    try:
        intruder.put_object(subject.site.bucket, "intruder", b"x")
    except (AccessDenied, NotFound) as error:
        assert error.code != "NoSuchBucket"  # versitygw answers 404, about the user
        assert not list(subject.client.list_objects_v2(subject.site.bucket, "intruder"))
        return WORKS
    subject.client.delete_object(subject.site.bucket, "intruder")
    return "not checked"


def secret(subject: Subject) -> str:
    return _intrusion(subject, subject.connect(secret="wrong"))


def key_id(subject: Subject) -> str:
    return _intrusion(subject, subject.connect(key="NOSUCHKEY"))


class _SlowClock(Clock):
    def time_ns(self) -> int:
        return super().time_ns() - 1200 * 10**9


def clock(subject: Subject) -> str:
    """Refused when sent as it is; our client reads the store's clock from the refusal and signs by that."""
    site = subject.site
    late = subject.connect(clock=_SlowClock())
    late.put_object(site.bucket, "late", b"x")
    subject.client.delete_object(site.bucket, "late")
    host, path = urlsplit(site.url).netloc, f"/{site.bucket}/late"
    digest = sha256(b"").hexdigest()
    headers = sigv4.sign(
        method="GET", host=host, path=path, query="", headers={}, payload_hash=digest, service="s3",
        access_key_id=site.access_key, secret_access_key=site.secret_key, session_token=None,
        region=site.region, now=time.time() - 1200,
    )  # fmt: skip
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request("GET", path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    assert status in (403, 400, 404)
    return "not checked" if status == 404 else WORKS


def create(subject: Subject) -> str:
    s3, bucket = subject.client, subject.site.bucket
    s3.put_object(bucket, "create", b"first", if_none_match=True)
    try:
        s3.put_object(bucket, "create", b"second", if_none_match=True)
    except PreconditionFailed:
        assert s3.get_object(bucket, "create").body == b"first"
        outcome = WORKS
    else:
        outcome = IGNORED
    s3.delete_object(bucket, "create")
    s3.put_object(bucket, "create", b"third", if_none_match=True)
    s3.delete_object(bucket, "create")
    return outcome


def swap(subject: Subject) -> str:
    s3, bucket = subject.client, subject.site.bucket
    etag = s3.put_object(bucket, "swap", b"first")
    try:
        s3.put_object(bucket, "swap", b"second", if_match=_ODD_TAG)
        return IGNORED
    except PreconditionFailed:
        assert s3.get_object(bucket, "swap").body == b"first"
    except ServiceError as error:
        return f"refused: {error.status} {error.code}"
    outcome = "refused even when right"
    for tag, seen in ((etag, WORKS), (etag.strip('"'), "only with the ETag unquoted")):
        with suppress(PreconditionFailed):
            etag = s3.put_object(bucket, "swap", b"third", if_match=tag)
            outcome = seen
            break
    assert s3.get_object(bucket, "swap").body == (b"first" if "even" in outcome else b"third")
    s3.delete_object(bucket, "swap")
    with pytest.raises((NotFound, PreconditionFailed)):
        s3.put_object(bucket, "swap", b"fourth", if_match=etag)
    return outcome


def guarded_delete(subject: Subject) -> str:
    s3, bucket = subject.client, subject.site.bucket
    etag = s3.put_object(bucket, "guarded", b"kept")
    try:
        s3.delete_object(bucket, "guarded", if_match=_ODD_TAG)
        return IGNORED
    except PreconditionFailed:
        assert s3.get_object(bucket, "guarded").body == b"kept"
    s3.delete_object(bucket, "guarded", if_match=etag)
    with pytest.raises(NotFound):
        s3.get_object(bucket, "guarded")
    return WORKS


def unlocked_cycle(subject: Subject) -> str:
    store = subject.store("unlocked")
    with pytest.raises(NoCurrentSnapshot):
        store.current()
    first = store.write(snapshot("unlocked", 1))
    store.set_current(first)
    second = store.write(snapshot("unlocked", 2))
    store.set_current(second)
    assert store.list() == [first, second]
    assert store.current_rev() == second
    assert store.current() == snapshot("unlocked", 2)
    assert store.get(first) == snapshot("unlocked", 1)
    store.delete(first)
    assert store.list() == [second]
    return WORKS


def locked_cycle(subject: Subject) -> str:
    store, other = subject.store("locked"), subject.store("locked")
    try:
        lock = store.lock(timeout=5)
    except ConditionalWritesUnsupported as error:
        return named(error)
    with lock:
        assert store.lock_info() == other.lock_info()
        store.set_current(store.write(snapshot("locked", 1)))
        assert store.current() == snapshot("locked", 1)
        other.set_current(other.write(snapshot("locked", 2)))  # without the lock, as an operator can
        with pytest.raises(PointerMoved):
            store.set_current(store.write(snapshot("locked", 3)))
        assert other.current() == snapshot("locked", 2)
        lock.check()
    assert store.lock_info() is None
    assert not lock.held
    with store.lock(timeout=0):
        assert store.current() == snapshot("locked", 2)
        store.set_current(store.list()[0])  # back to the first
    assert other.current() == snapshot("locked", 1)
    return WORKS


def second_writer(subject: Subject) -> str:
    first, second = subject.store("second"), subject.store("second")
    try:
        lock = first.lock(timeout=5)
    except ConditionalWritesUnsupported as error:
        return named(error)
    with lock:
        with pytest.raises(LockHeld) as held:
            second.lock(timeout=0)
        assert (held.value.id, held.value.who) == (lock.info.id, lock.info.who)
        assert lock.info.who in str(held.value)
        removed = second.force_unlock(id=lock.info.id)
        assert removed is not None
        assert removed.id == lock.info.id
        with second.lock(timeout=5) as taken:
            with pytest.raises(LockLost):
                lock.check()
            with pytest.raises(LockLost):
                lock.release()
            taken.check()
    assert second.lock_info() is None
    return WORKS


def lost_answers(subject: Subject) -> str:
    """Each write's answer is lost once. Where no lock can be had, the writes alone are tried."""
    lockable = subject.report.exclusive
    with lossy(subject.site.url) as proxy:
        store = subject.store("lossy", url=proxy.url)
        if lockable:
            proxy.lose("PUT", "/lock")
        with store.lock(timeout=30) if lockable else nullcontext() as lock:
            proxy.lose("PUT", "/snapshots/")
            rev = store.write(snapshot("lossy", 1))
            proxy.lose("PUT", "/current")
            store.set_current(rev)
            if lock is not None:
                lock.check()
                proxy.lose("DELETE", "/lock")
        lost = ["PUT /lock"] * lockable + ["PUT /snapshots/", "PUT /current"] + ["DELETE /lock"] * lockable
        assert proxy.lost == lost
    plain = subject.store("lossy")
    assert plain.lock_info() is None
    assert plain.list() == [rev]
    assert plain.current() == snapshot("lossy", 1)
    return WORKS


def exclusion(subject: Subject) -> str:
    """8 processes, up to 50 turns each, around a section that shows a second holder."""
    if not subject.report.exclusive:
        with pytest.raises(ConditionalWritesUnsupported):
            subject.store("crowd").lock(timeout=0)
        return NO_EXCLUSION
    cycles = TURNS.get(subject.site.name, 5)
    with TemporaryDirectory() as made, ExitStack() as stack:
        folder = Path(made)
        (folder / "plan.pickle").write_bytes(pickle.dumps(Plan(subject.site, "crowd", subject.report)))
        (folder / "count").write_text("0")
        words = [sys.executable, "-m", "tests.servers.contender", made, str(cycles)]
        crowd = [
            stack.enter_context(
                subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(8)
        ]
        for process in crowd:
            stack.callback(process.kill)
        ready = [process.stdout.readline() for process in crowd if process.stdout]
        assert ready == ["ready\n"] * 8
        for process in crowd:
            if process.stdin:
                process.stdin.write("go\n")
                process.stdin.flush()
        assert [process.wait(600) for process in crowd] == [0] * 8
        assert (folder / "count").read_text() == str(8 * cycles)
    assert subject.store("crowd").lock_info() is None
    return WORKS


def lease(subject: Subject) -> str:
    """The last check of a site: by now the dead holder has been silent for longer than its lease, mostly."""
    if subject.live is None:
        try:
            subject.store("dead").lock(timeout=0, lease=LEASE)
        except (ConditionalWritesUnsupported, LeaseUnsupported) as error:
            return named(error)
        pytest.fail("a lease was given by a store that is not known to hold leases")
    store = subject.store("dead")
    before = subject.client.get_object(subject.site.bucket, f"{FACTORY}/dead/current")
    left = subject.since + LEASE + 5 - time.monotonic()
    with store.lock(timeout=max(left, 5), poll=0.5, lease=LEASE) as lock:
        assert lock.info.id != "d" * 32
        after = subject.client.get_object(subject.site.bucket, f"{FACTORY}/dead/current")
        # The pointer says the same in other bytes: whatever the dead holder remembers of it is void.
        assert after.body.split() == before.body.split()
        assert after.etag != before.etag
        lock.renew()
        assert store.current() == snapshot("dead", 1)
    # The store's dates are whole seconds: two of the protocol's margin may be little more than one by our clock.
    assert time.monotonic() - subject.since >= LEASE + 1
    assert subject.live.held
    subject.live.check()
    with pytest.raises(LockHeld):
        subject.store("live").lock(timeout=0, lease=LEASE)
    return WORKS


CHECKS: dict[str, Callable[[Subject], str]] = {
    check.__name__: check
    for check in (
        objects, keys, paging, secret, key_id, clock, create, swap, guarded_delete, unlocked_cycle, locked_cycle,
        second_writer, lost_answers, exclusion, lease,
    )
}  # fmt: skip
