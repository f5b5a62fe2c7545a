# SPDX-License-Identifier: MIT
"""What a snapshot is: its members, the rules they obey, and its JSON. Nothing about storing or sealing it.

Field names are the JSON names in snake case. `extra` keeps members that this version does not know, so that they
survive a read and write; they are written after the known ones, sorted. An empty map or list and an absent one are
the same value in JSON, except for `entries`, where None and [] are told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter
from typing import Any, NamedTuple

from ..errors import SnapshotFormatError
from .gojson import JSONError, Names, Struct, child, dumps, kind_of, loads, quote
from .revision import format_time, parse_offset_time

FORMAT_VERSION = 1
ZERO_TIME = "0001-01-01T00:00:00Z"  # Go's zero time: not set
_CATEGORIES = {
    "leaf": ("resource",),
    "library-call": ("resource", "data-source", "action"),
    "action": ("action",),
    "data-source": ("data-source",),
}
# Go and this package begin every snapshot like this, and never repeat a member. In any other document repeated
# members are looked for, and treated as Go does.
_OPENING = b'{\n  "format-version": 1,\n  "factory": {\n    "name": '


@dataclass(frozen=True, slots=True, kw_only=True)
class FactoryInfo:
    """The program that made the snapshot."""

    name: str = ""
    version: str = ""
    content_revision: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """The library export an entry was made by. `alias` and `kind` must not be empty."""

    alias: str
    library_path: str = ""
    kind: str
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One node of the stack. Values may be secret, so `repr` shows none of them.

    `entry_kind` and `category` go together: leaf with resource; library-call with resource, data-source or action;
    action with action; data-source with data-source. All four need a binding. `inputs` and `outputs` hold what
    JSON holds; integers keep all digits here, but Go reads them as float64.
    """

    address: str
    entry_kind: str
    category: str = ""
    binding: Binding | None = None
    schema_version: int = 0
    sensitive_inputs: Sequence[str] = field(default_factory=list)
    sensitive_outputs: Sequence[str] = field(default_factory=list)
    trigger_hash: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    outputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    depends_on: Sequence[str] = field(default_factory=list)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state of one stack at one time.

    `generated_at` is RFC 3339 text with up to nine fraction digits and any offset, such as `datetime.isoformat()` of
    an aware datetime gives; it is brought into Go's form when written or read. `entries` may be None, as in Go.
    """

    format_version: int = FORMAT_VERSION
    factory: FactoryInfo = field(default_factory=FactoryInfo)
    stack: str = ""
    generated_at: str = ZERO_TIME
    entries: Sequence[Entry] | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def find(self, address: str) -> Entry | None:
        """The entry with this address, or None."""
        return next((entry for entry in self.entries or () if entry.address == address), None)


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The JSON of a snapshot, byte for byte as Go writes it. The same snapshot gives the same bytes.

    Raises SnapshotFormatError, with the `place`, for what breaks the rules or has no form in JSON.
    """
    try:
        document = _SNAPSHOT.write(snapshot, "")
        if snapshot.format_version != FORMAT_VERSION:
            raise JSONError(f"format-version is {snapshot.format_version}, expected {FORMAT_VERSION}")
        _validate(snapshot.entries or ())
        return dumps(document, indent=True)
    except JSONError as error:
        problem, place = str(error), error.place
    raise SnapshotFormatError(f"snapshot: {problem}", place=place)


def decode_snapshot(data: bytes) -> Snapshot:
    """The snapshot in a JSON document. Raises SnapshotFormatError, with the `place` where there is one."""
    try:
        return _decode(loads(data, unique=data.startswith(_OPENING)))
    except JSONError as error:
        problem, place = str(error), error.place
    raise SnapshotFormatError(f"snapshot: {problem}", place=place)


def _decode(document: Any) -> Snapshot:
    document = {} if document is None else document
    version = _SNAPSHOT.names.split(document, quick=False)[0].get("format-version", 0)
    if type(version) is int and version != FORMAT_VERSION:
        raise JSONError(f"unsupported format-version {version} (this build expects {FORMAT_VERSION})")
    try:
        snapshot: Snapshot = _SNAPSHOT.read(document, "", True)
    except JSONError:
        # Invalid, most likely. But nulls, which stand for absent members, look like it too.
        snapshot = _SNAPSHOT.read(document, "", False)
    _validate(snapshot.entries or ())
    return snapshot


def _validate(entries: Sequence[Entry]) -> None:
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        problem = _problem(entry)
        if entry.address in seen:
            problem = f"duplicate address {quote(entry.address)}"
        if problem:
            raise JSONError(problem, f"entries[{index}]")
        seen.add(entry.address)


def _problem(entry: Entry) -> str:
    """The first rule that an entry breaks, in Go's words and order; "" when it keeps all."""
    if not entry.address:
        return "missing address"
    binding = entry.binding
    if not entry.entry_kind:
        problem = "missing entry-kind"
    elif entry.entry_kind not in _CATEGORIES:
        problem = f"has unknown entry-kind {quote(entry.entry_kind)}"
    elif not entry.category:
        problem = "missing category"
    elif entry.category not in _CATEGORIES[entry.entry_kind]:
        problem = f"has category {quote(entry.category)}"
    elif binding is None:
        problem = "binding missing"
    elif not binding.alias or not binding.kind:
        problem = f"binding missing {'kind' if binding.alias else 'alias'}"
    elif not -(2**63) <= entry.schema_version < 2**63:
        problem = "has a schema-version beyond 64 bits"
    else:
        return ""
    return f"entry {quote(entry.address)} {problem}"


class _Kind(NamedTuple):
    """The Python type of a member, its value when absent, and how it is read and written if not as it is."""

    type: type
    zero: Callable[[], Any]
    read: Callable[[Any, str, bool], Any] | None = None
    write: Callable[[Any, str], Any] | None = None

    def check(self, item: Any, place: str) -> Any:
        """`item`, when its type will do."""
        if self.type is list:
            fits = isinstance(item, (list, tuple))
        elif self.type is dict:
            fits = isinstance(item, Mapping)
        else:
            fits = isinstance(item, self.type) and not isinstance(item, bool)
        if not fits and not (item is None and self.zero is _NONE):
            raise JSONError(f"must be {kind_of(self.type())}, not {kind_of(item)}", place)
        return item


class _Shape:
    """One of the classes above and its JSON object."""

    def __init__(self, made: Any, always: int, **kinds: _Kind) -> None:
        self.made, self.always = made, always  # so many members are written even when empty
        names = [attribute.replace("_", "-") for attribute in kinds]
        self.names = Names(*names)
        self.values = attrgetter(*kinds)
        # Filled through their slots, frozen objects take a third of the time that __init__ takes.
        self.members = [
            (name, kind.type, kind, getattr(made, attribute).__set__)
            for name, (attribute, kind) in zip(names, kinds.items(), strict=True)
        ]
        self.put_extra = made.extra.__set__

    def read(self, value: Any, place: str, quick: bool) -> Any:
        try:
            known, extra = self.names.split(value, quick=quick)
        except JSONError as error:
            raise JSONError(str(error), place) from None
        made = object.__new__(self.made)
        for name, exact, kind, put in self.members:
            if name not in known:
                put(made, kind.zero())
            elif kind.read:
                put(made, kind.read(known[name], child(place, name), quick))
            else:
                item = known[name]
                put(made, item if type(item) is exact else kind.check(item, child(place, name)))
        self.put_extra(made, extra)
        return made

    def write(self, value: Any, place: str) -> Struct:
        if not isinstance(value, self.made):
            raise JSONError(f"must be {self.made.__name__}, not {kind_of(value)}", place)
        members = Struct()
        for index, (name, exact, kind, _), item in zip(count(), self.members, self.values(value)):
            if type(item) is not exact:
                kind.check(item, child(place, name))
            if item or index < self.always:
                members[name] = kind.write(item, child(place, name)) if kind.write and item is not None else item
        for name in sorted(value.extra):
            if self.names.find(name):
                raise JSONError("is a known member and must not be among the unknown ones", child(place, name))
            members[name] = value.extra[name]
        return members


def _read_entries(value: Any, place: str, quick: bool) -> list[Entry] | None:
    _ENTRIES.check(value, place)
    return value and [_ENTRY.read(item, f"{place}[{index}]", quick) for index, item in enumerate(value)]


def _write_entries(entries: Sequence[Entry], place: str) -> list[Struct]:
    return [_ENTRY.write(entry, f"{place}[{index}]") for index, entry in enumerate(entries)]


def _read_binding(value: Any, place: str, quick: bool) -> Binding | None:
    return None if value is None else _BINDING.read(value, place, quick)


def _read_factory(value: Any, place: str, quick: bool) -> FactoryInfo:
    factory: FactoryInfo = _FACTORY.read({} if value is None else value, place, quick)
    return factory


def _time(value: Any, place: str, _quick: bool = False) -> str:
    parsed = parse_offset_time(_TIME.check(value, place))
    if parsed is None:
        raise JSONError(f"{quote(value)} is not an RFC 3339 time", place)
    try:
        return format_time(parsed[0], offset=parsed[1])
    except ValueError as error:
        problem = str(error)
    raise JSONError(problem, place)


def _strings(value: Any, place: str, _quick: bool = False) -> Any:
    for index, item in enumerate(_LIST.check(value, place)):
        if not isinstance(item, str):
            raise JSONError(f"must be a string, not {kind_of(item)}", child(place, index))
    return value


_NONE = type(None)
_TEXT, _INT, _MAP = _Kind(str, str), _Kind(int, int), _Kind(dict, dict)
_TIME = _Kind(str, lambda: ZERO_TIME, _time, _time)
_LIST = _Kind(list, list, _strings, _strings)
_FACTORY = _Shape(FactoryInfo, 3, name=_TEXT, version=_TEXT, content_revision=_TEXT)
_BINDING = _Shape(Binding, 1, alias=_TEXT, library_path=_TEXT, kind=_TEXT)
_ENTRY = _Shape(
    Entry,
    2,
    address=_TEXT,
    entry_kind=_TEXT,
    category=_TEXT,
    binding=_Kind(Binding, _NONE, _read_binding, _BINDING.write),
    schema_version=_INT,
    sensitive_inputs=_LIST,
    sensitive_outputs=_LIST,
    trigger_hash=_TEXT,
    inputs=_MAP,
    outputs=_MAP,
    depends_on=_LIST,
)
_ENTRIES = _Kind(list, _NONE, _read_entries, _write_entries)
_SNAPSHOT = _Shape(
    Snapshot,
    5,
    format_version=_INT,
    factory=_Kind(FactoryInfo, FactoryInfo, _read_factory, _FACTORY.write),
    stack=_TEXT,
    generated_at=_TIME,
    entries=_ENTRIES,
    outputs=_MAP,
)
