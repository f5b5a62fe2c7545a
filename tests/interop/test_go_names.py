# SPDX-License-Identifier: MIT
"""Times, revisions, keys and pointers: generated ones, read and ordered the same by Go and by us."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.interop import generated
from tests.interop.generated import many
from tests.interop.go_driver import GoProgram, in_go
from unobin_s3.state.layout import join
from unobin_s3.state.revision import format_time, parse_time, sort_revisions, trim_space


@many(300)
@given(revs=st.lists(generated.revisions, max_size=12))
def test_history_sorts_the_same(go: GoProgram, revs: list[str]) -> None:
    assert sort_revisions(revs) == go.call("sort-revisions", texts=revs)


@many(800)
@given(text=generated.times)
def test_times_are_the_same_instant_or_refused_by_both(go: GoProgram, text: str) -> None:
    theirs = in_go(go, "instant", text.encode())
    ours = parse_time(text)
    assert theirs == (None if ours is None else "{} {}".format(*divmod(ours, 10**9)).encode())


@many(100)
@given(moments=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=20, max_size=20))
def test_times_are_printed_the_same(go: GoProgram, moments: list[int]) -> None:
    assert [format_time(ns) for ns in moments] == go.call("format-time", nanos=moments)


_parts = st.lists(st.text("ab./ \\\u00e9", max_size=7), max_size=4)


@many(100)
@given(parts=st.lists(_parts, min_size=10, max_size=10))
def test_keys_are_joined_the_same(go: GoProgram, parts: list[list[str]]) -> None:
    assert [join(*each) for each in parts] == go.call("join", parts=parts)


@many(200)
@given(text=st.text(st.sampled_from("\x1c\x1f \t\n\v\f\r\x85\xa0\u200b\u2028\u3000\ufeff\x00a") | st.characters()))
def test_pointers_are_trimmed_the_same(go: GoProgram, text: str) -> None:
    clean = text.encode("utf-8", "replace")
    assert trim_space(clean.decode()).encode() == in_go(go, "trim", clean)
