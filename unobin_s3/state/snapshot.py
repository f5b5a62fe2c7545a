# SPDX-License-Identifier: MIT
"""What a snapshot is: its members, the rules they obey, and its JSON. Nothing about storing or sealing it.

Field names are the JSON names in snake case. `extra` keeps members that this version does not know, so that they
survive a read and write; they are written after the known ones, sorted. An empty map or list and an absent one are
the same value in JSON, except for `entries`, where None and [] are told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from operator import attrgetter
from typing import Any

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
        struct = _SNAPSHOT.struct(snapshot)
        _check_rules(snapshot)
        struct["generated-at"] = _go_time(snapshot.generated_at)
        return dumps(struct, indent=True)
    except JSONError as error:
        problem, place = str(error), error.place
    raise SnapshotFormatError(f"snapshot: {problem}", place=place)


def decode_snapshot(data: bytes) -> Snapshot:
    """The snapshot in a JSON document. Raises SnapshotFormatError, with the `place` where there is one."""
    try:
        document = loads(data, unique=data.startswith(_OPENING))
        document = {} if document is None else document
        version = _SNAPSHOT.names.split(document)[0].get("format-version", 0)
        if type(version) is int and version != FORMAT_VERSION:
            raise JSONError(f"unsupported format-version {version} (this build expects {FORMAT_VERSION})")
        snapshot: Snapshot = _SNAPSHOT.read(document)
        _check_rules(snapshot)
        return replace(snapshot, generated_at=_go_time(snapshot.generated_at))
    except JSONError as error:
        problem, place = str(error), error.place
    raise SnapshotFormatError(f"snapshot: {problem}", place=place)


def _go_time(text: str) -> str:
    parsed = parse_offset_time(text)
    if parsed is None:
        raise JSONError(f"{quote(text)} is not an RFC 3339 time", "generated-at")
    try:
        return format_time(parsed[0], offset=parsed[1])
    except ValueError as error:
        raise JSONError(str(error), "generated-at") from None


def _check_rules(snapshot: Snapshot) -> None:
    if snapshot.format_version != FORMAT_VERSION:
        raise JSONError(f"format-version is {snapshot.format_version}, expected {FORMAT_VERSION}")
    seen: set[str] = set()
    for index, entry in enumerate(snapshot.entries or ()):
        problem = _broken_rule(entry)
        if problem or entry.address in seen:
            raise JSONError(problem or f"duplicate address {quote(entry.address)}", f"entries[{index}]")
        seen.add(entry.address)


def _broken_rule(entry: Entry) -> str:
    """The first rule that an entry breaks, in Go's words and order; "" when it keeps all."""
    binding = entry.binding
    if not entry.address:
        return "missing address"
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
    elif {*map(type, (*entry.sensitive_inputs, *entry.sensitive_outputs, *entry.depends_on))} - {str}:
        problem = "has something else than strings in sensitive-inputs, sensitive-outputs or depends-on"
    else:
        return ""
    return f"entry {quote(entry.address)} {problem}"


# For each annotation used above: the usual type, which also makes the value of an absent member that has no
# default, and the types that will do.
_KINDS: dict[Any, tuple[type, Any]] = {
    "str": (str, str),
    "int": (int, int),
    "Sequence[str]": (list, (list, tuple)),
    "Mapping[str, Any]": (dict, Mapping),
    "Binding | None": (Binding, (Binding, type(None))),
    "FactoryInfo": (FactoryInfo, FactoryInfo),
    "Sequence[Entry] | None": (list, (list, tuple, type(None))),
}


class _Shape:
    """One of the classes above and its JSON object. The first `always` members are written even when empty."""

    def __init__(self, made: Any, always: int, **nested: _Shape) -> None:
        declared = [member for member in fields(made) if member.name != "extra"]
        self.made = made
        self.members = [member.name.replace("_", "-") for member in declared]
        self.always = frozenset(self.members[:always])
        self.names = Names(*self.members)
        self.usual = tuple(_KINDS[member.type][0] for member in declared)
        self.accepted = [_KINDS[member.type][1] for member in declared]
        self.zeros = list(zip(self.members, map(_maker, declared, self.usual), strict=True))
        self.nested = [(self.members.index(name), name, shape) for name, shape in nested.items()]
        self.texts = [index for index, member in enumerate(declared) if member.type == "Sequence[str]"]
        self.get = attrgetter(*(member.name for member in declared))
        # Filled through its slots, a frozen object takes half the time that its __init__ takes.
        self.slots = [getattr(made, member.name).__set__ for member in fields(made)]

    def read(self, value: Any) -> Any:
        """The object with these members."""
        known, extra = self.names.split(value)
        values = [known[name] if name in known else zero() for name, zero in self.zeros]
        for index, name, shape in self.nested:
            if name in known:
                values[index] = _each(shape.read, known[name], name)
        self._check_types(values)
        for index in self.texts:
            if None in values[index]:  # Go leaves such an element as it was made: empty
                values[index] = ["" if item is None else item for item in values[index]]
        made = object.__new__(self.made)
        for put, item in zip(self.slots, (*values, extra), strict=True):
            put(made, item)
        return made

    def struct(self, value: Any) -> Struct:
        """The members to write. Raises JSONError for fields of wrong types."""
        if type(value) is not self.made:
            raise JSONError(f"must be {self.made.__name__}, not {kind_of(value)}")
        values = self.get(value)
        self._check_types(values)
        pairs = zip(self.members, values, strict=True)
        struct = Struct({name: item for name, item in pairs if item or name in self.always})
        for _, name, shape in self.nested:
            if struct.get(name):
                struct[name] = _each(shape.struct, struct[name], name)
        if value.extra:
            for name in value.extra:
                if not isinstance(name, str) or self.names.find(name):
                    raise JSONError("cannot be among the unknown members", child("", name))
            struct |= sorted(value.extra.items())
        return struct

    def _check_types(self, values: Sequence[Any]) -> None:
        if tuple(map(type, values)) == self.usual:
            return
        for name, usual, accepted, item in zip(self.members, self.usual, self.accepted, values, strict=True):
            if not isinstance(item, accepted) or isinstance(item, bool):
                raise JSONError(f"must be {kind_of(usual)}, not {kind_of(item)}", name)


def _each(make: Callable[[Any], Any], value: Any, place: str) -> Any:
    """`make` of one object, or of each in a list. Whether the member wants a list is checked by its type."""
    listed = isinstance(value, (list, tuple))
    made = []
    for index, item in enumerate(value if listed else (value,)):
        try:
            made.append(make(item))
        except JSONError as error:
            raise error.within(f"{place}[{index}]" if listed else place) from None
    return made if listed else made[0]


def _maker(member: Field[Any], usual: type) -> Callable[[], Any]:
    """Makes the value of a member that is absent."""
    if member.default_factory is not MISSING:
        return member.default_factory
    default = member.default
    return usual if default is MISSING else lambda: default


_FACTORY = _Shape(FactoryInfo, 3)
_BINDING = _Shape(Binding, 1)
_ENTRY = _Shape(Entry, 2, binding=_BINDING)
_SNAPSHOT = _Shape(Snapshot, 5, factory=_FACTORY, entries=_ENTRY)
