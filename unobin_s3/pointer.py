# SPDX-License-Identifier: MIT
"""The pointer `current`: read it, and move it so that a writer who was displaced cannot.

A fence is what the pointer was when its holder first looked. Moving is a compare-and-swap against the fence (RFC 9110
section 13.1.1, If-Match), never against a later read: a later read would see, and then undo, somebody else's move.

ETags of plain objects are the MD5 of their bytes. A pointer that returned to earlier bytes would therefore make earlier
fences valid again; `tailed` gives the same revision in bytes that never were before. Go trims the tail when it reads.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from .errors import (
    AccessDenied,
    ConfigurationError,
    NotFound,
    OutcomeUnknown,
    PointerInvalid,
    PointerMoved,
    PreconditionFailed,
    ServiceError,
    TransportError,
)
from .place import Place
from .state.revision import check_revision, trim_space

_logger = logging.getLogger(__name__)

_TAIL_BITS = 40


class Pointer(NamedTuple):
    """The pointer as one read saw it. Absent: no ETag and an empty body."""

    body: bytes = b""
    etag: str | None = None

    @property
    def text(self) -> str:
        """What it names, unchecked; "" when it is absent or blank."""
        return trim_space(self.body.decode("utf-8", "replace"))

    def rev(self, place: Place) -> str | None:
        """The revision it names, None when there is no pointer. Raises PointerInvalid when it is no name."""
        if self.etag is None:
            return None
        key = place.layout.current
        try:
            check_revision(self.text)
        except ConfigurationError:
            kind = f"holds {self.text[:80]!r}, which is no revision name" if self.text else "is blank"
            raise PointerInvalid(
                f"the pointer {place.url(key)} {kind}; nothing is lost: list the snapshots and point it at one "
                "(set_current, or `unobin-s3 rollback REV`)",
                bucket=place.bucket, key=key,
            ) from None  # fmt: skip
        return self.text


def read_pointer(place: Place, deadline: float) -> Pointer:
    """One GET."""
    found = place.get_small(place.layout.current, deadline)
    return Pointer() if found is None else Pointer(found.body, found.etag)


def plain(rev: str) -> bytes:
    """The pointer's bytes as Go writes them."""
    return f"{rev}\n".encode()


def tailed(text: str, token: bytes) -> bytes:
    """The same name with 40 random blanks and tabs behind it: bytes, and so an ETag, that never were before."""
    bits = int.from_bytes(token[: _TAIL_BITS // 8], "big")
    tail = "".join(" \t"[bits >> place & 1] for place in range(_TAIL_BITS))
    return f"{text}\n{tail}\n".encode()


def swap(place: Place, fence: Pointer, body: bytes, deadline: float) -> Pointer:
    """Move the pointer from `fence` to `body`, and return what it is now. Atomic.

    Raises PointerMoved when it is not what the fence says, OutcomeUnknown when an answer stays lost. A refusal whose
    pointer already holds exactly `body` is success: an earlier attempt of ours took effect.
    """
    key = place.layout.current
    try:
        if fence.etag is None:
            return Pointer(body, place.create(key, body, deadline))
        return Pointer(body, place.replace(key, body, fence.etag, deadline))
    except (OutcomeUnknown, ServiceError) as end:
        if end.maybe_applied or (isinstance(end, PreconditionFailed | NotFound) and end.code != "NoSuchBucket"):
            return _look_after(place, fence, body, deadline, end)
        if isinstance(end, ServiceError) and end.status == 501:
            return _swap_by_reading(place, fence, body, deadline)
        if isinstance(end, AccessDenied):
            end.args = (f"{end.args[0]}; moving the pointer needs s3:PutObject and s3:GetObject on it",)
        raise


def _look_after(
    place: Place, fence: Pointer, body: bytes, deadline: float, end: OutcomeUnknown | ServiceError
) -> Pointer:
    """What a refusal or a lost answer meant, by what the pointer holds now."""
    found = _read_back(place, body, deadline, end)
    if found.body == body:
        return found
    if found != fence:
        raise moved(place, fence, found) from end
    if end.maybe_applied:  # a lost write may yet arrive
        raise _unknown(place, body, end) from end
    if fence.etag is None or place.client.unquoted_etags:
        raise moved(place, fence, found) from end
    _logger.warning("%s refuses a right ETag in quotes; sending them bare from now on", place.bucket)
    place.client.unquoted_etags = True
    return swap(place, fence, body, deadline)


def put_pointer(place: Place, body: bytes, deadline: float) -> Pointer:
    """Move it whatever it was: the last writer wins. Raises OutcomeUnknown when an answer stays lost."""
    try:
        return Pointer(body, place.put(place.layout.current, body, deadline))
    except (OutcomeUnknown, ServiceError) as end:
        if not end.maybe_applied:
            raise
        raise _unknown(place, body, end) from end


def _read_back(place: Place, body: bytes, deadline: float, end: OutcomeUnknown | ServiceError) -> Pointer:
    """The pointer after a write that ended so. When it cannot be read either, a lost answer stays a lost answer."""
    try:
        return read_pointer(place, place.grace(deadline))
    except (TransportError, ServiceError) as failed:
        if not end.maybe_applied:
            raise
        raise _unknown(place, body, failed) from end


def _swap_by_reading(place: Place, fence: Pointer, body: bytes, deadline: float) -> Pointer:
    """For stores that answer 501 to the condition: read, compare, put. Another writer fits between the two steps."""
    _logger.warning("%s has no conditional PUT; the pointer is compared before it is written", place)
    found = read_pointer(place, deadline)
    if found != fence:
        raise moved(place, fence, found)
    return put_pointer(place, body, deadline)


def _unknown(place: Place, body: bytes, reason: Exception) -> OutcomeUnknown:
    rev, key = Pointer(body).text, place.layout.current
    return OutcomeUnknown(
        f"whether the pointer {place.url(key)} was moved to {rev} is not known: {reason}. The snapshot is kept; look "
        "at the pointer again, the write may still arrive",
        operation="PutObject", bucket=place.bucket, key=key, id=rev, maybe_applied=True,
    )  # fmt: skip


def moved(place: Place, fence: Pointer, found: Pointer) -> PointerMoved:
    """The error that names both revisions."""
    expected, now = fence.text or "no pointer", found.text or "no pointer"
    return PointerMoved(
        f"the pointer {place.url(place.layout.current)} was {expected} when it was read, and is {now} now: another "
        "writer moved it. Nothing was overwritten, the new snapshot is kept; read the state again and redo the change",
        bucket=place.bucket, key=place.layout.current, expected=fence.text, found=found.text,
    )  # fmt: skip
