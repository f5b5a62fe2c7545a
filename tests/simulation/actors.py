# SPDX-License-Identifier: MIT
"""What processes do with a Store: writers, operators who break locks, readers. Every call is timed and watched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from unobin_s3 import FactoryInfo, Lock, Snapshot, Store
from unobin_s3.errors import DecryptionError, LockLost, NoCurrentSnapshot, PointerMissing, StateError, UnobinS3Error

from .watch import Watch
from .world import Process

T = TypeVar("T")
FACTORY, STACK = "net", "prod"
_GRACE = 10.0  # seconds that the way out of a call may take, see protocol section 6


class SimEncrypter:
    """Authenticates like AES-GCM and costs nothing; its nonces come from the seed."""

    name = "simulated"
    authenticates = True

    def __init__(self, token: Callable[[int], bytes]) -> None:
        self._token = token

    def encrypt(self, plaintext: bytes) -> bytes:
        nonce = self._token(12)
        return nonce + hashlib.blake2b(nonce + plaintext, digest_size=16).digest() + plaintext

    def decrypt(self, blob: bytes) -> bytes:
        nonce, tag, plaintext = blob[:12], blob[12:28], blob[28:]
        if hashlib.blake2b(nonce + plaintext, digest_size=16).digest() != tag:
            raise DecryptionError("simulated: it was changed")
        return plaintext

    def describe(self) -> tuple[str, Mapping[str, object] | None]:
        return self.name, None


def _shown(result: object) -> str:
    if isinstance(result, Lock):
        return result.info.id[:4]
    return result.factory.version if isinstance(result, Snapshot) else str(result)[:40]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What a writer is likely to do."""

    cycles: int
    lease: int | None
    total: float  # time limit of one public call
    late_renewals: float = 0.2  # chance to sleep past the lease
    collects: bool = False
    slow: bool = False  # holds the lock long, and waits long for it


@dataclass(slots=True)
class Actor:
    """One process at work on one Store."""

    process: Process
    store: Store
    watch: Watch
    habits: Habits

    def call(self, name: str, action: Callable[[], T], *, limit: float, rev: str = "") -> T:
        """One public call: noted, watched, and not longer than `limit` seconds of this process's own time."""
        process, watch = self.process, self.watch
        call = watch.calling(process, name, rev)
        process.world.note(process.name, name, rev)
        start = process.world.now - process.stalled
        try:
            result = action()
        except UnobinS3Error as error:
            process.world.note(process.name, name, "raised", type(error).__name__, str(error)[:150])
            watch.failed(call, error)
            raise
        else:
            process.world.note(process.name, name, "returned", _shown(result))
            return result
        finally:
            call.over = True
            took = process.world.now - process.stalled - start
            if not process.dead:
                watch.need(took <= limit + 0.001, f"{name} took {took:.1f} s of {limit:.1f}")

    def sleep(self, seconds: float) -> None:
        self.process.clock.sleep(seconds)

    def write_some(self) -> None:
        """The life of a writer."""
        for _ in range(self.habits.cycles):
            self.sleep(2 * self.process.random.random())
            self.session()

    def session(self) -> None:
        """From the wish for the lock to its end."""
        lock = self.acquire()
        if lock is None:
            return
        self.watch.entered(self.process, lock)
        try:
            self.work(lock)
        except LockLost as error:
            left = lock.info.lease is not None and "ran out" in str(error)
            self.watch.lost(lock, expired=left)
        except (UnobinS3Error, StateError):
            pass
        self.watch.left(self.process)
        self.give_back(lock)

    def acquire(self) -> Lock | None:
        random = self.process.random
        timeout = random.choice((0, 3.0, 12.0, 40.0) if self.habits.lease is None else (0, 12.0, 40.0, 120.0))
        timeout = 200.0 if self.habits.slow else timeout
        poll = 5.0 if self.habits.slow else random.choice((0.5, 2.0, 5.0))

        def lock() -> Lock:
            return self.store.lock(
                timeout, poll=poll, lease=self.habits.lease, heartbeat=False, at_exit=False,
                who=f"{self.process.name}@simulation", on_wait=lambda holder: self.watch.waits(self.process, holder),
            )  # fmt: skip

        try:
            # timeout 0 gives its one try as long as the way out: see protocol section 2.
            return self.call("lock", lock, limit=(timeout or _GRACE) + 3 * _GRACE)
        except UnobinS3Error as error:
            ends = dict.fromkeys(self.watch.view(self.process).call.ids, type(error).__name__)
            self.watch.ended.update(ends)
            return None

    def work(self, lock: Lock) -> None:
        random, read = self.process.random, None
        if random.random() < 0.8:
            read = self.current()
        for _ in range(random.choice((1, 1, 2))):
            self.think(lock)
            if random.random() < 0.15:
                self.current()
            if read is not None and random.random() < 0.2:
                self.roll_back()
            else:
                self.publish(lock)
        if random.random() < 0.2:
            self.call("check", lock.check, limit=self.habits.total + _GRACE)

    def think(self, lock: Lock) -> None:
        """Time passes; a holder of a lease renews it in between, or fails to in time."""
        random, lease = self.process.random, self.habits.lease
        if lease is None:
            self.sleep(3 * random.random())
            return
        for _ in range(random.choice((1, 4, 6) if self.habits.slow else (0, 1, 2, 4))):
            late = random.random() < self.habits.late_renewals
            self.sleep(lease * random.random() * (3 if late else 0.9 if self.habits.slow else 0.6))
            try:
                self.call("renew", lock.renew, limit=3 * _GRACE)
            except LockLost:
                raise
            except UnobinS3Error:
                continue
            self.watch.alone(self.process)

    def current(self) -> str | None:
        limit = 2 * self.habits.total + _GRACE
        there = bool(self.watch.moves)
        try:
            if self.process.random.random() < 0.5:
                return self.call("current_rev", self.store.current_rev, limit=limit)
            return self.call("current", self.store.current, limit=limit).factory.version
        except (NoCurrentSnapshot, PointerMissing) as error:
            listed = self.watch.view(self.process).listed if isinstance(error, PointerMissing) else 0
            self.watch.need(not there and not listed, "there is a pointer, and", error)
            return None

    def publish(self, lock: Lock) -> None:
        """Write a snapshot, and point at it."""
        watch, name = self.watch, f"{self.process.name}-{len(self.watch.written)}-{self.process.random.random()}"
        limit = self.habits.total + _GRACE
        snapshot = Snapshot(factory=FactoryInfo(name=FACTORY, version=name), stack=STACK, entries=[])
        rev = self.call("write", lambda: self.store.write(snapshot), limit=limit)
        watch.wrote(watch.view(self.process).call, rev, name)
        if self.process.random.random() < 0.15:
            self.current()
        if self.process.random.random() < 0.1 and self.habits.lease is not None:
            self.think(lock)
        self.point(rev)

    def point(self, rev: str) -> None:
        limit = self.habits.total + _GRACE
        self.call("set_current", lambda: self.store.set_current(rev), limit=limit, rev=rev)
        self.watch.moved(self.watch.view(self.process).call)

    def roll_back(self) -> None:
        """Point at what was current before, and sometimes delete what has long ceased to be."""
        moves = self.watch.moves
        if len(moves) > 1:
            self.point(moves[-2])
        old = [rev for rev in moves[:-4] if rev not in moves[-4:]]
        if old and self.habits.collects:
            self.watch.deleted.add(old[0])
            self.call("delete", lambda: self.store.delete(old[0]), limit=self.habits.total + _GRACE)

    def give_back(self, lock: Lock) -> None:
        """Release, again after a failure, and sometimes again after success."""
        ended = "not released"
        for _ in range(3):
            try:
                self.call("release", lock.release, limit=self.habits.total + _GRACE)
            except LockLost as error:
                self.watch.lost(lock, expired="ran out" in str(error))
                ended = "lost"
                break
            except UnobinS3Error:
                self.sleep(5)
                continue
            ended = "released"
            break
        if ended == "released" and self.process.random.random() < 0.1:
            self.call("release", lock.release, limit=0)
        self.watch.ended[lock.info.id] = ended

    def read_some(self) -> None:
        """A reader without the lock: whatever it gets must open."""
        for _ in range(3):
            self.sleep(6 * self.process.random.random())
            with suppress(UnobinS3Error):
                self.current()

    def break_locks(self) -> None:
        """An operator with no patience."""
        self.watch.operators.add(self.process)
        for _ in range(2):
            self.sleep(12 * self.process.random.random())
            with suppress(UnobinS3Error):
                self.force()

    def force(self) -> None:
        limit = self.habits.total + _GRACE
        found = self.call("lock_info", self.store.lock_info, limit=limit)
        if found is None:
            return
        self.sleep(self.process.random.random())
        named = found.id if self.process.random.random() < 0.5 else None
        gone = self.call("force_unlock", lambda: self.store.force_unlock(id=named), limit=limit)
        self.watch.need(gone is None or gone.id == named or not named, "force_unlock removed another than", named)

    def audit(self) -> None:
        """At the end, in calm weather: every acknowledged write is there and opens, and so does the current one."""
        for rev, content in self.watch.written.items():
            if rev not in self.watch.deleted:
                found = self.store.get(rev).factory.version
                self.watch.need(found == content, "an acknowledged write holds something else:", rev)
        if self.watch.moves:
            self.watch.need(self.store.current_rev() == self.watch.moves[-1], "the pointer is not where it was moved")
            self.store.current()
