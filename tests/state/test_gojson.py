# SPDX-License-Identifier: MIT
"""JSON beyond the recorded cases: Go's rules as properties, hostile input, and the place of what cannot be written."""

from __future__ import annotations

import base64
import enum
import json
import math
import pickle
import re
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unobin_s3.state.gojson import JSONError, Names, Struct, child, decode_base64, dumps, kind_of, loads, quote

checked = settings(derandomize=True, deadline=None, max_examples=150)
texts = st.text(st.characters(exclude_categories=["Cs"]))
# Below 2**53; the text of a greater float has no fraction, and is read as the integer that it spells.
floats = st.floats(-(2.0**53), 2.0**53, allow_nan=False)
scalars = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | texts | floats
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20)


def written(value: Any) -> str:
    return dumps(value, indent=False).decode()


@checked
@given(values, st.booleans())
def test_round_trip(value: Any, indent: bool) -> None:
    data = dumps(value, indent=indent)
    assert loads(data) == value
    assert dumps(loads(data), indent=indent) == data
    assert json.loads(data) == value  # and any other reader agrees


@checked
@given(values)
def test_layout_is_that_of_two_spaces(value: Any) -> None:
    # Strings and numbers aside, the layout is json.dumps's with empty containers closed at once, and sorted keys.
    strip = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.e+-]*')
    ours = strip.sub("x", dumps(value, indent=True).decode())
    assert ours == strip.sub("x", json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)) + "\n"


@checked
@given(texts)
def test_strings(text: str) -> None:
    body = written(text)
    assert json.loads(body) == text
    assert not set(body) & set("<>&\u2028\u2029") and not re.search("[\x00-\x1f]", body)
    assert "\x7f" not in text or "\x7f" in body


@pytest.mark.parametrize(
    ("char", "escaped"),
    [
        ("\b", r"\b"),
        ("\f", r"\f"),
        ("\n", r"\n"),
        ("\r", r"\r"),
        ("\t", r"\t"),
        ("\0", r"\u0000"),
        ("\x1f", r"\u001f"),
        ("<", r"\u003c"),
        (">", r"\u003e"),
        ("&", r"\u0026"),
        ("\u2028", r"\u2028"),
        ("\u2029", r"\u2029"),
        ("/", "/"),
        ("'", "'"),
        ("\x7f", "\x7f"),
        ("\x85", "\x85"),
        ("\ufffd", "\ufffd"),
        ("\U0001f600", "\U0001f600"),
    ],
)
def test_each_escape(char: str, escaped: str) -> None:
    assert written({char: char}) == f'{{"{escaped}":"{escaped}"}}'


@checked
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_round_trip_in_go_form(value: float) -> None:
    text = written(value)
    assert float(text) == value and math.copysign(1, float(text)) == math.copysign(1, value)
    plain = value == 0 or 1e-6 <= abs(value) < 1e21
    assert ("e" not in text) == plain
    assert not re.search(r"e[+-]0|\.0$|e[0-9]|E", text)
    assert len(text.lstrip("-").replace(".", "").lstrip("0").split("e")[0].rstrip("0")) <= 17


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5.0, "5"),
        (-0.0, "-0"),
        (1e-6, "0.000001"),
        (9.5e-7, "9.5e-7"),
        (1e-10, "1e-10"),
        (1.5e-5, "0.000015"),
        (1e16, "10000000000000000"),
        (-1.25e17, "-125000000000000000"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e21, "1e+21"),
        (-1e-7, "-1e-7"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (2**53 + 1, "9007199254740993"),
        (True, "true"),
        (None, "null"),
        (-0, "0"),
    ],
)
def test_each_number(value: object, text: str) -> None:
    assert written(value) == text


def test_subclasses_and_other_mappings() -> None:
    class Colour(enum.StrEnum):
        RED = "red"

    class Level(enum.IntEnum):
        HIGH = 3

    value = {"a": Colour.RED, "b": Level.HIGH, "c": (1, 2), "d": MappingProxyType({"z": 1, "a": ()}), Colour.RED: {}}
    assert written(value) == '{"a":"red","b":3,"c":[1,2],"d":{"a":[],"z":1},"red":{}}'


def test_struct_keeps_order_and_dict_does_not() -> None:
    members = {"b": 1, "a": {"d": 1, "c": 2}}
    assert written(Struct(members)) == '{"b":1,"a":{"c":2,"d":1}}'
    assert written(members) == '{"a":{"c":2,"d":1},"b":1}'


@pytest.mark.parametrize(
    ("value", "place", "words"),
    [
        ({"a": [0, {"b": math.nan}]}, "a[1].b", "nan"),
        ([math.inf], "[0]", "inf"),
        ([-math.inf], "[0]", "-inf"),
        ({"a": {"b c": "\ud800"}}, 'a["b c"]', "lone surrogate"),
        ({"a": {"\udfff": 1}}, "a", "key with a lone surrogate"),
        ({"a": {1: 2}}, "a", "key that is an integer"),
        ({"a": {None: 2}}, "a", "key that is null"),
        ({"a": {1: 2, "b": 3}}, "a", "key that is an integer"),
        ({"a": (b"x",)}, "a[0]", "bytes"),
        ({"a": {1, 2}}, "a", "set"),
        ({"a": 10**309}, "a", "beyond the range of float64"),
        ({"a": -(2**1024) + 1}, "a", "beyond the range of float64"),
    ],
)
def test_what_json_cannot_hold_is_named(value: object, place: str, words: str) -> None:
    for indent in (True, False):
        with pytest.raises(JSONError, match=re.escape(words)) as caught:
            dumps(value, indent=indent)
        assert caught.value.place == place
        assert str(caught.value).startswith(place)


def test_circular_and_deep_values() -> None:
    circle: list[object] = []
    circle.append({"again": circle})
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    for value in (circle, deep):
        with pytest.raises(JSONError, match="nested too deeply"):
            dumps(value, indent=True)


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000])
def test_deep_documents(data: bytes) -> None:
    with pytest.raises(JSONError, match="nested too deeply"):
        loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"nul",
        b"\xef\xbb\xbf{}",
        b"{} x",
        b"{}{}",
        b"[1,]",
        b'{"a":1,}',
        b"{'a':1}",
        b"NaN",
        b"-Infinity",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"1e",
        b"0x1",
        b'"\t"',
        b'"\x1f"',
        b'"\\x"',
        b'"\\u12"',
        b"1e400",
        b"-1e400",
        b"9" * 400,
        b"[" + b"9" * 100_000 + b"]",
        b'"',
        b"\xff",
        b"\x00",
        b"/**/1",
        b"\xc2\xa01",
        b"\x0b1",
    ],
)
def test_refused_documents(data: bytes) -> None:
    with pytest.raises(JSONError) as caught:
        loads(data)
    assert caught.value.__cause__ is None and caught.value.__context__ is None  # which would hold the document


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (rb'"\ud800"', "\ufffd"),
        (rb'"\udc00\ud800"', "\ufffd\ufffd"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\ud800\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\uD800\u0041"', "\ufffdA"),
        (rb'"\\ud800"', r"\ud800"),
        (rb'"\\\ud800"', "\\\ufffd"),
        (b'"\xe2\x80"', "\ufffd\ufffd"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b'"\xff\xc3\xa9\xf0\x9f"', "\ufffd\u00e9\ufffd\ufffd"),
        (b'{"\\udfff":1}', {"\ufffd": 1}),
    ],
)
def test_repaired_documents(data: bytes, value: object) -> None:
    assert loads(data) == value


@checked
@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    try:
        value = loads(data)
    except JSONError:
        return
    assert dumps(value, indent=True)


@checked
@given(values, st.data())
def test_mutated_documents(value: Any, data: st.DataObject) -> None:
    body = bytearray(dumps(value, indent=True))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.sampled_from(b'"\\{}[],:0e-.u\xff\x00 tn'))
    try:
        again = loads(bytes(body))
    except JSONError:
        return
    assert loads(dumps(again, indent=False)) == again


def test_repeated_members_of_maps_and_structs() -> None:
    value = loads(b'{"m":{"a":1},"s":1,"m":{"b":2},"s":2,"M":{"c":3}}')
    assert value == {"m": {"b": 2}, "s": 2, "M": {"c": 3}}
    assert Names("m", "s").split(value) == ({"m": {"a": 1, "b": 2, "c": 3}, "s": 2}, {})
    known, extra = Names("s", "m").split(loads(b'{"s":1,"m":{"a":1},"s":null,"m":null,"x":1,"x":2}'))
    assert (known, extra) == ({"s": 1}, {"x": 2})


@pytest.mark.parametrize("name", ["stack", "STACK", "sTaCk", "\u017ftack", "stac\u212a"])
def test_names_fold_as_in_go(name: str) -> None:
    assert Names("stack").find(name) == "stack"


@pytest.mark.parametrize("name", ["stack ", "st\u00e4ck", "stac", "", "stac\ufb00"])
def test_names_that_are_others(name: str) -> None:
    assert Names("stack").find(name) is None


def reference_base64(text: str) -> bytes | None:
    """By definition: groups of four, padding only at the end of the last."""
    text = re.sub("[\r\n]", "", text)
    if not re.fullmatch("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", text):
        return None
    return base64.b64decode(text)


@settings(derandomize=True, deadline=None, max_examples=1000)
@given(st.text("AB/+=\n\r -_\u00e9", max_size=13))
def test_base64(text: str) -> None:
    expected = reference_base64(text)
    try:
        assert decode_base64(text) == expected
        assert "\n" in text or "\r" in text or decode_base64(memoryview(text.encode())) == expected
    except JSONError:
        assert expected is None


def test_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(JSONError("is wrong", "a").within("b[2]")))
    assert (str(error), error.place) == ("b[2].a: is wrong", "b[2].a")
    assert str(JSONError("is wrong", "[1]").within("b")) == "b[1]: is wrong"


def test_words_for_people() -> None:
    items: list[object] = [{}, [], "", True, 1, 1.5, None, b"", int]
    words = ["object", "array", "string", "boolean", "integer", "number", "null", "bytes", "integer"]
    assert [kind_of(item).split()[-1] for item in items] == words
    assert (kind_of([]), kind_of(""), kind_of(None)) == ("an array", "a string", "null")
    assert child(child("", "a"), 3) == "a[3]" and child("a", 'b"') == 'a["b\\""]' and child("a", None) == "a[None]"
    assert quote("\ud800\U000e0001\x00\x85") == '"\\ufffd\\U000e0001\\x00\\u0085"'
