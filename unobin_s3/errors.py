# SPDX-License-Identifier: MIT
"""Every exception this package raises, and nothing else.

    UnobinS3Error
    ├── ConfigurationError (ValueError)    an argument, setting or name was refused before any request
    ├── CredentialsError                   no usable AWS credentials; says which sources were tried
    ├── TransportError                     no complete answer arrived (connect, TLS, reset, time-out)
    ├── OutcomeUnknown                     a write was sent, and whether it took effect could not be found out
    ├── ServiceError                       the service answered with an error (status, code, request id)
    │   ├── NotFound                       404
    │   ├── AccessDenied                   403 (and 401)
    │   ├── PreconditionFailed             412: the condition did not hold, nothing was changed
    │   ├── Conflict                       409 until the deadline: nothing was changed
    │   └── Throttled                      503 SlowDown or 429 until the deadline: nothing was changed
    ├── LockError
    │   ├── LockHeld                       somebody else holds the lock
    │   │   └── LockCancelled              the caller's event ended the wait
    │   ├── LockLost                       the lock this process held is gone or somebody else's
    │   ├── LeaseUnsupported               this store's If-Match is not good enough for leases
    │   └── ConditionalWritesUnsupported   this store cannot exclude; it must not be used for locks
    └── StateError
        ├── NoCurrentSnapshot              nothing was ever written for this stack
        ├── PointerMissing                 snapshots exist, and no pointer says which is current
        ├── PointerInvalid                 the pointer is blank, malformed or names nothing
        ├── PointerMoved                   somebody else moved the pointer since it was read
        ├── SnapshotFormatError            not a valid state snapshot; names the place
        ├── EnvelopeError                  not a valid sealed envelope
        └── DecryptionError                the key does not open it, or it was changed

`str(error)` is for people: what happened, to which bucket and key, what to do next. It never holds a secret.
Everything programs need is an attribute, listed with its default in each class. All pickle and compare by identity.
"""

from __future__ import annotations


class UnobinS3Error(Exception):
    """Root of the tree. Keyword arguments become attributes; only those the class declares are accepted."""

    def __init__(self, message: str = "", **facts: object) -> None:
        # Exception's own pickling calls `cls(*args)` and then restores __dict__, so facts need defaults on the class.
        super().__init__(message)
        for name in facts:
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no attribute {name!r}")
        self.__dict__.update(facts)


class ConfigurationError(UnobinS3Error, ValueError):
    """An argument, setting or name was refused; no request was sent."""


class CredentialsError(UnobinS3Error):
    """No usable AWS credentials. The message lists every source that was tried and why it did not serve."""


class _RequestError(UnobinS3Error):
    operation: str = ""  # the API's name, such as "PutObject"
    bucket: str = ""
    key: str = ""
    # True when an earlier or the last attempt of this call may have taken effect although no answer said so.
    maybe_applied: bool = False


class TransportError(_RequestError):
    """No complete answer: name resolution, connect, TLS, proxy, reset, cut answer, or a time limit."""

    # False only when the request cannot have reached the service.
    sent: bool = True


class OutcomeUnknown(_RequestError):
    """A write was sent and its end could not be found out. The message says what to check."""

    id: str = ""  # the lock id or revision that may have been written


class ServiceError(_RequestError):
    """The service answered with an error, or with something that is not the promised document."""

    status: int = 0
    code: str = ""
    request_id: str = ""


class NotFound(ServiceError):
    """404. `code` tells NoSuchKey from NoSuchBucket; a 404 that S3 did not write is a plain ServiceError."""


class AccessDenied(ServiceError):
    """403 or 401: no right, wrong key, wrong signature. Without s3:ListBucket a missing object looks like this."""


class PreconditionFailed(ServiceError):
    """412: the If-Match or If-None-Match condition did not hold, and this attempt changed nothing."""


class Conflict(ServiceError):
    """409 until the deadline: another write of the same key was under way; this one changed nothing."""


class Throttled(ServiceError):
    """503 SlowDown or 429 until the deadline; nothing was changed."""


class LockError(UnobinS3Error):
    """Something about the lock of one stack."""

    bucket: str = ""
    key: str = ""
    id: str = ""  # id of the lock that the message speaks of
    who: str = ""  # its holder, "" when not known
    since: str = ""  # when it was taken, as written in the lock


class LockHeld(LockError):
    """Somebody else holds the lock and the wait ended. Nothing was changed."""


class LockCancelled(LockHeld):
    """The caller's cancel event ended the wait. Nothing was changed."""


class LockLost(LockError):
    """The lock is gone, somebody else's, or its lease ran out. Stop writing; the pointer is fenced."""


class LeaseUnsupported(LockError):
    """The store's If-Match is missing or wrong, so a lease could not be taken over safely."""


class ConditionalWritesUnsupported(LockError):
    """The store accepted two creates of one key, or refuses conditions: it cannot exclude."""


class StateError(UnobinS3Error):
    """Something about the stored state of one stack."""

    bucket: str = ""
    key: str = ""
    rev: str = ""


class NoCurrentSnapshot(StateError):
    """Nothing was ever written for this stack."""


class PointerMissing(StateError):
    """There are snapshots and no pointer: a first write that was cut short, or a pointer somebody deleted."""


class PointerInvalid(StateError):
    """The pointer is blank, malformed, or names a snapshot that is not there."""


class PointerMoved(StateError):
    """The pointer is not what this writer last saw. Its snapshot stays as an orphan; nothing was overwritten."""

    expected: str = ""  # "" stands for: no pointer
    found: str = ""


class SnapshotFormatError(StateError):
    """Not a valid snapshot. `place` is the path inside it, such as `entries[3].outputs.url`."""

    place: str = ""


class EnvelopeError(StateError):
    """Not a valid envelope, or one for another payload type."""


class DecryptionError(StateError):
    """The configured key does not open the data, the key is unusable, or the data was changed."""
