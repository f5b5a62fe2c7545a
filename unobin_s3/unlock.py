# SPDX-License-Identifier: MIT
"""Deleting a lock, and only the lock that was meant.

A DELETE whose answer was lost is never sent again without a new look: by then the key may hold the next holder's lock.
"""

from __future__ import annotations

import logging

from .aws.retry import Outcome, Repeat, next_delay
from .errors import (
    LockHeld,
    LockLost,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    ServiceError,
    TransportError,
)
from .holder import LockInfo
from .place import Place

_logger = logging.getLogger(__name__)


def release_lock(place: Place, info: LockInfo, deadline: float, *, again: bool = False) -> None:
    """Delete our lock. Raises LockLost when it is gone or somebody else's before any DELETE of ours was sent.

    On Amazon's hosts, and where a store report vouches for it, the ETag condition alone is trusted at first; elsewhere
    the id is compared by a GET first.
    `again`: an earlier call ended with OutcomeUnknown, so that a lock which is gone may be our doing.
    """
    known = info if place.client.is_amazon or place.vouched else None
    _Removal(place, info.id, deadline, sent=again).run(known)


def force_unlock(place: Place, id: str | None, deadline: float) -> LockInfo | None:
    """Delete whatever lock is there (with `id`: only that one); returns it, or None when there was none."""
    found = place.read_lock(deadline)
    if found is None:
        return None
    if id is not None and found.id != id:
        raise LockHeld(
            f"the lock {place.url(place.layout.lock)} is held {found.described()}, not by {id}; it was left alone",
            bucket=place.bucket, key=place.layout.lock, id=found.id, who=found.who, since=found.since,
        )  # fmt: skip
    try:
        _Removal(place, found.id, deadline).run(found)
    except LockLost:
        # Gone or replaced since the GET: without an id in mind, look again at what is there now.
        if id is None and (now := place.read_lock(deadline)) is not None:
            _Removal(place, now.id, deadline).run(now)
            return now
    return found


class _Removal:
    """Look, delete what was seen, and look again after every end that is not certain."""

    def __init__(self, place: Place, id: str, deadline: float, *, sent: bool = False) -> None:
        self._place, self._id, self._deadline = place, id, deadline
        self._sent = sent  # a DELETE of ours may have taken effect
        self._lost = 0  # DELETEs whose end is unknown
        self._conditional = True

    def run(self, known: LockInfo | None) -> None:
        try:
            self._remove(known)
        except (TransportError, ServiceError) as error:
            if not self._sent:
                raise
            raise self._unknown(error) from error

    def _unknown(self, error: Exception) -> OutcomeUnknown:
        place = self._place
        return OutcomeUnknown(
            f"whether the lock {place.url(place.layout.lock)} (id {self._id}) was deleted is not known: {error}; "
            "look at it with `unobin-s3 lock-info`",
            operation="DeleteObject", bucket=place.bucket, key=place.layout.lock, id=self._id, maybe_applied=True,
        )  # fmt: skip

    def _remove(self, known: LockInfo | None) -> None:
        refused: tuple[str, ServiceError] | None = None
        while True:
            lock = known or self._look()
            if lock is None:
                return
            if refused is not None and lock.etag == refused[0]:
                # The condition was right and still refused: this store wants ETags without quotes (Ceph).
                if self._place.client.unquoted_etags:
                    raise refused[1]
                self._place.client.unquoted_etags = True
            refused = known = None
            try:
                self._delete(lock)
                return
            except OutcomeUnknown as lost:
                self._sent = True
                self._pause(lost)
            except (PreconditionFailed, NotFound) as error:
                if error.code == "NoSuchBucket":
                    raise
                refused = lock.etag, error
            except ServiceError as error:
                if error.status != 501 or not self._conditional:
                    raise
                # LocalStack: no conditional DELETE. A look comes right before the plain one.
                self._conditional = False

    def _pause(self, lost: OutcomeUnknown) -> None:
        """Before the next look; after as many DELETEs as any call has attempts, the end stays unknown."""
        _logger.info("%s", lost)
        self._lost += 1
        clock = self._place.client.clock
        left = self._deadline - clock.monotonic()
        delay = next_delay(Outcome.UNKNOWN, Repeat.READ, self._lost, left, clock.random())
        if delay is not None:
            clock.sleep(delay)
        elif self._look() is not None:
            raise self._unknown(lost) from lost

    def _delete(self, lock: LockInfo) -> None:
        etag = lock.etag if self._conditional and lock.etag else None
        client, key = self._place.client, self._place.layout.lock
        client.delete_object(self._place.bucket, key, if_match=etag, once=True, deadline=self._deadline)

    def _look(self) -> LockInfo | None:
        """The lock if it is still the one we mean; None when our own DELETE has taken effect."""
        place = self._place
        found = place.read_lock(place.grace(self._deadline) if self._sent else self._deadline)
        if found is not None and found.id == self._id:
            return found
        if self._sent:
            _logger.info("the lock %s is gone after a DELETE whose answer was lost", place.url(place.layout.lock))
            return None
        state = "it is gone" if found is None else f"it is held {found.described()}"
        raise LockLost(
            f"the lock {place.url(place.layout.lock)} (id {self._id}) is not ours any more: {state}",
            bucket=place.bucket, key=place.layout.lock, id=self._id,
            who=found.who if found else "", since=found.since if found else "",
        )  # fmt: skip
