# SPDX-License-Identifier: MIT
"""Winning the lock: create it, or wait for it, or take over a lease that ran out. One attempt is one object.

The lock is a conditional create (PUT If-None-Match: *, RFC 9110 section 13.1.2). A lost answer may hide that we won, so
after every uncertain end, and after every 412, the lock is read and its id compared with ours.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from .errors import (
    AccessDenied,
    ConditionalWritesUnsupported,
    LockCancelled,
    LockHeld,
    LockLost,
    NotFound,
    OutcomeUnknown,
    PointerMoved,
    PreconditionFailed,
    ServiceError,
    Throttled,
    TransportError,
    UnobinS3Error,
)
from .holder import LockInfo, encode_lock
from .lock import Lock, Moment
from .place import GRACE, Place
from .pointer import read_pointer, swap, tailed
from .unlock import release_lock

_logger = logging.getLogger(__name__)

_REWRITES = 8  # of the pointer at a take-over; each further one only because its old holder moved it meanwhile


class Wish(NamedTuple):
    """What the caller of `Store.lock` asked for. Seconds everywhere; `timeout` None waits without limit."""

    timeout: float | None
    poll: float
    cancel: threading.Event | None
    lease: int | None
    on_wait: Callable[[LockInfo], None] | None
    on_lost: Callable[[LockLost], None] | None
    who: str | None
    handle_sigterm: bool


class Acquisition:
    """One try to get the lock. `trusted`: the store's exclusion needs no read-back of a won lock."""

    def __init__(
        self, place: Place, info: LockInfo, wish: Wish, *, trusted: bool, can_take_over: Callable[[], bool]
    ) -> None:
        self._place, self._info, self._wish = place, info, wish
        self._trusted, self._can_take_over = trusted, can_take_over
        self._clock = place.client.clock
        self._key = place.layout.lock
        self._end = float("inf") if wish.timeout is None else self._clock.monotonic() + wish.timeout
        self._sent = False  # a create was sent, and nothing said yet that it had no effect
        self._unsure = False  # some answer was lost, or the way back failed: our lock may be there, even later
        self._holder: LockInfo | None = None  # whoever was in the way when we last looked
        self._announced = self._denied = False

    def run(self) -> Lock:
        """The lock, or LockHeld, LockCancelled, OutcomeUnknown, ConditionalWritesUnsupported or the client's errors.

        Whatever the way out is, even KeyboardInterrupt: a lock that may be ours is given back on it.
        """
        try:
            return self._win()
        except BaseException as error:
            if self._sent:
                self._give_back()
            self._unsure = self._unsure or getattr(error, "maybe_applied", False)
            told = isinstance(error, OutcomeUnknown) and error.id == self._info.id
            if self._unsure and isinstance(error, UnobinS3Error) and not told:
                raise self._unknown(error) from error
            over = self._holder is not None and self._clock.monotonic() >= self._end
            if over and isinstance(error, TransportError):
                raise self._held(self._holder, LockHeld) from error
            raise

    def _win(self) -> Lock:
        found = None
        while True:
            if found is None:
                lock, found = self._create()
                if lock is not None:
                    return lock
            if found is not None and found.expired and self._can_take_over():
                lock = self._take_over(found)
                if lock is not None:
                    return lock
            self._pause(found)
            found = self._look(found)
            if found is not None and found.id == self._info.id:
                return self._adopted(found)

    def _create(self) -> tuple[Lock | None, LockInfo | None]:
        """(lock, None) when won; (None, the lock that is in the way or None when it has just gone)."""
        sent_at = Moment(self._clock)
        before, self._sent = self._sent, True
        deadline = self._deadline()
        try:
            etag = self._place.create(self._key, self._body(), deadline)
        except PreconditionFailed as refused:
            self._unsure = self._unsure or refused.maybe_applied
            self._sent, self._holder = before or refused.maybe_applied, LockInfo()
            found = self._in_the_way(self._place.grace(deadline))
        except OutcomeUnknown:
            self._unsure = True
            found = self._place.read_lock(self._place.grace(deadline))
        except AccessDenied as denied:
            denied.args = (f"{denied.args[0]}; lock() needs s3:PutObject, s3:GetObject and s3:DeleteObject",)
            raise
        except ServiceError as error:
            if error.status != 501 and error.code != "NotImplemented":
                raise
            raise ConditionalWritesUnsupported(
                f"{self._place.bucket} refuses conditional writes ({error}); it cannot hold a lock",
                bucket=self._place.bucket, key=self._key,
            ) from error  # fmt: skip
        else:
            return self._confirmed(etag, sent_at), None
        if found is not None and found.id == self._info.id:
            return self._adopted(found), None
        return None, found

    def _in_the_way(self, deadline: float) -> LockInfo | None:
        """The lock that refused us. It may be gone again, which looks forbidden (403) without s3:ListBucket: once."""
        denied, self._denied = self._denied, False
        try:
            return self._place.read_lock(deadline)
        except AccessDenied:
            if denied or self._unsure:
                raise
            self._denied = True
            return None

    def _confirmed(self, etag: str, sent_at: Moment) -> Lock:
        """Won by a definite answer. Stores that are not Amazon's are asked who they think has it."""
        if not self._trusted:
            found = self._place.read_lock(self._place.grace(self._deadline()))
            if found is None or found.id != self._info.id:
                self._sent = False  # what is there is not ours; nothing is deleted
                raise self._held(found, LockHeld)
            etag = found.etag
        return self._lock(replace(self._info, etag=etag), sent_at)

    def _adopted(self, found: LockInfo) -> Lock:
        """Our own id in the bucket: an attempt whose answer was lost had won."""
        _logger.info("the lock %s was won by an attempt whose answer was lost", self._place.url(self._key))
        lock = self._lock(replace(self._info, etag=found.etag), Moment(self._clock))
        if lock.info.lease is not None:
            lock.renew()  # when that attempt took effect is not known, so the lease starts from here
        return lock

    def _body(self) -> bytes:
        if self._unsure:  # never the bytes, and so the ETag, of an attempt that may have had effect
            self._info = self._info.renewed()
        return encode_lock(self._info)

    def _lock(self, info: LockInfo, sent_at: Moment) -> Lock:
        return Lock(self._place, info, sent_at=sent_at, on_lost=self._wish.on_lost)

    def _take_over(self, found: LockInfo) -> Lock | None:
        """Replace an expired lock, If-Match its ETag: at most one waiter can, and not if it was renewed meanwhile."""
        sent_at, self._sent = Moment(self._clock), True
        deadline = self._deadline()
        try:
            etag = self._place.replace(self._key, self._body(), found.etag, deadline)
        except (PreconditionFailed, NotFound, OutcomeUnknown) as error:
            self._unsure = self._unsure or error.maybe_applied
            now = self._place.read_lock(self._place.grace(deadline))
            if now is None or now.id != self._info.id:
                return None
            lock = self._adopted(now)
        else:
            lock = self._lock(replace(self._info, etag=etag), sent_at)
        _logger.warning(
            "took over the lock %s, %s, whose lease had run out",
            self._place.url(self._key),
            found.described(),
        )
        self._void_fences(lock)
        return lock

    def _void_fences(self, lock: Lock) -> None:
        """Give the pointer new bytes, so that what the displaced holder knows of it is out of date from here on."""
        deadline, self._holder = self._place.grace(self._deadline()), None
        for _ in range(_REWRITES):
            lock.ensure()
            seen = read_pointer(self._place, deadline)
            if seen.etag is None:
                return
            try:
                body = tailed(seen.text, self._clock.token(5))
                lock.fence = swap(self._place, seen, body, deadline)
                return
            except (PointerMoved, OutcomeUnknown) as again:
                _logger.info("%s", again)
        raise LockHeld(
            f"the pointer kept changing while {self._place.url(self._key)} was taken over from a holder whose lease "
            "has run out; stop that process and try again",
            bucket=self._place.bucket, key=self._key,
        )  # fmt: skip

    def _look(self, last: LockInfo | None) -> LockInfo | None:
        """The lock as it stands; None means: try to create it (absent, or no right to tell)."""
        try:
            return self._place.read_lock(self._deadline())
        except AccessDenied:
            return None  # without s3:ListBucket a missing lock is a 403
        except (TransportError, Throttled) as error:
            _logger.warning("waiting for the lock: %s", error)
            return last
        except ServiceError as error:
            if error.status < 500:
                raise
            _logger.warning("waiting for the lock: %s", error)
            return last

    def _pause(self, found: LockInfo | None) -> None:
        """Announce the holder once, then wait about `poll` seconds. Raises when time is up or the wait is cancelled."""
        self._holder = found or self._holder
        if found is not None and not self._announced and self._wish.on_wait is not None:
            self._announced = True
            self._wish.on_wait(found)
        left = self._end - self._clock.monotonic()
        if left > 0 and not self._cancelled():
            self._clock.sleep(min(left, self._wish.poll * (0.8 + 0.4 * self._clock.random())), self._wish.cancel)
        if self._cancelled():
            raise self._held(found, LockCancelled)
        if self._clock.monotonic() >= self._end:
            raise self._held(found, LockHeld)

    def _cancelled(self) -> bool:
        return self._wish.cancel is not None and self._wish.cancel.is_set()

    def _deadline(self) -> float:
        if self._wish.timeout == 0:
            return self._place.deadline(GRACE)  # nothing is left of 0 s, and a single try must be able to end
        return min(self._end, self._place.deadline())

    def _unknown(self, end: UnobinS3Error) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"whether the lock {self._place.url(self._key)} was taken is not known: an answer was lost ({end}). If a "
            f"lock with id {self._info.id} is there, `unobin-s3 unlock --id {self._info.id}` removes it",
            operation="PutObject", bucket=self._place.bucket, key=self._key, id=self._info.id, maybe_applied=True,
        )  # fmt: skip

    def _held(self, found: LockInfo | None, kind: type[LockHeld]) -> LockHeld:
        holder = found or LockInfo()
        waited = "the wait was cancelled" if kind is LockCancelled else "the wait is over"
        state = f"is locked {holder.described()}" if found else "was locked by somebody who kept changing"
        return kind(
            f"{self._place} {state}; {waited}. If the holder is gone, run `unobin-s3 force-unlock`",
            bucket=self._place.bucket, key=self._key, id=holder.id, who=holder.who, since=holder.since,
        )  # fmt: skip

    def _give_back(self) -> None:
        """On the way out: delete the lock if it is ours. A failure is logged; the first error matters more."""
        place = self._place
        deadline = place.deadline(GRACE)
        try:
            found = place.read_lock(deadline)
            if found is not None and found.id == self._info.id:
                release_lock(place, found, deadline)
                self._sent = False
        except UnobinS3Error as error:
            self._unsure = True
            _logger.warning("the lock %s (id %s) may be left behind: %s", place.url(self._key), self._info.id, error)
