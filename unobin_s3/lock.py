# SPDX-License-Identifier: MIT
"""Lock: what a holder has in hand. Check it, renew its lease, fence the pointer under it, and give it back.

How it is won is in acquire.py. Safe to use from threads; never sends a request from a signal handler (httpcore's pool
lock would deadlock), and releases nothing in a forked child.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

from .aws.caller import Clock
from .errors import LockLost, NotFound, OutcomeUnknown, PreconditionFailed, UnobinS3Error
from .holder import LockInfo, encode_lock
from .place import GRACE, Place
from .pointer import Pointer, moved
from .unlock import release_lock

_logger = logging.getLogger(__name__)

_RENEW_TRIES = 4  # each further one only after a read-back that showed our own lock in another state


class Lock:
    """An acquired lock; a context manager that releases on the way out, whatever the way out is.

    `fence`: the pointer as first read under this lock. `written`: revisions written under it and not pointed at yet.
    Both belong to the lock, so that they end with it, and hold for all threads of its Store.
    """

    def __init__(
        self, place: Place, info: LockInfo, *, sent_at: Moment, on_lost: Callable[[LockLost], None] | None
    ) -> None:
        self._place = place
        self._info = info
        self._sent_at = sent_at
        self._on_lost = on_lost
        self._mutex = threading.RLock()
        self._ended = False
        self._maybe_released = False  # a release ended unknown
        self._lost: LockLost | None = None
        self._stop = threading.Event()
        self._pid = os.getpid()
        self.fence: Pointer | None = None
        self.written: set[str] = set()
        self.undo: list[Callable[[], None]] = []  # run once when the lock ends, such as putting a signal handler back

    @property
    def info(self) -> LockInfo:
        """The lock as this holder last wrote it."""
        return self._info

    @property
    def held(self) -> bool:
        """Whether this object still counts itself as holder: not released, not lost, lease not over. No request."""
        return not self._ended and self._lost is None and not self._expired()

    @property
    def released(self) -> bool:
        """Whether it was given back; a lost lock is not released, and forbids writing."""
        return self._ended and self._lost is None

    def saw(self, found: Pointer) -> None:
        """Take the first read of the pointer as the fence; a later one that differs raises PointerMoved."""
        with self._mutex:
            if self.fence is None:
                self.fence = found
            elif found != self.fence:
                raise moved(self._place, self.fence, found)

    def ensure(self) -> None:
        """Raises LockLost, without a request, when this holder must not write any more."""
        if self._lost is None and not self._ended and self._expired():
            self._lose(f"the lease of {self._info.lease} s ran out without a renewal")
        if self._lost is not None:
            raise self._lost
        if self._ended:
            raise self._error("it was released")

    def check(self) -> LockInfo:
        """One GET: is the lock in the bucket still ours? Raises LockLost if not."""
        self.ensure()
        found = self._place.read_lock(self._place.deadline())
        if found is None or found.id != self._info.id:
            raise self._lose(_whose(found))
        return found

    def renew(self) -> None:
        """Prove that the holder lives: one PUT If-Match. For leases only; safe from any thread.

        Raises LockLost when somebody else has the lock. OutcomeUnknown, TransportError and Throttled leave the lease
        as it was: try again before it ends. After a lost answer the lock is read back, so a renewal that took effect
        counts.
        """
        if self._info.lease is None:
            raise self._error("it has no lease, so there is nothing to renew")
        with self._mutex:
            for _ in range(_RENEW_TRIES):
                self.ensure()
                if self._renew_once():
                    return
            raise self._unknown("it changes while it is renewed; does another process use its id?")

    def _renew_once(self) -> bool:
        """True when renewed; False when it is ours in a state we had not seen (a late renewal): try again."""
        # An attempt that ended unknown may arrive later; with its beat used again it would pass for this one.
        new = self._info = self._info.renewed()
        sent_at = Moment(self._place.client.clock)
        deadline = self._place.deadline(min(GRACE, max(1.0, self._left())))
        try:
            etag = self._place.replace(self._key, encode_lock(new), new.etag, deadline)
        except (PreconditionFailed, NotFound, OutcomeUnknown) as error:
            if isinstance(error, NotFound) and error.code == "NoSuchBucket":
                raise
            found = self._place.read_lock(self._place.grace(deadline))
            if found is None or found.id != new.id:
                raise self._lose(_whose(found)) from error
            if found.beat != new.beat:
                if isinstance(error, OutcomeUnknown):
                    raise self._unknown(f"whether it was renewed is not known: {error}") from error
                self._adopt(found.etag, None)
                return False
            etag = found.etag
        self._adopt(etag, sent_at)
        return True

    def _adopt(self, etag: str, sent_at: Moment | None) -> None:
        self._info = replace(self._info, etag=etag)
        self._sent_at = sent_at or self._sent_at

    def release(self) -> None:
        """Delete the lock if it is ours, by id and ETag; releasing twice is harmless.

        Raises LockLost when it is gone or somebody else's. When the store cannot be reached the error says so and
        release() may be called again. On Amazon's hosts, or where a store report vouches for it, this is one DELETE
        If-Match. Elsewhere the id is compared by a GET first; on a store that ignores or refuses the condition, a lock
        that changes hands between that GET and the DELETE would be deleted although it is not ours (only a force-unlock
        or a lost lease can make it change hands).
        """
        if self.inherited:
            raise self._error("it belongs to the parent process; only that may release it")
        self._stop.set()
        with self._mutex:
            if self._ended:
                return
            try:
                release_lock(self._place, self._info, self._place.deadline(), again=self._maybe_released)
            except LockLost:
                self._end()
                raise
            except OutcomeUnknown:
                self._maybe_released = True
                raise
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._stop.set()
        _held.discard(self)
        _leased.discard(self)
        while self.undo:
            self.undo.pop()()

    def __enter__(self) -> Lock:
        self.ensure()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.release()
        except UnobinS3Error as failed:
            if error is None:
                raise
            # The exception inside is what the caller must see; ours goes along as a note.
            error.add_note(f"the lock was not released in order: {failed}")
            _logger.warning("the lock %s was not released in order: %s", self._url, failed)

    def start(self, *, heartbeat: bool, at_exit: bool) -> None:
        """Register for interpreter exit and, for a lease, start the renewing thread (every third of the lease)."""
        if at_exit:
            _remember(self)
        if heartbeat and self._info.lease is not None:
            threading.Thread(target=_beat, args=(weakref.ref(self), self._stop), daemon=True).start()

    def beat_once(self, stop: threading.Event) -> bool:
        """Wait a third of the lease and renew; False when there is nothing more to renew. For the heartbeat."""
        wait = (self._info.lease or 0) / 3
        if self._sent_at.elapsed() >= wait:
            wait = min(1.0, wait)  # the last renewal failed
        self._place.client.clock.sleep(wait, stop)
        if stop.is_set():
            return False
        try:
            self.renew()
        except LockLost:
            return False
        except UnobinS3Error as error:
            _logger.warning("a renewal of %s failed, %.0f s are left: %s", self._url, self._left(), error)
        return self.held

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's lock."""
        return self._pid != os.getpid()

    def _left(self) -> float:
        """Seconds until this holder must count itself lost; infinite without a lease."""
        lease = self._info.lease
        return float("inf") if lease is None else lease - self._sent_at.elapsed()

    def _expired(self) -> bool:
        return self._left() <= 0

    def _lose(self, why: str) -> LockLost:
        with self._mutex:
            if self._lost is not None:
                return self._lost
            self._lost = self._error(why)
        self._stop.set()
        _logger.error("%s", self._lost)
        if self._on_lost is not None:
            self._on_lost(self._lost)
        return self._lost

    def _unknown(self, why: str) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"the lock {self._url} (id {self._info.id}): {why}",
            operation="PutObject", bucket=self._place.bucket, key=self._key, id=self._info.id, maybe_applied=True,
        )  # fmt: skip

    def _error(self, why: str) -> LockLost:
        return LockLost(
            f"the lock {self._url} (id {self._info.id}) is not held: {why}",
            bucket=self._place.bucket, key=self._key, id=self._info.id, who=self._info.who, since=self._info.since,
        )  # fmt: skip

    @property
    def _key(self) -> str:
        return self._place.layout.lock

    @property
    def _url(self) -> str:
        return self._place.url(self._key)


class Moment:
    """A point in time on both clocks. A frozen Lambda stops the monotonic one, an adjusted machine the other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._monotonic, self._wall = clock.monotonic(), clock.time()

    def elapsed(self) -> float:
        """Seconds since then, by whichever clock says more."""
        return max(self._clock.monotonic() - self._monotonic, self._clock.time() - self._wall)


def _whose(found: LockInfo | None) -> str:
    return "it is gone" if found is None else f"it is held {found.described()}"


# Locks to release when the interpreter exits, also those that nobody refers to any more. Not so with a lease: renewed
# by a thread without anybody caring for it, it would last as long as the process; dropped, it ends by itself.
_held: set[Lock] = set()
_leased: weakref.WeakSet[Lock] = weakref.WeakSet()
_registered = False


def _remember(lock: Lock) -> None:
    global _registered
    if not _registered:
        _registered = True
        atexit.register(_release_all)
    (_held if lock.info.lease is None else _leased).add(lock)


def _release_all() -> None:
    for lock in [*_held, *_leased]:
        if not lock.inherited:
            try:
                lock.release()
            except UnobinS3Error as failed:
                _logger.warning("at exit: %s", failed)


def _beat(reference: weakref.ref[Lock], stop: threading.Event) -> None:
    """The heartbeat: renews at a third of the lease, and sooner again after a failure. Ends with its lock."""
    while True:
        lock = reference()
        if lock is None or not lock.beat_once(stop):
            return
        del lock
