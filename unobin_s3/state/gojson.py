# SPDX-License-Identifier: MIT
"""JSON as Go's encoding/json writes and reads it. Knows nothing about what the documents mean.

Written: map keys sorted by bytes, `<`, `>`, `&`, U+2028 and U+2029 escaped, floats in Go's form; integers are exact.
Read: what Go refuses is refused (NaN, control characters, trailing data, BOM, numbers beyond float64), and what it
repairs is repaired (bad UTF-8, lone surrogates). Two limits are Python's: integers keep all their digits where Go
rounds to float64, and nesting ends at the recursion limit (about 1000), where Go's ends at 10,000.
"""

from __future__ import annotations

import binascii
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from json.encoder import encode_basestring
from typing import Any

_MAX_DEPTH = 1000  # of the search for what could not be written; deeper than Python's own limit
# An escaped pair of surrogates, an escaped lone one, or any other escape (so that "\\ud800" is read as it is meant).
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)
_SURROGATE = re.compile(r"\\u[dD]")
_LONE = "[\ud800-\udfff]"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")
_KINDS: dict[type, str] = {
    dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "an integer", float: "a number",
}  # fmt: skip
_GO_ESCAPES = dict(zip('\a\b\t\n\v\f\r"\\', 'abtnvfr"\\', strict=True))


class JSONError(ValueError):
    """Not representable, or not a document. `place` is the path to the value, "" for the whole."""

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(problem, place)
        self.problem, self.place = problem, place

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}" if self.place else self.problem

    def within(self, place: str) -> JSONError:
        """The same, seen from outside of `place`."""
        dot = "." if self.place and not self.place.startswith("[") else ""
        return JSONError(self.problem, place + dot + self.place)


class Struct(dict[str, Any]):
    """A JSON object whose members keep their order, as those of a Go struct; a plain dict is sorted, as a Go map."""


class Repeated(dict[str, Any]):
    """A JSON object that names a member twice: the last ones, as a Go map has it, and `pairs` for Go structs."""

    pairs: list[tuple[str, Any]]


class Names:
    """Member names of a Go struct. Go matches a name exactly, and otherwise without regard to case."""

    def __init__(self, *names: str) -> None:
        self.exact = frozenset(names)

    def find(self, name: str) -> str | None:
        """The right spelling of a member's name; None for an unknown one."""
        # Unicode's simple folding: besides A to Z, only U+017F and U+212A (which lower() knows) fold to ASCII letters.
        folded = name if name in self.exact else name.replace("\u017f", "s").lower()
        return folded if folded in self.exact else None

    def split(self, value: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Known members by their right name, and the unknown ones. Raises JSONError for what is no object.

        As in Go, of repeated members the last one counts, maps merge, and null leaves a scalar as it was.
        """
        if type(value) is dict and value.keys() <= self.exact and None not in value.values():
            return value, {}
        if not isinstance(value, dict):
            raise JSONError(f"must be an object, not {kind_of(value)}")
        known: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for name, item in value.pairs if isinstance(value, Repeated) else value.items():
            found = self.find(name)
            old = known.get(found) if found else None
            if found is None:
                extra[name] = item
            elif isinstance(item, dict) and isinstance(old, dict):
                known[found] = {**old, **item}
            elif item is not None:
                known[found] = item
            elif isinstance(old, (dict, list)):
                del known[found]
        return known, extra


def kind_of(value: object) -> str:
    """What people call such a value, or a value of such a type, in JSON."""
    kind = value if isinstance(value, type) else type(value)
    return "null" if value is None else _KINDS.get(kind, kind.__name__)


def quote(text: str) -> str:
    """Go's %q: printable characters as they are, others as Go escapes them."""
    return '"' + "".join(map(_quoted, text)) + '"'


def _quoted(char: str) -> str:
    code = ord(char)
    if char in _GO_ESCAPES:
        return "\\" + _GO_ESCAPES[char]
    if char.isprintable():
        return char
    if 0xD800 <= code < 0xE000:
        return "\\ufffd"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def child(place: str, key: object) -> str:
    """The place of a member or element below `place`."""
    if isinstance(key, str) and _PLAIN_NAME.fullmatch(key):
        return f"{place}.{key}" if place else key
    return f"{place}[{quote(key) if isinstance(key, str) else repr(key)}]"


def dumps(value: Any, *, indent: bool) -> bytes:
    """`value` as UTF-8; with `indent`, in two-space steps and with a final newline, as Go stores documents.

    Takes mappings, list, tuple, str, int, float, bool and None. Raises JSONError with the place of a NaN, an
    infinity, an integer beyond float64, a lone surrogate, a key that is no str, or a value of another type.
    """
    try:
        text = _writers("\n" if indent else "")[type(value)](value)
        for char in "<>&\u2028\u2029":
            # The layout has none of these characters, so all are inside of strings.
            text = text.replace(char, f"\\u{ord(char):04x}")
        return (text + "\n" if indent else text).encode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        pass  # raised outside of this block, so that the error does not keep the text alive
    raise _find(value)


class _Writers(dict[type, Callable[[Any], str]]):
    """How to write a value of each type, at one level of indentation."""

    def __missing__(self, kind: type) -> Callable[[Any], str]:
        bases = (str, int, float, Struct, Mapping, list, tuple)
        base = next((base for base in bases if issubclass(kind, base)), None)
        if base is None:
            raise TypeError(kind)
        self[kind] = self[base]
        return self[base]


def _writers(pad: str) -> _Writers:
    """`pad` is a newline and the blanks of this level, or nothing. Closures: methods would take a third more."""
    inner, colon = (pad + "  ", ": ") if pad else ("", ":")
    comma = "," + inner
    below = cache(lambda: _writers(inner))

    def object_writer(order: Callable[[Iterable[str]], Iterable[str]]) -> Callable[[Mapping[str, Any]], str]:
        # Objects with the same members are many: their names are put in order and written once for all of them.
        written = cache(lambda names: [(name, encode_basestring(name) + colon) for name in order(names)])

        def write(value: Mapping[str, Any]) -> str:
            if not value:
                return "{}"
            to = below()
            members = [lead + to[type(item := value[name])](item) for name, lead in written(tuple(value))]
            return f"{{{inner}{comma.join(members)}{pad}}}"

        return write

    def write_array(value: Iterable[Any]) -> str:
        if not value:
            return "[]"
        to = below()
        return f"[{inner}{comma.join([to[type(item)](item) for item in value])}{pad}]"

    writers = _Writers({str: encode_basestring, int: _integer, float: _float, list: write_array, tuple: write_array})
    writers[type(None)], writers[bool] = lambda _: "null", lambda value: "true" if value else "false"
    writers[Struct] = object_writer(tuple)
    writers[dict] = writers[Mapping] = object_writer(sorted)
    return writers


def _integer(value: int) -> str:
    float(value)  # OverflowError: no Go reader would take it
    return int.__repr__(value)


def _float(value: float) -> str:
    """strconv.FormatFloat as encoding/json calls it: shortest digits; an exponent below 1e-6 and from 1e21 on."""
    if not math.isfinite(value):
        raise ValueError("not finite")
    text = float.__repr__(value)
    mantissa, mark, exponent = text.partition("e")
    if not mark:
        return text.removesuffix(".0")
    power = int(exponent)
    if not -6 <= power < 21:
        return text.replace("e-0", "e-")
    sign = "-" if value < 0 else ""
    digits = mantissa.lstrip("-").replace(".", "")
    return sign + (digits.ljust(power + 1, "0") if power > 0 else "0." + "0" * (-power - 1) + digits)


def _find(value: Any) -> JSONError:
    """What is wrong with a value that could not be written, and where: the first in document order."""
    stack: list[tuple[str, Any, int]] = [("", value, 0)]
    while stack:
        place, item, depth = stack.pop()
        problem = _problem(item) or ("is nested too deeply" if depth > _MAX_DEPTH else "")
        if problem:
            return JSONError(problem, place[:200])
        if isinstance(item, (Mapping, list, tuple)):
            pairs: Iterable[tuple[object, Any]] = item.items() if isinstance(item, Mapping) else enumerate(item)
            stack.extend(reversed([(child(place, key), inner, depth + 1) for key, inner in pairs]))
    return JSONError("nested too deeply")


def _problem(item: object) -> str:
    if isinstance(item, str):
        return "has a lone surrogate, which UTF-8 cannot hold" if re.search(_LONE, item) else ""
    if isinstance(item, Mapping):
        for key in item:
            if not isinstance(key, str):
                return f"has a key that is {kind_of(key)}, not a str"
            if re.search(_LONE, key):
                return "has a key with a lone surrogate"
        return ""
    try:
        if isinstance(item, (int, float)):
            return "" if math.isfinite(item) else f"is {item}, which JSON does not have"
    except OverflowError:
        return "is an integer beyond the range of float64"
    known = item is None or isinstance(item, (list, tuple))
    return "" if known else f"is {kind_of(item)}, which JSON does not have"


def loads(data: bytes, *, unique: bool = False) -> Any:
    """The value of a whole document. Objects come as dict, or as Repeated; lists, str, int, float, bool, None.

    `unique` vouches that no object repeats a member, and saves a quarter of the time. Raises JSONError.
    """
    try:
        pairs = None if unique else _pairs
        return json.loads(
            _text(data),
            object_pairs_hook=pairs,
            parse_int=_read_integer,
            parse_float=_read_float,
            parse_constant=_refuse,
        )
    except RecursionError:
        problem = "nested too deeply"
    except ValueError as error:
        problem = str(error)  # and not the error itself, which holds the document
    raise JSONError(problem)


def decode_base64(text: str | memoryview) -> bytes:
    """Go's base64.StdEncoding: padded, no blanks; line ends are skipped in a str. Raises JSONError."""
    raw = text.encode("ascii", "replace").translate(None, b"\r\n") if isinstance(text, str) else text
    try:
        # Before Python 3.13 the strict mode lets padding pass where none belongs: "AAAA====".
        if len(raw) % 4 == 0 and bytes(raw[-3:]) != b"===":
            return binascii.a2b_base64(raw, strict_mode=True)
    except binascii.Error:
        pass
    raise JSONError("illegal base64 data")


def _text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # Go gives one U+FFFD for each bad byte; errors="replace" gives one for several.
        text = re.sub("[\udc80-\udcff]", "\ufffd", data.decode(errors="surrogateescape"))
    if _SURROGATE.search(text):
        text = _ESCAPE.sub(lambda match: "\\ufffd" if match[1] else match[0], text)
    return text


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    repeated = Repeated(members)
    repeated.pairs = pairs
    return repeated


def _read_integer(text: str) -> int | float:
    if text == "-0":
        return -0.0
    # Checked before int(), which is quadratic.
    return int(text) if len(text) < 300 or _read_float(text) else 0


def _read_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("number beyond the range of float64")
    return value


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not JSON")
