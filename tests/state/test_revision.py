# SPDX-License-Identifier: MIT
"""Revision names: made, parsed as leniently as Go does, and ordered by what they mean."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unobin_s3.errors import ConfigurationError
from unobin_s3.state.revision import (
    check_revision,
    format_time,
    make_revision,
    parse_offset_time,
    parse_revision,
    parse_time,
    sort_revisions,
    trim_space,
)

checked = settings(derandomize=True, deadline=None, max_examples=200)
FIRST, LAST = -62167219200 * 10**9, 253402300800 * 10**9 - 1  # the years 0 to 9999
instants = st.integers(FIRST, LAST)
names = st.one_of(
    st.builds(make_revision, instants, st.integers(0, 100)),
    st.builds(format_time, instants),
    st.builds(format_time, st.just(0), offset=st.integers(-1439, 1439).map(lambda minutes: minutes * 60)),
    st.text("0123456789-:TZ._+", max_size=30),
)


@checked
@given(instants)
def test_times_round_trip(unix_ns: int) -> None:
    for trim in (True, False):
        text = format_time(unix_ns, trim=trim)
        assert parse_time(text) == unix_ns
        assert text.endswith("Z") and (trim or len(text) == 30)


@checked
@given(st.integers(0, LAST // 10**9 - 1), st.integers(0, 999_999))
def test_times_agree_with_datetime(seconds: int, micros: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=micros)
    text = format_time((seconds * 1_000_000 + micros) * 1000, trim=False)
    assert text == moment.isoformat(timespec="microseconds").replace("+00:00", "000Z")
    assert parse_time(moment.isoformat()) == (seconds * 1_000_000 + micros) * 1000


@checked
@given(st.integers(FIRST + 10**15, LAST - 10**15), st.integers(-1439, 1439))
def test_offsets_round_trip(unix_ns: int, minutes: int) -> None:
    assert parse_offset_time(format_time(unix_ns, offset=minutes * 60)) == (unix_ns, minutes * 60)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-05-01T14:00:00+02:00", "2026-05-01T12:00:00Z"),
        ("2026-05-01T12:00:00-00:30", "2026-05-01T12:30:00Z"),
        ("2026-05-01T12:00:00+24:60", "2026-04-30T11:00:00Z"),
        ("2026-05-01T1:00:00Z", "2026-05-01T01:00:00Z"),
        ("2026-05-01T01:00:00,25Z", "2026-05-01T01:00:00.25Z"),
        ("2026-05-01T01:00:00.123456789999Z", "2026-05-01T01:00:00.123456789Z"),
        ("0000-02-29T00:00:00Z", "0000-02-29T00:00:00.0Z"),
    ],
)
def test_what_go_takes(text: str, same: str) -> None:
    assert parse_time(text) == parse_time(same) is not None


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-01t10:00:00Z",
        "2026-05-01T10:00:00z",
        "2026-5-01T10:00:00Z",
        "2026-05-1T10:00:00Z",
        "2026-05-01 10:00:00Z",
        "2026-02-29T10:00:00Z",
        "2026-13-01T10:00:00Z",
        "2026-00-01T10:00:00Z",
        "2026-05-00T10:00:00Z",
        "2026-05-01T24:00:00Z",
        "2026-05-01T10:60:00Z",
        "2026-05-01T10:00:60Z",
        "2026-05-01T10:00:00",
        "2026-05-01T10:0:00Z",
        "2026-05-01T10:00:00+25:00",
        "2026-05-01T10:00:00+01:61",
        "2026-05-01T10:00:00+0100",
        "2026-05-01T10:00:00.Z",
        "12026-05-01T10:00:00Z",
        "-026-05-01T10:00:00Z",
        "2026-05-01T10:00:00Z ",
        "\u0662026-05-01T10:00:00Z",
        "",
    ],
)
def test_what_go_refuses(text: str) -> None:
    assert parse_time(text) is None
    assert parse_revision(text) is None


@pytest.mark.parametrize("unix_ns", [FIRST - 1, LAST + 1, 10**40, -(10**40)])
def test_years_that_go_does_not_write(unix_ns: int) -> None:
    with pytest.raises(ValueError, match="year outside of range"):
        format_time(unix_ns)


@pytest.mark.parametrize("offset", [86400, -86400, 90000])
def test_offsets_that_go_does_not_write(offset: int) -> None:
    with pytest.raises(ValueError, match="timezone hour outside of range"):
        format_time(0, offset=offset)


def test_revisions_have_nine_digits() -> None:
    base = parse_time("2026-05-01T10:00:00Z")
    assert base is not None
    assert make_revision(base) == "2026-05-01T10:00:00.000000000Z"
    assert make_revision(base + 100_000_000, 12) == "2026-05-01T10:00:00.100000000Z_12"


@checked
@given(st.lists(instants, min_size=2))
def test_byte_order_of_our_revisions_is_time_order(times: list[int]) -> None:
    revs = [make_revision(unix_ns) for unix_ns in times]
    assert sorted(revs) == sort_revisions(revs) == [make_revision(unix_ns) for unix_ns in sorted(times)]


@pytest.mark.parametrize(
    ("tail", "suffix"),
    [
        ("", 0),
        ("_1", 1),
        ("_01", 1),
        ("_+7", 7),
        ("_99", 99),
        (f"_{2**63 - 1}", 2**63 - 1),
        ("_" + "0" * 500 + "3", 3),
    ],
)
def test_suffixes(tail: str, suffix: int) -> None:
    assert parse_revision("1970-01-01T00:00:01Z" + tail) == (10**9, suffix)


@pytest.mark.parametrize(
    "tail",
    [
        "_",
        "_0",
        "_-1",
        "_1_2",
        "_ 1",
        "_1 ",
        "_a",
        "_1.0",
        "_\u0661",
        f"_{2**63}",
        "_" + "9" * 100_000,
        "__1",
        "_+",
    ],
)
def test_suffixes_that_are_none(tail: str) -> None:
    assert parse_revision("1970-01-01T00:00:01Z" + tail) is None


def test_golden_order() -> None:
    ordered = ["2026-07-10T14:00:00+02:00", "2026-07-10T12:00:00Z", "2026-07-10T12:00:00Z_01", "2026-07-10T12:00:00Z_1"]
    ordered += ["2026-07-10T12:00:00Z_2", "2026-07-10T12:00:00Z_10", "2026-07-10T12:00:00.1Z", "2026-07-10T12:00:01Z"]
    ordered += ["2026-07-10T12:00:00Z_0", "invalid-a", "invalid-b", "\u00e9", "\uffff", "\U0001f600"]
    ordered[:2] = sorted(ordered[:2])  # equal instants: by bytes
    shuffled = random.Random(1).sample(ordered, len(ordered))
    before = list(shuffled)
    assert sort_revisions(shuffled) == ordered
    assert shuffled == before
    assert sort_revisions(iter(())) == []


@checked
@given(st.lists(names))
def test_order_is_total(revs: list[str]) -> None:
    ordered = sort_revisions(revs)
    assert sort_revisions(reversed(ordered)) == ordered
    assert sorted(ordered) == sorted(revs)
    for older, newer in itertools.pairwise(ordered):
        left, right = parse_revision(older), parse_revision(newer)
        assert right is None if left is None else right is None or left <= right
        assert left != right or older <= newer


@pytest.mark.parametrize("rev", ["", ".", "..", "a/b", "/", "../x", "a\n", "\x00", "\x7f", "\x85", "a\ud800", None, 3])
def test_refused_revisions(rev: str) -> None:
    with pytest.raises(ConfigurationError, match="revision"):
        check_revision(rev)


@pytest.mark.parametrize("rev", [make_revision(0), "invalid-a", "...", "a\\b", " ", "\u00e9 %2F"])
def test_other_names_are_kept(rev: str) -> None:
    check_revision(rev)


@checked
@given(st.text())
def test_trim_space(text: str) -> None:
    spaces = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
    expected = text
    while expected and ord(expected[0]) in spaces:
        expected = expected[1:]
    while expected and ord(expected[-1]) in spaces:
        expected = expected[:-1]
    assert trim_space(text) == expected
