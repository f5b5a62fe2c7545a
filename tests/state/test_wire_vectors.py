# SPDX-License-Identifier: MIT
"""Every recorded output of the Go original that concerns stored bytes, case by case."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from unobin_s3.errors import DecryptionError, EnvelopeError, SnapshotFormatError
from unobin_s3.state import envelope, gojson, layout, revision, snapshot

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("wire_vectors.json").read_text(encoding="utf-8"))
# Go rounds these to float64 when it rewrites them; here they keep their digits, on purpose.
EXACT = {"9007199254740993", "999999999999999999999"}


class Fake:
    """Describes itself as told, "encrypts" to given bytes, and refuses to decrypt when told so."""

    def __init__(self, name: str, config: Mapping[str, object] | None = None, blob: bytes | None = None) -> None:
        self.name, self.config, self.blob = name, config, blob
        self.refuses = False

    def encrypt(self, plaintext: bytes) -> bytes:
        return plaintext if self.blob is None else self.blob

    def decrypt(self, blob: bytes) -> bytes:
        if self.refuses:
            raise DecryptionError("cipher: message authentication failed")
        return blob

    def describe(self) -> tuple[str, Mapping[str, object] | None]:
        return self.name, self.config


def cases(kind: str) -> list[Any]:
    assert VECTORS[kind]
    return [pytest.param(case, id=f"{number}") for number, case in enumerate(VECTORS[kind])]


def text_of(case: dict[str, Any]) -> str:
    return "".join(map(chr, case["codepoints"]))


@pytest.mark.parametrize("case", cases("base64-std"))
def test_base64(case: dict[str, Any]) -> None:
    if case["err"]:
        with pytest.raises(gojson.JSONError):
            gojson.decode_base64(case["in"])
    else:
        assert gojson.decode_base64(case["in"]).hex() == case["hex"]


@pytest.mark.parametrize("case", cases("string-encode"))
def test_strings_written(case: dict[str, Any]) -> None:
    assert gojson.dumps(text_of(case), indent=False).decode() == case["json"]


@pytest.mark.parametrize("case", cases("string-decode"))
def test_strings_read(case: dict[str, Any]) -> None:
    assert gojson.loads(bytes.fromhex(case["in-hex"])) == text_of(case)


@pytest.mark.parametrize("case", cases("percent-q"))
def test_quoted(case: dict[str, Any]) -> None:
    assert gojson.quote(text_of(case)) == case["quoted"]


def test_order_of_map_keys() -> None:
    text = VECTORS["map-key-order"]
    shuffled = dict(reversed(json.loads(text).items()))
    assert gojson.dumps(shuffled, indent=False).decode() == text


@pytest.mark.parametrize("case", cases("number-roundtrip"))
def test_numbers(case: dict[str, Any]) -> None:
    data = case["in"].encode()
    if case["err"]:
        with pytest.raises(gojson.JSONError):
            gojson.loads(data)
    else:
        expected = case["in"] if case["in"] in EXACT else case["out"]
        assert gojson.dumps(gojson.loads(data), indent=False).decode() == expected


@pytest.mark.parametrize("case", cases("time"))
def test_times(case: dict[str, Any]) -> None:
    parsed = revision.parse_offset_time(case["in"])
    assert (parsed is None) == bool(case["err"])
    if parsed:
        assert f'"{revision.format_time(parsed[0], offset=parsed[1])}"' == case["out"]
        assert revision.parse_time(case["in"]) == parsed[0]


@pytest.mark.parametrize("case", cases("rev-format"))
def test_formatted_times(case: dict[str, Any]) -> None:
    base = revision.parse_time("2026-05-01T10:00:00Z")
    assert base is not None
    assert revision.format_time(base + case["nanos"]) == case["rev"]


@pytest.mark.parametrize("case", cases("rev-sort"))
def test_sorted_revisions(case: dict[str, Any]) -> None:
    given = list(case["in"])
    assert revision.sort_revisions(given) == case["out"]
    assert given == case["in"]


@pytest.mark.parametrize("case", cases("trim-space"))
def test_trimmed_space(case: dict[str, Any]) -> None:
    char = chr(case["codepoint"])
    assert revision.trim_space(f"{char}a{char}") == ("a" if case["trimmed"] else f"{char}a{char}")


@pytest.mark.parametrize("case", cases("path-join"))
def test_joined_paths(case: dict[str, Any]) -> None:
    assert layout.join(*case["parts"]) == case["key"]


@pytest.mark.parametrize("case", cases("lock-encode"))
def test_lock_bodies(case: dict[str, Any]) -> None:
    members = gojson.Struct(id=case["id"], who=case["who"], created=case["created"])
    assert gojson.dumps(members, indent=False).decode() == case["json"]


@pytest.mark.parametrize("case", cases("snapshot"))
def test_snapshots(case: dict[str, Any]) -> None:
    if case["decode-err"]:
        with pytest.raises(SnapshotFormatError) as caught:
            snapshot.decode_snapshot(case["in"].encode())
        if "json" not in case["decode-err"] and "entry " in case["decode-err"]:
            assert case["decode-err"].removeprefix("snapshot: ") in str(caught.value)
    else:
        assert snapshot.encode_snapshot(snapshot.decode_snapshot(case["in"].encode())).decode() == case["encoded"]


def test_wrong_version_on_encode() -> None:
    with pytest.raises(SnapshotFormatError) as caught:
        snapshot.encode_snapshot(snapshot.Snapshot(format_version=7))
    assert str(caught.value) == VECTORS["encode-wrong-version-err"]


@pytest.mark.parametrize("case", cases("seal"))
def test_sealed(case: dict[str, Any]) -> None:
    sealed = envelope.seal(case["body"].encode(), "state", Fake(case["name"], case["config"]))
    assert sealed.decode() == case["sealed"]


def test_payload_type_is_required() -> None:
    with pytest.raises(EnvelopeError) as caught:
        envelope.seal(b"", "", Fake("noop"))
    assert str(caught.value) == VECTORS["seal-no-payload-type-err"]


@pytest.mark.parametrize("case", cases("open"))
def test_opened(case: dict[str, Any]) -> None:
    data = case["in"].encode()
    if not case["err"]:
        assert envelope.open_envelope(data, "state", Fake("noop")).decode() == case["body"]
        return
    with pytest.raises(EnvelopeError) as caught:
        envelope.open_envelope(data, "state", Fake("noop"))
    if "json" not in case["err"] and "JSON" not in case["err"]:
        assert str(caught.value) == case["err"]


@pytest.mark.parametrize("case", cases("decrypt-hint"))
def test_hint_of_failed_decryption(case: dict[str, Any]) -> None:
    encrypter = Fake(json.loads(case["in"])["encrypter"].get("name", "any"))
    encrypter.refuses = True
    with pytest.raises(DecryptionError) as caught:
        envelope.open_envelope(case["in"].encode(), "state", encrypter)
    assert str(caught.value) == case["err"]


@pytest.mark.parametrize("kind", ["env-key", "kms"])
def test_worked_example(kind: str) -> None:
    case = VECTORS[kind]
    sealed = case["envelope"].encode()
    blob = bytes.fromhex(case["blob-hex"]) if kind == "env-key" else case["blob-json"].encode()
    read = envelope.read_envelope(sealed)
    assert (read.version, read.payload_type, read.encrypter_name, read.ciphertext) == (1, "state", kind, blob)
    assert envelope.seal(b"ignored", "state", Fake(kind, read.encrypter_body, blob)) == sealed


def test_blob_and_plaintext_of_the_worked_examples() -> None:
    case = VECTORS["kms"]
    members = gojson.Struct(
        {
            "version": 1,
            "encrypted-key": base64.b64encode(bytes.fromhex(case["wrapped-hex"])).decode(),
            "payload": base64.b64encode(bytes.fromhex(VECTORS["env-key"]["blob-hex"])).decode(),
        }
    )
    assert gojson.dumps(members, indent=False).decode() == case["blob-json"]
    plaintext = VECTORS["env-key"]["plaintext"].encode()
    assert snapshot.encode_snapshot(snapshot.decode_snapshot(plaintext)) == plaintext
