# SPDX-License-Identifier: MIT
"""The policy by table: what an answer means, and when, if at all, the request is sent again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unobin_s3.aws.retry import MAX_ATTEMPTS, Outcome, Repeat, next_delay, outcome_of

DONE, REFUSED, UNDECIDED, UNKNOWN = Outcome.DONE, Outcome.REFUSED, Outcome.UNDECIDED, Outcome.UNKNOWN
NOT_SENT = Outcome.NOT_SENT


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (200, "", DONE),
        (204, "", DONE),
        (206, "", DONE),
        (200, "InternalError", UNKNOWN),  # S3 began to answer before it knew
        (200, "InvalidResponse", UNKNOWN),  # a portal
        (200, "SlowDown", UNDECIDED),
        (301, "PermanentRedirect", REFUSED),
        (304, "", REFUSED),
        (307, "TemporaryRedirect", REFUSED),
        (400, "", REFUSED),
        (400, "RequestTimeout", UNDECIDED),  # a kept connection that died, nothing stored
        (400, "ExpiredToken", REFUSED),
        (400, "ThrottlingException", UNDECIDED),  # KMS
        (401, "", REFUSED),
        (403, "", REFUSED),
        (403, "RequestTimeTooSkewed", REFUSED),
        (404, "NoSuchKey", REFUSED),
        (404, "", REFUSED),
        (408, "", UNDECIDED),
        (409, "ConditionalRequestConflict", UNDECIDED),
        (409, "OperationAborted", UNDECIDED),
        (409, "", UNDECIDED),
        (411, "MissingContentLength", REFUSED),
        (412, "PreconditionFailed", REFUSED),
        (412, "", REFUSED),
        (413, "EntityTooLarge", REFUSED),
        (429, "", UNDECIDED),
        (500, "InternalError", UNKNOWN),
        (500, "", UNKNOWN),
        (501, "NotImplemented", REFUSED),
        (501, "", REFUSED),
        (502, "", UNKNOWN),
        (503, "SlowDown", UNDECIDED),
        (503, "ServiceUnavailable", UNDECIDED),
        (503, "", UNKNOWN),  # perhaps of a proxy that lost its upstream on the way back
        (504, "", UNKNOWN),
        (599, "Odd", UNKNOWN),
    ],
)
def test_outcome(status: int, code: str, outcome: Outcome) -> None:
    assert outcome_of(status, code) is outcome


@pytest.mark.parametrize("repeat", list(Repeat))
@pytest.mark.parametrize("outcome", [DONE, REFUSED])
def test_certain_ends_are_not_repeated(outcome: Outcome, repeat: Repeat) -> None:
    assert next_delay(outcome, repeat, 1, 1000, 0.0) is None


@pytest.mark.parametrize("repeat", list(Repeat))
def test_what_an_unknown_end_allows(repeat: Repeat) -> None:
    again = next_delay(UNKNOWN, repeat, 1, 1000, 0.5)
    assert (again is None) == (repeat is Repeat.ONCE)
    assert next_delay(UNDECIDED, repeat, 1, 1000, 0.5) is not None
    assert next_delay(NOT_SENT, repeat, 1, 1000, 0.5) is not None


@pytest.mark.parametrize("outcome", [UNKNOWN, NOT_SENT])
def test_attempts_are_counted(outcome: Outcome) -> None:
    assert next_delay(outcome, Repeat.READ, MAX_ATTEMPTS - 1, 1000, 0.5) is not None
    assert next_delay(outcome, Repeat.READ, MAX_ATTEMPTS, 1000, 0.5) is None


def test_undecided_ends_only_with_the_time() -> None:
    assert next_delay(UNDECIDED, Repeat.CONDITIONAL, 10_000, 2.1, 0.999) is not None
    assert next_delay(UNDECIDED, Repeat.CONDITIONAL, 10_000, 1.9, 0.999) is None


@pytest.mark.parametrize(
    ("attempt", "longest"), [(1, 0.1), (2, 0.2), (3, 0.4), (4, 0.8), (5, 1.6), (6, 2.0), (7, 2.0), (10**9, 2.0)]
)
def test_delay_at_both_ends(attempt: int, longest: float) -> None:
    assert next_delay(UNDECIDED, Repeat.READ, attempt, 1000, 0.0) == 0.0
    almost = next_delay(UNDECIDED, Repeat.READ, attempt, 1000, 1 - 2**-53)
    assert almost == pytest.approx(longest)


@settings(derandomize=True)
@given(
    st.sampled_from(list(Outcome)),
    st.sampled_from(list(Repeat)),
    st.integers(1, 10**6),
    st.floats(0, 200),
    st.floats(0, 1, exclude_max=True),
)
def test_a_delay_fits_into_what_is_left(
    outcome: Outcome, repeat: Repeat, attempt: int, remaining: float, random: float
) -> None:
    delay = next_delay(outcome, repeat, attempt, remaining, random)
    assert delay is None or (0 <= delay < remaining and delay <= 2.0)
