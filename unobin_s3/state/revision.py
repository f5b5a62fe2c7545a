# SPDX-License-Identifier: MIT
"""Revision names and the RFC 3339 instants they are made of: make, parse, order, check. Reads no clock.

Instants are integers: nanoseconds since 1970-01-01T00:00:00Z. `datetime` has microseconds only, and neither the year 0
nor the leniencies of Go's parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date

from ..errors import ConfigurationError

_SECOND = 1_000_000_000
_DAY = 86_400
# Years are moved by whole cycles of 400, in days, to where `date` has them all: it has no year 0.
_CYCLE, _EPOCH = 146_097, date(1970, 1, 1).toordinal()
# What Go's time.Parse(RFC3339) takes: also a one-digit hour, a comma, many fraction digits.
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_ATOI = re.compile(r"\+?[0-9]+")
# unicode.IsSpace, which Go's strings.TrimSpace uses. str.strip() also takes U+001C to U+001F.
_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
# Slash and dot names could lead to another key, the rest cannot be listed or encoded.
_UNSAFE = "[/\x00-\x1f\x7f-\x9f\ud800-\udfff]"


def trim_space(text: str) -> str:
    """Go's `strings.TrimSpace`."""
    return text.strip(_SPACE)


def parse_offset_time(text: str) -> tuple[int, int] | None:
    """(nanoseconds since 1970, seconds east of UTC); None for what Go's time.Parse refuses."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
    hours, minutes = int(match[9] or 0), int(match[10] or 0)
    # 24 hours and 60 minutes are what Go allows in an offset.
    if hour > 23 or minute > 59 or second > 59 or hours > 24 or minutes > 60:
        return None
    try:
        days = date(year % 400 + 400, month, day).toordinal() + (year // 400 - 1) * _CYCLE - _EPOCH
    except ValueError:
        return None
    offset = (hours * 60 + minutes) * (-60 if match[8] == "-" else 60)
    seconds = days * _DAY + hour * 3600 + minute * 60 + second - offset
    return seconds * _SECOND + int((match[7] or "0")[:9].ljust(9, "0")), offset


def parse_time(text: str) -> int | None:
    """Nanoseconds since 1970 of an RFC 3339 time, with Go's leniencies; None when it is none."""
    parsed = parse_offset_time(text)
    return None if parsed is None else parsed[0]


def format_time(unix_ns: int, *, trim: bool = True, offset: int = 0) -> str:
    """RFC 3339 with nanoseconds, as Go's RFC3339Nano. `offset` is in seconds east of UTC, whole minutes.

    `trim=False` keeps all nine fraction digits. Raises ValueError where Go's MarshalJSON fails: outside of the years 0
    to 9999 (at that offset), or an offset of 24 hours and more.
    """
    seconds, fraction = divmod(unix_ns, _SECOND)
    days, second = divmod(seconds + offset, _DAY)
    cycle, rest = divmod(days + _EPOCH - 1, _CYCLE)
    day = date.fromordinal(rest + 1)
    if not 0 <= cycle * 400 + day.year <= 9999:
        raise ValueError("year outside of range [0,9999]")
    if abs(offset) >= _DAY:
        raise ValueError("timezone hour outside of range [0,23]")
    text = f"{cycle * 400 + day.year:04}-{day.month:02}-{day.day:02}"
    text += f"T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{fraction:09}"
    if trim:
        text = text.rstrip("0").rstrip(".") if fraction else text[:-10]
    hours, minutes = divmod(abs(offset) // 60, 60)
    return text + (f"{'-' if offset < 0 else '+'}{hours:02}:{minutes:02}" if offset else "Z")


def make_revision(unix_ns: int, suffix: int = 0) -> str:
    """The name of a snapshot written at `unix_ns`; `suffix` tells apart those of one nanosecond (0: none).

    Always nine fraction digits, so that key order is time order for what we write. Go drops trailing zeros.
    """
    base = format_time(unix_ns, trim=False)
    return f"{base}_{suffix}" if suffix else base


def parse_revision(rev: str) -> tuple[int, int] | None:
    """(nanoseconds since 1970, suffix) of a revision that Go or we made; None for any other name."""
    base, mark, tail = rev.partition("_")
    unix_ns = parse_time(base)
    if unix_ns is None or not mark:
        return None if unix_ns is None else (unix_ns, 0)
    # The length keeps int() linear, and is ample: Go's Atoi stops at 2**63 - 1.
    if not _ATOI.fullmatch(tail) or len(tail) > 1024:
        return None
    suffix = int(tail)
    return (unix_ns, suffix) if 1 <= suffix < 2**63 else None


def sort_revisions(revs: Iterable[str]) -> list[str]:
    """Oldest first, in a new list: by instant, suffix, bytes. Foreign names come last, by bytes."""
    return sorted(revs, key=_order)


def check_revision(rev: str) -> None:
    """Raises ConfigurationError for a name that is empty, leads elsewhere, or that S3 could not list again."""
    if not isinstance(rev, str) or not rev:
        raise ConfigurationError(f"revision must be a non-empty str, not {rev!r}")
    if rev in (".", "..") or re.search(_UNSAFE, rev):
        raise ConfigurationError(f"revision {rev!r} is not a plain name: no slash, '.', '..' or control character")


def _order(rev: str) -> tuple[int, int, int, str]:
    # Code points of str sort as the bytes of UTF-8 do.
    parsed = parse_revision(rev)
    return (1, 0, 0, rev) if parsed is None else (0, *parsed, rev)
