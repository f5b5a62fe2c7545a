# SPDX-License-Identifier: MIT
"""Snapshots: the rules they obey, what survives a read and write, and the place of what is wrong."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unobin_s3.errors import SnapshotFormatError
from unobin_s3.state.gojson import dumps, loads
from unobin_s3.state.snapshot import (
    ZERO_TIME,
    Binding,
    Entry,
    FactoryInfo,
    Snapshot,
    decode_snapshot,
    encode_snapshot,
)

checked = settings(derandomize=True, deadline=None, max_examples=50)
BINDING = Binding(alias="aws", kind="vpc")
LEAF = Entry(address="resource.main", entry_kind="leaf", category="resource", binding=BINDING)
PAIRS = [
    ("leaf", "resource"),
    ("library-call", "resource"),
    ("library-call", "data-source"),
    ("library-call", "action"),
    ("action", "action"),
    ("data-source", "data-source"),
]


def one(**changes: Any) -> Snapshot:
    return Snapshot(stack="prod", entries=[replace(LEAF, **changes)])


def reread(snapshot: Snapshot) -> Snapshot:
    return decode_snapshot(encode_snapshot(snapshot))


def document(**members: object) -> bytes:
    return json.dumps({"format-version": 1, **members}).encode()


def raw_entry(**members: object) -> dict[str, object]:
    binding = {"alias": "aws", "kind": "vpc"}
    return {"address": "a", "entry-kind": "leaf", "category": "resource", "binding": binding, **members}


# --- round trips ---

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
filled = texts.filter(bool)
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | texts | st.floats(-1e9, 1e9)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=4)
maps = st.dictionaries(texts, values, max_size=3)
unknown = st.dictionaries(texts.map(lambda text: "x-" + text), values, max_size=2)
lists = st.lists(texts, max_size=3)
bindings = st.builds(Binding, alias=filled, library_path=texts, kind=filled, extra=unknown)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind, category = draw(st.sampled_from(PAIRS))
    return Entry(
        address=draw(filled),
        entry_kind=kind,
        category=category,
        binding=draw(bindings),
        schema_version=draw(st.integers(-(2**63), 2**63 - 1)),
        sensitive_inputs=draw(lists),
        sensitive_outputs=draw(lists),
        trigger_hash=draw(texts),
        inputs=draw(maps),
        outputs=draw(maps),
        depends_on=draw(lists),
        extra=draw(unknown),
    )


snapshots = st.builds(
    Snapshot,
    factory=st.builds(FactoryInfo, name=texts, version=texts, content_revision=texts, extra=unknown),
    stack=texts,
    generated_at=st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    entries=st.none() | st.lists(entries(), max_size=3, unique_by=lambda entry: entry.address),
    outputs=maps,
    extra=unknown,
)


@checked
@given(snapshots)
def test_round_trip(snapshot: Snapshot) -> None:
    data = encode_snapshot(snapshot)
    again = decode_snapshot(data)
    assert again == replace(snapshot, generated_at=again.generated_at)
    assert encode_snapshot(again) == encode_snapshot(snapshot) == data
    assert data.endswith(b"\n}\n")


@checked
@given(snapshots)
def test_layout_of_the_document_does_not_matter(snapshot: Snapshot) -> None:
    data = encode_snapshot(snapshot)
    compact = dumps(loads(data), indent=False)
    upper = data.replace(b'"format-version"', b'"FORMAT-VERSION"').replace(b'"entries"', b'"ENTRIES"')
    assert encode_snapshot(decode_snapshot(compact)) == data
    # The names may also be keys of maps, so the third is compared only when it changed nothing but our members.
    assert data.count(b'"entries"') > 1 or encode_snapshot(decode_snapshot(upper)) == data


@checked
@given(snapshots, st.data())
def test_mutations_raise_only_our_error(snapshot: Snapshot, data: st.DataObject) -> None:
    body = bytearray(encode_snapshot(snapshot))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.sampled_from(b'"\\{}[],:0-e.u\xff\x00 tnx'))
    try:
        again = decode_snapshot(bytes(body))
    except SnapshotFormatError:
        return
    assert reread(again) == again


names = ["format-version", "entries", "factory", "binding", "alias", "kind", "outputs", "address", "Address", "stack"]
documents = st.recursive(
    scalars, lambda below: st.lists(below) | st.dictionaries(st.sampled_from(names), below), max_leaves=12
)


@checked
@given(documents)
def test_any_document_raises_only_our_error(value: object) -> None:
    for shaped in (
        value,
        {"format-version": 1, "entries": [value]},
        {"format-version": 1, "entries": [raw_entry(binding=value)]},
    ):
        try:
            again = decode_snapshot(json.dumps(shaped).encode())
        except SnapshotFormatError as error:
            assert str(error).startswith("snapshot: ")
        else:
            assert reread(again) == again


@checked
@given(st.binary())
def test_any_bytes_raise_only_our_error(data: bytes) -> None:
    with pytest.raises(SnapshotFormatError):
        decode_snapshot(data)


def test_a_new_snapshot() -> None:
    snapshot = Snapshot(factory=FactoryInfo(name="f"), stack="prod")
    assert (snapshot.format_version, snapshot.entries, snapshot.generated_at) == (1, None, ZERO_TIME)
    assert reread(snapshot) == snapshot
    assert reread(replace(snapshot, entries=[])).entries == []


def test_find() -> None:
    other = replace(LEAF, address="b")
    snapshot = Snapshot(entries=[LEAF, other])
    assert snapshot.find("b") is other
    assert snapshot.find("c") is None is Snapshot().find("b")


def test_json_shape() -> None:
    snapshot = Snapshot(
        factory=FactoryInfo(name="f", version="v1", content_revision="abc"),
        stack="prod",
        generated_at="2026-04-30T14:00:00.120+02:00",
        entries=[
            replace(
                LEAF,
                binding=Binding(alias="aws", library_path="lib", kind="vpc", extra={"x": 1}),
                schema_version=2,
                sensitive_inputs=("b", "a"),
                sensitive_outputs=["p"],
                trigger_hash="00ff",
                inputs={"z": 1.0, "a": None},
                outputs={"url": "https://x/?a=1&b=<2>"},
                depends_on=["resource.b", "resource.a"],
                extra={"y": [], "x": {"b": 1, "a": 2}},
            )
        ],
        outputs={"n": 9007199254740993},
        extra={"later": True},
    )
    assert json.loads(encode_snapshot(snapshot), object_pairs_hook=list) == [
        ("format-version", 1),
        ("factory", [("name", "f"), ("version", "v1"), ("content-revision", "abc")]),
        ("stack", "prod"),
        ("generated-at", "2026-04-30T14:00:00.12+02:00"),
        (
            "entries",
            [
                [
                    ("address", "resource.main"),
                    ("entry-kind", "leaf"),
                    ("category", "resource"),
                    ("binding", [("alias", "aws"), ("library-path", "lib"), ("kind", "vpc"), ("x", 1)]),
                    ("schema-version", 2),
                    ("sensitive-inputs", ["b", "a"]),
                    ("sensitive-outputs", ["p"]),
                    ("trigger-hash", "00ff"),
                    ("inputs", [("a", None), ("z", 1)]),
                    ("outputs", [("url", "https://x/?a=1&b=<2>")]),
                    ("depends-on", ["resource.b", "resource.a"]),
                    ("x", [("a", 2), ("b", 1)]),
                    ("y", []),
                ]
            ],
        ),
        ("outputs", [("n", 9007199254740993)]),
        ("later", True),
    ]
    assert rb"\u0026b=\u003c2\u003e" in encode_snapshot(snapshot)


def test_values_and_frozen_fields() -> None:
    assert "hunter2" not in repr(Snapshot(entries=[replace(LEAF, outputs={"p": "hunter2"})], outputs={"p": "hunter2"}))
    for value in (LEAF, BINDING, Snapshot(), FactoryInfo()):
        assert not hasattr(value, "__dict__")
        for member in fields(value):
            with pytest.raises(FrozenInstanceError):
                setattr(value, member.name, None)
    read = decode_snapshot(document(entries=[raw_entry()])).entries
    assert read is not None
    with pytest.raises(FrozenInstanceError):
        read[0].address = "b"  # type: ignore[misc]


def test_absent_containers_are_not_shared() -> None:
    read = decode_snapshot(document(entries=[raw_entry(), raw_entry(address="b")])).entries or []
    for name in ("inputs", "outputs", "sensitive_inputs", "sensitive_outputs", "depends_on", "extra"):
        assert getattr(read[0], name) is not getattr(read[1], name)
        assert not getattr(read[0], name)


# --- reading as Go does ---


def test_null_is_absence() -> None:
    empty = dict.fromkeys(["schema-version", "sensitive-inputs", "trigger-hash", "inputs", "depends-on"])
    read = decode_snapshot(
        document(
            **{"factory": None, "stack": None, "generated-at": None, "outputs": None, "entries": [raw_entry(**empty)]}
        )
    )
    assert read == Snapshot(entries=[replace(LEAF, address="a")])
    assert decode_snapshot(document(entries=None)).entries is None
    assert decode_snapshot(document(outputs={"a": None})).outputs == {"a": None}


@pytest.mark.parametrize("name", ["Stack", "STACK", "\u017ftack"])
def test_names_without_regard_to_case(name: str) -> None:
    read = decode_snapshot(document(**{name: "prod", "stacks": 1}))
    assert (read.stack, read.extra) == ("prod", {"stacks": 1})


@pytest.mark.parametrize("opening", ['{"format-version":1,', '{\n  "format-version": 1,\n  "stack": "b",'])
def test_repeated_members(opening: str) -> None:
    entry = (
        json.dumps(raw_entry(inputs={"a": {"x": 1}}))[:-1] + ',"Inputs":{"a":{"y":1},"b":2},"binding":{"alias":"z"}}'
    )
    text = opening + '"stack":"c","factory":{"name":"f"},"Factory":{"version":"1"},"entries":[' + entry + "]}"
    read = decode_snapshot(text.encode())
    assert (read.stack, read.factory) == ("c", FactoryInfo(name="f", version="1"))
    assert read.entries and read.entries[0].inputs == {"a": {"y": 1}, "b": 2}
    assert read.entries[0].binding == Binding(alias="z", kind="vpc")


def test_the_time_may_come_from_datetime() -> None:
    moment = datetime(2026, 4, 30, 12, 0, 0, 120000, tzinfo=UTC)
    assert reread(Snapshot(generated_at=moment.isoformat())).generated_at == "2026-04-30T12:00:00.12Z"


def test_unknown_versions_are_refused_before_anything_else() -> None:
    for version in (0, 2, 99):
        with pytest.raises(SnapshotFormatError, match=f"unsupported format-version {version} "):
            decode_snapshot(document(**{"format-version": version, "entries": 5, "factory": []}))


# --- what is refused, and where ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"address": ""}, "entries[0]: missing address"),
        ({"entry_kind": ""}, 'entry "resource.main" missing entry-kind'),
        ({"entry_kind": "node"}, 'entry "resource.main" has unknown entry-kind "node"'),
        ({"category": ""}, 'entry "resource.main" missing category'),
        ({"category": "action"}, 'entry "resource.main" has category "action"'),
        ({"entry_kind": "action", "category": ""}, 'entry "resource.main" missing category'),
        ({"entry_kind": "library-call", "category": "composite"}, 'has category "composite"'),
        ({"entry_kind": "library-call", "binding": None}, 'entry "resource.main" binding missing'),
        ({"binding": Binding(alias="", kind="vpc")}, 'entry "resource.main" binding missing alias'),
        ({"binding": Binding(alias="aws", kind="")}, 'entry "resource.main" binding missing kind'),
        ({"address": "a\n\u2028", "category": "x\x7f"}, r'entry "a\n\u2028" has category "x\x7f"'),
        ({"schema_version": 2**63}, "schema-version beyond 64 bits"),
        ({"depends_on": ["a", 1]}, "something else than strings"),
    ],
)
def test_rules(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SnapshotFormatError) as caught:
        encode_snapshot(one(**changes))
    assert words in str(caught.value)
    assert caught.value.place == "entries[0]"


def test_duplicate_addresses() -> None:
    with pytest.raises(SnapshotFormatError, match=r'duplicate address "resource\.main"') as caught:
        encode_snapshot(Snapshot(entries=[LEAF, replace(LEAF, address="b"), LEAF]))
    assert caught.value.place == "entries[2]"
    with pytest.raises(SnapshotFormatError, match='duplicate address "a"'):
        decode_snapshot(document(entries=[raw_entry(), raw_entry()]))


def test_the_old_spelling_of_category_counts_as_none() -> None:
    entry = raw_entry(**{"node-kind": "resource"})
    del entry["category"]
    with pytest.raises(SnapshotFormatError, match='entry "a" missing category'):
        decode_snapshot(document(entries=[entry]))


@pytest.mark.parametrize(
    ("snapshot", "place"),
    [
        (one(outputs={"url": float("nan")}), "entries[0].outputs.url"),
        (one(inputs={"a b": ["x", "\ud800"]}), 'entries[0].inputs["a b"][1]'),
        (one(inputs={"a": {1: 2}}), "entries[0].inputs.a"),
        (one(extra={"more": {"when": datetime}}), "entries[0].more.when"),
        (one(extra={"Address": 1}), "entries[0].Address"),
        (one(address=5), "entries[0].address"),
        (one(address=[]), "entries[0].address"),
        (one(schema_version=True), "entries[0].schema-version"),
        (one(schema_version=1.0), "entries[0].schema-version"),
        (one(inputs=[1]), "entries[0].inputs"),
        (one(depends_on="abc"), "entries[0].depends-on"),
        (one(binding={"alias": "a"}), "entries[0].binding"),
        (one(binding=Binding(alias="a", kind=None)), "entries[0].binding.kind"),  # type: ignore[arg-type]
        (Snapshot(outputs={"n": 10**400}), "outputs.n"),
        (Snapshot(outputs={"n": object()}), "outputs.n"),
        (Snapshot(entries=[None]), "entries[0]"),  # type: ignore[list-item]
        (Snapshot(entries={"a": LEAF}), "entries"),  # type: ignore[arg-type]
        (Snapshot(factory=None), "factory"),  # type: ignore[arg-type]
        (Snapshot(factory=FactoryInfo(version=1)), "factory.version"),  # type: ignore[arg-type]
        (Snapshot(generated_at="yesterday"), "generated-at"),
        (Snapshot(generated_at="2026-04-30T12:00:00+24:00"), "generated-at"),
        (Snapshot(stack="\udfff"), "stack"),
        (Snapshot(extra={3: 4}), "[3]"),  # type: ignore[dict-item]
    ],
)
def test_places_on_encode(snapshot: Snapshot, place: str) -> None:
    with pytest.raises(SnapshotFormatError) as caught:
        encode_snapshot(snapshot)
    assert caught.value.place == place
    assert f"snapshot: {place}: " in str(caught.value)


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"entries": [raw_entry(), None]}, "entries[1]"),
        ({"entries": [raw_entry(binding=[])]}, "entries[0].binding"),
        ({"entries": [raw_entry(binding=[1])]}, "entries[0].binding[0]"),
        ({"entries": [raw_entry(binding={"alias": 1})]}, "entries[0].binding.alias"),
        ({"entries": [raw_entry(**{"schema-version": True})]}, "entries[0].schema-version"),
        ({"entries": [raw_entry(inputs=[])]}, "entries[0].inputs"),
        ({"entries": {}}, "entries"),
        ({"entries": "x"}, "entries"),
        ({"factory": []}, "factory"),
        ({"factory": {"name": 1}}, "factory.name"),
        ({"outputs": "x"}, "outputs"),
        ({"stack": False}, "stack"),
        ({"generated-at": ""}, "generated-at"),
        ({"generated-at": "2026-04-30T25:00:00Z"}, "generated-at"),
    ],
)
def test_places_on_decode(members: dict[str, Any], place: str) -> None:
    with pytest.raises(SnapshotFormatError) as caught:
        decode_snapshot(document(**members))
    assert caught.value.place == place


def test_errors_hold_no_document() -> None:
    with pytest.raises(SnapshotFormatError) as caught:
        decode_snapshot(b'{"format-version":1,"outputs":{"password":"hunter2"},}')
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in repr((error.args, vars(error)))
        error = error.__context__


@pytest.mark.parametrize("value", [5, None, {}, "x", LEAF])
def test_only_snapshots_are_encoded(value: Any) -> None:
    with pytest.raises(SnapshotFormatError, match="must be Snapshot"):
        encode_snapshot(value)


def test_deep_snapshots() -> None:
    deep: object = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(SnapshotFormatError, match="nested too deeply"):
        encode_snapshot(Snapshot(outputs={"a": deep}))
    with pytest.raises(SnapshotFormatError, match="nested too deeply"):
        decode_snapshot(b'{"format-version":1,"outputs":{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}}")


def test_null_among_strings_is_an_empty_one() -> None:
    """As in Go, where an element that is null keeps the zero value it was made with."""
    entry = '{"address":"a","entry-kind":"leaf","category":"resource","binding":{"alias":"x","kind":"y"}'
    text = '{"format-version":1,"entries":[' + entry + ',"sensitive-outputs":[null,"b"],"depends-on":[null]}]}'
    (found,) = decode_snapshot(text.encode()).entries or ()
    assert (found.sensitive_outputs, found.depends_on) == (["", "b"], [""])
