# SPDX-License-Identifier: MIT
"""Known bugs, to be put into the library one at a time: a simulation that does not find them proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from unobin_s3 import lock, pointer, snapshots, store, unlock
from unobin_s3.acquire import Acquisition
from unobin_s3.aws import caller, failure
from unobin_s3.aws.retry import Outcome, outcome_of
from unobin_s3.errors import NoCurrentSnapshot, OutcomeUnknown, PreconditionFailed, ServiceError
from unobin_s3.holder import LockInfo
from unobin_s3.lock import Lock, Moment
from unobin_s3.place import Place
from unobin_s3.pointer import Pointer, plain, put_pointer
from unobin_s3.store import Store

Patch = pytest.MonkeyPatch
PLANTS: dict[str, tuple[str, Callable[[Patch], None]]] = {}  # name -> (the mode that shows it, what plants it)


def plant(mode: str) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def known(plants: Callable[[Patch], None]) -> Callable[[Patch], None]:
        PLANTS[plants.__name__] = (mode, plants)
        return plants

    return known


@plant("forced")
def blind_unlock(patch: Patch) -> None:
    """Delete the lock, whoever's it is: what the Go original does."""

    def release(place: Place, info: LockInfo, deadline: float, *, again: bool = False) -> None:
        place.client.delete_object(place.bucket, place.layout.lock, deadline=deadline)

    patch.setattr(lock, "release_lock", release)


def _delete_again(patch: Patch) -> None:
    def delete(self: unlock._Removal, found: LockInfo) -> None:
        client, key = self._place.client, self._place.layout.lock
        client.delete_object(self._place.bucket, key, if_match=found.etag or None, deadline=self._deadline)

    patch.setattr(unlock._Removal, "_delete", delete)


@plant("ceph")
def blind_retry_of_a_delete(patch: Patch) -> None:
    """Send a DELETE again after a lost answer, to a store that honours no condition on it."""
    _delete_again(patch)


@plant("plain")
def conditional_retry_of_a_delete(patch: Patch) -> None:
    """The same where the condition is honoured: our own success looks like a lost lock."""
    _delete_again(patch)


@plant("lease")
def unfenced_pointer(patch: Patch) -> None:
    """Put the pointer without a condition."""

    def swap(place: Place, fence: Pointer, body: bytes, deadline: float) -> Pointer:
        return put_pointer(place, body, deadline)

    patch.setattr(store, "swap", swap)


@plant("forced")
def fence_replaced_by_a_later_read(patch: Patch) -> None:
    def saw(self: Lock, found: Pointer) -> None:
        self.fence = found

    patch.setattr(Lock, "saw", saw)


@plant("forced")
def fence_read_just_before_the_write(patch: Patch) -> None:
    read_pointer = Store._read_pointer

    def read(self: Store, deadline: float, *, cached: bool = False) -> Pointer:
        return pointer.read_pointer(self.place, deadline) if cached else read_pointer(self, deadline)

    patch.setattr(Store, "_read_pointer", read)


def _acquires_at(patch: Patch, kind: type[Place]) -> None:
    """Let every wish for the lock be pursued at another kind of Place; what is won is held at the true one."""
    begin, won = Acquisition.__init__, Acquisition._lock

    def begins(self: Acquisition, place: Place, *rest: Any, **options: Any) -> None:
        begin(self, place, *rest, **options)
        self._place = kind(place.client, place.bucket, place.layout, place.kms_key_id)

    def wins(self: Acquisition, info: LockInfo, sent_at: Moment) -> Lock:
        held = won(self, info, sent_at)
        held._place = Place(self._place.client, self._place.bucket, self._place.layout)
        return held

    patch.setattr(Acquisition, "__init__", begins)
    patch.setattr(Acquisition, "_lock", wins)


class _Stranger(Place):
    def read_lock(self, deadline: float) -> LockInfo | None:
        found = Place.read_lock(self, deadline)
        return found and replace(found, id=f"not {found.id}")


class _Careless(Place):
    def replace(self, key: str, body: bytes, etag: str, deadline: float) -> str:
        return self.put(key, body, deadline)


@plant("plain")
def lock_retried_without_read_back(patch: Patch) -> None:
    """Compare no id after a 412: wait for ourselves."""
    _acquires_at(patch, _Stranger)


@plant("plain")
def snapshot_retried_without_read_back(patch: Patch) -> None:
    """Take every 412 for a clash of names: the same state is written twice."""

    def is_ours(*_: object) -> bool:
        return False

    patch.setattr(snapshots, "_is_ours", is_ours)


@plant("plain")
def conflict_taken_for_a_failed_condition(patch: Patch) -> None:
    """409 treated as 412."""
    error_class = failure.error_class

    def kind(status: int, code: str) -> type[ServiceError]:
        return PreconditionFailed if status == 409 else error_class(status, code)

    def outcome(status: int, code: str) -> Outcome:
        return Outcome.REFUSED if status == 409 else outcome_of(status, code)

    patch.setattr(failure, "error_class", kind)
    patch.setattr(caller, "outcome_of", outcome)


@plant("lease-late")
def renewal_with_equal_bytes(patch: Patch) -> None:
    patch.setattr(LockInfo, "renewed", lambda self: self)


@plant("lease")
def renewal_counted_from_its_answer(patch: Patch) -> None:
    """The lease counts from when the answer came, not from before the request was sent."""
    adopt = Lock._adopt

    def late(self: Lock, etag: str, sent_at: Moment | None) -> None:
        adopt(self, etag, sent_at and Moment(self._place.client.clock))

    patch.setattr(Lock, "_adopt", late)


@plant("lease-late")
def renewal_that_uses_a_beat_again(patch: Patch) -> None:
    """A late renewal passes for the one just sent, and the lease is believed longer than it is."""
    renew_once = Lock._renew_once

    def renew(self: Lock) -> bool:
        beat = self._info.beat
        try:
            return renew_once(self)
        except OutcomeUnknown:
            self._info = replace(self._info, beat=beat)
            raise

    patch.setattr(Lock, "_renew_once", renew)


@plant("lease-pointer")
def pointer_not_rewritten_at_a_take_over(patch: Patch) -> None:
    patch.setattr(Acquisition, "_void_fences", lambda self, lock: None)


@plant("lease")
def holder_without_its_own_deadline(patch: Patch) -> None:
    patch.setattr(Lock, "_expired", lambda self: False)


@plant("lease")
def holder_that_trusts_one_clock(patch: Patch) -> None:
    """Only the monotonic clock, which stands still in a frozen Lambda."""
    patch.setattr(Moment, "elapsed", lambda self: self._clock.monotonic() - self._monotonic)


@plant("forced")
def roll_back_to_the_same_bytes(patch: Patch) -> None:
    """A pointer that returns to earlier bytes makes earlier fences valid again."""
    patch.setattr(store, "tailed", lambda text, token: plain(text))


@plant("plain")
def uncertain_create_told_as_held(patch: Patch) -> None:
    """Forget that a create's answer was lost: its lock turns up later, and nobody was told its id."""

    def forget(self: Acquisition, name: str, value: object) -> None:
        object.__setattr__(self, name, False if name == "_unsure" else value)

    patch.setattr(Acquisition, "__setattr__", forget)


@plant("lease")
def wait_that_ends_as_a_failed_request(patch: Patch) -> None:
    """Time runs out between two requests of a wait, and nobody is told that the lock is held."""
    patch.setattr(Acquisition, "_holder", property(lambda self: None, lambda self, value: None), raising=False)


@plant("lease-forced")
def pointer_missing_told_too_soon(patch: Patch) -> None:
    """The first write came between the pointer and the list."""
    patch.setattr(store, "PointerMissing", NoCurrentSnapshot)


@plant("plain")
def release_that_forgets_its_lost_answer(patch: Patch) -> None:
    """Called again after an unknown end, it takes its own success for a lost lock."""
    patch.setattr(Lock, "_maybe_released", property(lambda self: False, lambda self, value: None), raising=False)


@plant("lease-pointer")
def pointer_not_told_as_unknown(patch: Patch) -> None:
    """A 412 after a lost answer, and the pointer as before: the lost write may yet arrive."""
    look_after = pointer._look_after

    def look(place: Place, fence: Pointer, body: bytes, deadline: float, end: OutcomeUnknown | ServiceError) -> Pointer:
        if isinstance(end, PreconditionFailed):
            end.maybe_applied = False
        return look_after(place, fence, body, deadline, end)

    patch.setattr(pointer, "_look_after", look)


@plant("lease")
def lease_taken_over_at_once(patch: Patch) -> None:
    """By dates that are whole seconds, and without a margin."""
    patch.setattr("unobin_s3.holder.LEASE_MARGIN", -1.0)


@plant("lease")
def lock_put_over_whatever_is_there(patch: Patch) -> None:
    """A take-over without its condition."""
    _acquires_at(patch, _Careless)
