# SPDX-License-Identifier: MIT
"""Taking a name for a new snapshot. Names are never written twice; what has one is immutable."""

from __future__ import annotations

from .errors import NotFound, OutcomeUnknown, PreconditionFailed, ServiceError, StateError, UnobinS3Error
from .place import Place
from .state.revision import make_revision

_ATTEMPTS = 100  # names tried for one write, as in Go


def create_snapshot(place: Place, sealed: bytes, deadline: float) -> str:
    """Store `sealed` under the first free name of this nanosecond, by conditional creates; returns the revision.

    Only after a lost answer is a taken name read back: exactly our bytes there mean that it is written. A plain refusal
    moves on to the next suffix, for under Noop equal bytes may be anybody's. OutcomeUnknown when it cannot be read.
    """
    now, key, rev = place.client.clock.time_ns(), "", ""
    for suffix in range(_ATTEMPTS):
        rev = make_revision(now, suffix)
        key = place.layout.snapshot(rev)
        try:
            place.create(key, sealed, deadline)
        except PreconditionFailed as refused:
            if not refused.maybe_applied or not _is_ours(place, rev, sealed, deadline, refused):
                continue
        except (OutcomeUnknown, ServiceError) as end:
            if not end.maybe_applied:
                raise
            if not _is_ours(place, rev, sealed, deadline, end):
                raise _unknown(place, rev, end) from end
        return rev
    raise StateError(
        f"no free revision name after {_ATTEMPTS} attempts at {place.url(key)}; is the clock standing still?",
        bucket=place.bucket, key=key, rev=rev,
    )  # fmt: skip


def _is_ours(place: Place, rev: str, sealed: bytes, deadline: float, lost: UnobinS3Error) -> bool:
    try:
        return place.get(place.layout.snapshot(rev), place.grace(deadline)).body == sealed
    except NotFound:
        return False
    except UnobinS3Error as error:
        raise _unknown(place, rev, error) from lost


def _unknown(place: Place, rev: str, error: UnobinS3Error) -> OutcomeUnknown:
    key = place.layout.snapshot(rev)
    return OutcomeUnknown(
        f"whether {place.url(key)} was written is not known: {error}. The pointer was not moved; if the snapshot is "
        "there, it is an orphan and whole",
        operation="PutObject", bucket=place.bucket, key=key, id=rev, maybe_applied=True,
    )  # fmt: skip
