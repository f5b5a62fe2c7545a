# SPDX-License-Identifier: MIT
"""What hypothesis makes for the comparison with Go: snapshots in odd layouts, times, revisions."""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

Document = dict[str, Any]


def many(examples: int) -> settings:
    """Always the same examples, none kept on disk, no clock: a slow machine is no finding."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # a failure shows the whole text; making it smaller would take minutes
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


# Every class of character that Go's encoder treats apart, and some that only other encoders do.
_ODD = "<>&\"\\/'\b\f\n\r\t\x00\x1f\x7f\x80\x85\u2028\u2029\ufeff\ufffd\uffff\u00e9e\u0301\U0001f600"
_characters = st.sampled_from("abcXYZ019 _-.:" + _ODD) | st.characters(exclude_categories=["Cs"])
texts = st.text(_characters, max_size=8)
names = st.text(_characters, min_size=1, max_size=8)

# Integers that a float64 holds exactly: beyond them Go rounds and we do not, see DIFFERENCES.md.
_integers = st.integers(-(2**53), 2**53) | st.integers(-9, 9)
_floats = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [-0.0, 5.0, 1e16, 1e20, 1e21, 1.5e21, 1e-6, 1e-7, 123456789e-15, 5e-324, 1.7976931348623157e308]
)
# A float of 2**53 and more that is whole would be printed as an integer, which is exact on both sides.
_scalars = st.none() | st.booleans() | _integers | _floats | texts
values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
_maps = st.dictionaries(texts, values, max_size=4)

_digits = st.text("0123456789", min_size=1, max_size=11)
_fractions = st.just("") | st.builds(str.__add__, st.sampled_from([".", ","]), _digits)
_zones = st.just("Z") | st.builds("{}{:02}:{:02}".format, st.sampled_from("+-"), st.integers(0, 25), st.integers(0, 61))
_clocks = st.builds("{:02}:{:02}:{:02}".format, st.integers(0, 24), st.integers(0, 60), st.integers(0, 60))
_dates = st.builds("{:04}-{:02}-{:02}".format, st.integers(0, 9999), st.integers(0, 13), st.integers(0, 32))
_recent = st.sampled_from(["2026-04-30", "2024-02-29", "2025-02-29", "1900-02-29", "2000-02-29", "2026-12-31"])
# Times as Go takes them, nearly takes them, and does not take them.
times = st.builds("{}T{}{}{}".format, _dates | _recent, _clocks | st.just("9:05:07"), _fractions, _zones)
good_times = st.builds(
    "{}T{:02}:{:02}:{:02}{}{}".format,
    st.dates().map(str),
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(0, 59),
    _fractions,
    st.sampled_from(["Z", "+00:00", "-00:00", "+02:00", "-11:30"]),
).filter(lambda text: not text.startswith(("0001-01-01", "9999-12-31")))  # whose UTC year Go may refuse

_suffixes = st.sampled_from(["", "", "_1", "_2", "_10", "_+3", "_04", "_0", "_-1", "_", "_1_2", "_x"]) | st.builds(
    "_{}".format, st.integers(2**63 - 2, 2**63 + 1)
)
_close = st.sampled_from(
    [
        "2026-05-01T10:00:00Z",
        "2026-05-01T10:00:00.1Z",
        "2026-05-01T10:00:00.100000000Z",
        "2026-05-01T12:00:00+02:00",
    ]
)
revisions = st.builds(str.__add__, _close | times, _suffixes) | names

_CATEGORIES = {
    "leaf": ["resource"],
    "library-call": ["resource", "data-source", "action"],
    "action": ["action"],
    "data-source": ["data-source"],
}


@st.composite
def _entries(draw: st.DrawFn, address: str) -> Document:
    kind = draw(st.sampled_from(sorted(_CATEGORIES)))
    binding = {"alias": draw(names), "kind": draw(names)}
    entry: Document = {"address": address, "entry-kind": kind, "binding": binding}
    entry["category"] = draw(st.sampled_from(_CATEGORIES[kind]))
    if draw(st.booleans()):
        binding["library-path"] = draw(texts)
    optional: dict[str, st.SearchStrategy[Any]] = {
        "schema-version": st.integers(-3, 2**31),
        "sensitive-inputs": st.lists(texts, max_size=3),
        "sensitive-outputs": st.lists(texts, max_size=3),
        "trigger-hash": texts,
        "inputs": _maps,
        "outputs": _maps,
        "depends-on": st.lists(texts, max_size=3),
    }
    for member, strategy in optional.items():
        if draw(st.booleans()):
            entry[member] = draw(st.none() | strategy if draw(st.integers(0, 9)) == 0 else strategy)
    return entry


@st.composite
def documents(draw: st.DrawFn, entries: int = 0) -> Document:
    """A snapshot that is valid, as the members of its JSON, with at least so many entries."""
    document: Document = {"format-version": 1, "stack": draw(texts)}
    document["factory"] = {name: draw(texts) for name in ("name", "version", "content-revision")}
    document["generated-at"] = draw(good_times)
    addresses = draw(st.lists(names, min_size=entries, max_size=3, unique=True))
    document["entries"] = [draw(_entries(address)) for address in addresses] or draw(st.sampled_from([None, []]))
    if draw(st.booleans()):
        document["outputs"] = draw(st.none() | _maps)
    return document


def laid_out(document: Any, chance: Random) -> bytes:
    """One of the many texts of a document: order of members, blanks, escapes."""
    text = json.dumps(
        document,
        indent=chance.choice([None, 1, "\t"]),
        ensure_ascii=chance.random() < 0.5,
        sort_keys=chance.random() < 0.5,
    )
    return chance.choice([b"", b" \n"]) + text.encode("utf-8", "surrogatepass")


_seeds = st.integers(0, 2**32)
# Each of hypothesis's documents serves several times, for making them is what takes the time.
valid = st.builds(lambda document, seed: [laid_out(document, Random(seed + n)) for n in range(2)], documents(), _seeds)
spoilt = st.builds(
    lambda document, seed: [_spoil(deepcopy(document), Random(seed + n)) for n in range(6)],
    documents(entries=1),
    _seeds,
)

_ODD_VALUES: list[Any] = [
    None, True, 0, 1, 2, -1, 1.0, 1.5, 2**31, 2**63 - 1, 2**63, 1e300, "", "a", "\ud800", "leaf",
    "2026-01-01T00:00:00Z", [], [None], ["a"], [1], {}, {"a": None}, {"name": "a"}, {"alias": "a", "kind": "k"}, [{}],
    [[]],
]  # fmt: skip
_SNIPPETS = [
    b"\xed\xa0\x80", b"\\ud800", b"\\ud83d\\ude00", b"\xe2\x82", b"1e400", b"-0", b"01", b"1.0", b"NaN", b"\\u00E9",
    b",", b"}", b"\xef\xbb\xbf", b"\x00", b"//", b"null", b'"', b"\xf4\x90\x80\x80", b"\\/", b"\\x", b"", b"\x7f",
]  # fmt: skip


def _places(value: Any) -> list[tuple[Any, Any]]:
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = [(value, name) for name in value]
    elif isinstance(value, list):
        inner = [(value, index) for index in range(len(value))]
    return inner + [place for holder, at in inner for place in _places(holder[at])]


def _spoil(document: Document, chance: Random) -> bytes:
    """A snapshot with one thing odd: a value of another type, a member renamed, or bytes changed."""
    holder, at = chance.choice(_places(document))
    what = chance.choice(["value", "rename", "twice", "drop", "bytes", "bytes"])
    if what == "value":
        holder[at] = chance.choice(_ODD_VALUES)
    elif what in ("rename", "twice") and isinstance(at, str):
        new = chance.choice([at.upper(), at.title(), at.replace("s", "\u017f").replace("k", "\u212a"), at + "x"])
        holder[new] = holder.pop(at) if what == "rename" else holder[at]
    elif what == "drop":
        del holder[at]
    text = laid_out(document, chance)
    if what == "bytes":
        start = chance.randint(0, len(text))
        snippet = chance.choice([chance.choice(_SNIPPETS), chance.randbytes(1)])
        text = text[:start] + snippet + text[start + chance.randint(0, 2) :]
    return text
