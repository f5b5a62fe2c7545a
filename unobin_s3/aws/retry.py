# SPDX-License-Identifier: MIT
"""When to send again: a pure policy. It reads no clock, sleeps nowhere and knows no operation by name.

A write ends as done, refused, undecided or unknown. *Undecided*: the service says that nothing happened (409, 503
SlowDown, 429), so the same request may be repeated until the deadline. *Unknown*: an answer was lost, or its code
does not tell (500, 502, 504), so the request may have taken effect; what is allowed then depends on `Repeat`.
"""

from __future__ import annotations

from enum import Enum

# Attempts after which a request that keeps ending unknown, or never gets a connection, is given up.
MAX_ATTEMPTS = 5
_BASE, _CAP = 0.05, 2.0  # seconds; full jitter between 0 and min(cap, base * 2**n)

# Codes by which the service says that it did not do it, and that it may be asked again.
_UNDECIDED_CODES = frozenset(
    {
        "SlowDown",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestLimitExceeded",
        "TooManyRequests",
        "RequestTimeout",  # S3 gave up waiting for the body: a kept connection that died, nothing stored
        "OperationAborted",
        "ConditionalRequestConflict",
    }
)


class Repeat(Enum):
    """What a second sending of the same request may do after the first one's end is unknown."""

    READ = "read"  # harmless
    CONDITIONAL = "conditional"  # harmless: it is a create or a compare-and-swap; but its 412 may be our own doing
    PLAIN = "plain"  # an idempotent write; the last one wins
    ONCE = "once"  # never: the world may have moved on (a DELETE of a lock); whoever asked must look first


class Outcome(Enum):
    DONE = "done"
    REFUSED = "refused"
    UNDECIDED = "undecided"
    UNKNOWN = "unknown"
    NOT_SENT = "not sent"


def outcome_of(status: int, code: str) -> Outcome:
    """What an answer with this status and error code ("" when the body was no error document) says."""
    if 200 <= status < 300 and not code:
        return Outcome.DONE
    if code in _UNDECIDED_CODES or status in (408, 409, 429):
        return Outcome.UNDECIDED
    # 501 is definite. A 503 that S3 did not write may come from a proxy that lost its upstream on the way back.
    # A 200 with an error document in it: S3 began to answer before it knew.
    if (status >= 500 and status != 501) or (200 <= status < 300 and code):
        return Outcome.UNKNOWN
    return Outcome.REFUSED


def next_delay(outcome: Outcome, repeat: Repeat, attempt: int, remaining: float, random: float) -> float | None:
    """Seconds to wait before attempt number `attempt + 1`, or None to give up.

    `remaining`: seconds until the deadline; `random`: a number in [0, 1).
    """
    if outcome in (Outcome.DONE, Outcome.REFUSED):
        return None
    if outcome is Outcome.UNKNOWN and repeat is Repeat.ONCE:
        return None
    if outcome is not Outcome.UNDECIDED and attempt >= MAX_ATTEMPTS:
        return None
    delay = random * min(_CAP, _BASE * 2 ** min(attempt, 16))
    return delay if delay < remaining else None
