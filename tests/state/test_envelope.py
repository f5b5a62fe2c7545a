# SPDX-License-Identifier: MIT
"""Envelopes: what sealing writes, what opening refuses before a key is touched, and what its errors say."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unobin_s3.errors import AccessDenied, DecryptionError, EnvelopeError
from unobin_s3.state.envelope import open_envelope, read_envelope, seal

checked = settings(derandomize=True, deadline=None, max_examples=150)


class Xor:
    """Turns every bit, and keeps count of what it was asked for."""

    def __init__(self, config: Mapping[str, object] | None = None, name: str = "xor") -> None:
        self.name, self.config = name, config
        self.calls: list[str] = []
        self.fails: Exception | None = None

    def encrypt(self, plaintext: bytes) -> bytes:
        self.calls.append("encrypt")
        return bytes(255 - byte for byte in plaintext)

    def decrypt(self, blob: bytes) -> bytes:
        self.calls.append("decrypt")
        if self.fails:
            raise self.fails
        return bytes(255 - byte for byte in blob)

    def describe(self) -> tuple[str, Mapping[str, object] | None]:
        self.calls.append("describe")
        return self.name, self.config


def envelope(**members: object) -> bytes:
    return json.dumps({"envelope-version": 1, "payload-type": "state", "ciphertext": "aGk=", **members}).encode()


@checked
@given(st.binary(), st.dictionaries(st.text("abc-", min_size=1), st.text(st.characters(exclude_categories=["Cs"]))))
def test_round_trip(body: bytes, config: dict[str, object]) -> None:
    encrypter = Xor(config)
    sealed = seal(body, "state", encrypter)
    assert open_envelope(sealed, "state", encrypter) == body
    read = read_envelope(sealed)
    assert (read.version, read.payload_type, read.encrypter_name) == (1, "state", "xor")
    assert (read.encrypter_body or {}) == config
    # Laid out otherwise, the same envelope opens the slow way.
    assert read_envelope(json.dumps(json.loads(sealed)).encode()) == read


def test_sealed_bytes() -> None:
    sealed = seal(b"\xff\xfe", "plan", Xor({"z": 1, "env-var": "A&B"}))
    assert sealed.decode() == (
        '{\n  "envelope-version": 1,\n  "payload-type": "plan",\n  "encrypter": {\n    "name": "xor",\n    "body": {\n'
        '      "env-var": "A\\u0026B",\n      "z": 1\n    }\n  },\n  "ciphertext": "AAE="\n}\n'
    )


@pytest.mark.parametrize("config", [None, {}])
def test_no_body_without_config(config: Mapping[str, object] | None) -> None:
    assert b'"body"' not in seal(b"x", "state", Xor(config))


def test_described_after_encrypting() -> None:
    # Only then does a KMS encrypter know the ARN of its key.
    encrypter = Xor()
    seal(b"x", "state", encrypter)
    assert encrypter.calls == ["encrypt", "describe"]


def test_a_description_that_is_no_json() -> None:
    with pytest.raises(EnvelopeError, match=r"encrypter\.body\.key"):
        seal(b"x", "state", Xor({"key": object()}))


@pytest.mark.parametrize("version", [0, 2, 99, -1])
def test_other_versions(version: int) -> None:
    encrypter = Xor()
    with pytest.raises(EnvelopeError, match=f"unsupported envelope-version {version} "):
        open_envelope(envelope(**{"envelope-version": version}), "state", encrypter)
    assert not encrypter.calls


@pytest.mark.parametrize("found", ["plan", "State", "x"])
def test_another_payload_is_refused_before_a_key_is_looked_at(found: str) -> None:
    encrypter = Xor()
    with pytest.raises(EnvelopeError, match=f"payload-type {found}, expected state"):
        open_envelope(envelope(**{"payload-type": found}), "state", encrypter)
    assert not encrypter.calls


@pytest.mark.parametrize("members", [{"payload-type": ""}, {"payload-type": None}, {"encrypter": None}, {"x": {}}])
def test_what_may_be_missing(members: dict[str, object]) -> None:
    assert open_envelope(envelope(**members), "state", Xor()) == bytes([255 - 0x68, 255 - 0x69])


def test_names_without_regard_to_case_and_repeats() -> None:
    data = b'{"Envelope-Version":1,"CIPHERTEXT":"AAAA","encrypter":{"name":"a"},"Encrypter":{"Name":"xor"},'
    data += b'"ciphertext":"aGk="}'
    read = read_envelope(data)
    assert (read.version, read.encrypter_name, read.ciphertext) == (1, "xor", b"hi")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("aGk=", b"hi"), ("aG\nk=\r\n", b"hi"), (None, b""), ("", b""), ([104, 105], b"hi"), ([], b"")],
)
def test_forms_of_ciphertext(value: object, expected: bytes) -> None:
    assert read_envelope(envelope(ciphertext=value)).ciphertext == expected


@pytest.mark.parametrize(
    "value",
    ["aGk", "aGk==", "a Gk=", "aG-_", "=aGk", "aGk=aGk=", "\u00e9", 5, {}, True, [256], [-1], [1.0], [True], ["a"]],
)
def test_bad_ciphertext(value: object) -> None:
    with pytest.raises(EnvelopeError, match="envelope: "):
        read_envelope(envelope(ciphertext=value))


@pytest.mark.parametrize(
    "members",
    [
        {"envelope-version": "1"},
        {"envelope-version": 1.0},
        {"envelope-version": True},
        {"payload-type": 1},
        {"encrypter": "noop"},
        {"encrypter": []},
        {"encrypter": {"name": 1}},
        {"encrypter": {"body": []}},
    ],
)
def test_wrong_types(members: dict[str, object]) -> None:
    with pytest.raises(EnvelopeError):
        read_envelope(envelope(**members))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xef\xbb\xbf" + envelope(), envelope() + b"x", b'"x"', b"5"])
def test_what_is_no_envelope(data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        read_envelope(data)


def test_every_truncation_is_refused() -> None:
    sealed = seal(b"a body of some length", "state", Xor())
    for length in range(len(sealed) - 2):  # without the final "}\n"
        with pytest.raises(EnvelopeError):
            read_envelope(sealed[:length])


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": {\n  "ciphertext": "AAAA"\n}\n',
        b'{\n  "envelope-version": 1,\n  "x": "\n  \\"ciphertext\\": \\"AAAA"\n}\n',
        b'{\n  "envelope-version": 1,\n  "x": \n  "ciphertext": "AAAA"\n}\n',
        b'[\n  "ciphertext": "AAAA"\n}\n',
    ],
)
def test_the_short_cut_is_no_way_around_the_parser(data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        read_envelope(data)


def test_the_short_cut_takes_the_member_and_not_its_namesake() -> None:
    inner = b'{\n  "envelope-version": 1,\n  "encrypter": {"name": "n", "body": {\n  "ciphertext": "AAAA"}},'
    read = read_envelope(inner + b'\n  "ciphertext": "aGk="\n}\n')
    assert (read.ciphertext, read.encrypter_body) == (b"hi", {"ciphertext": "AAAA"})


@checked
@given(st.binary(max_size=40), st.data())
def test_mutations_raise_only_our_errors(body: bytes, data: st.DataObject) -> None:
    sealed = bytearray(seal(body, "state", Xor({"env-var": "V"})))
    for _ in range(data.draw(st.integers(1, 4))):
        sealed[data.draw(st.integers(0, len(sealed) - 1))] = data.draw(st.sampled_from(b'"\\{}[],:0=A\xff\x00 \n'))
    try:
        read = read_envelope(bytes(sealed))
    except EnvelopeError:
        return
    slow = bytes(sealed).removesuffix(b"\n") + b" "
    assert read_envelope(slow) == read


@checked
@given(st.binary())
def test_any_bytes_raise_only_our_error(data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        read_envelope(data)


# --- decryption ---


def test_another_encrypter_is_named_before_decrypting() -> None:
    sealed = seal(b"x", "state", Xor({"key-id": "arn:k"}, name="kms"))
    encrypter = Xor({"env-var": "V"}, name="env-key")
    with pytest.raises(DecryptionError) as caught:
        open_envelope(sealed, "state", encrypter)
    assert "env-key" in str(caught.value) and "(sealed with kms key-id arn:k)" in str(caught.value)
    assert "decrypt" not in encrypter.calls


@pytest.mark.parametrize(
    ("recorded", "hint"),
    [
        ({"name": "xor", "body": {"key-id": "K", "env-var": "E"}}, " (sealed with xor key-id K)"),
        ({"name": "xor", "body": {"key-id": "", "env-var": "E"}}, " (sealed with xor env-var E)"),
        ({"name": "xor", "body": {"key-id": 5}}, " (sealed with xor)"),
        ({"name": "xor"}, " (sealed with xor)"),
        (None, ""),
    ],
)
def test_failed_decryption_names_what_sealed_it(recorded: object, hint: str) -> None:
    encrypter = Xor()
    encrypter.fails = DecryptionError("the key does not fit", rev="r1")
    with pytest.raises(DecryptionError) as caught:
        open_envelope(envelope(encrypter=recorded), "state", encrypter)
    assert str(caught.value) == f"open: decrypt: the key does not fit{hint}"
    assert caught.value.rev == "r1" and caught.value.__cause__ is encrypter.fails


def test_errors_of_a_key_service_stay_what_they_are() -> None:
    encrypter = Xor()
    encrypter.fails = AccessDenied("no right to decrypt", operation="Decrypt")
    with pytest.raises(AccessDenied) as caught:
        open_envelope(envelope(encrypter={"name": "xor", "body": {"key-id": "K"}}), "state", encrypter)
    assert caught.value is encrypter.fails
    assert caught.value.__notes__ == ["while opening an envelope (sealed with xor key-id K)"]


def test_errors_of_foreign_encrypters_become_ours_without_their_text() -> None:
    encrypter = Xor()
    encrypter.fails = RuntimeError("key hunter2 does not fit")
    with pytest.raises(DecryptionError, match=r"open: decrypt: RuntimeError \(sealed with xor\)") as caught:
        open_envelope(envelope(encrypter={"name": "xor"}), "state", encrypter)
    assert "hunter2" not in str(caught.value)


# --- large bodies ---


class Plain(Xor):
    def encrypt(self, plaintext: bytes) -> bytes:
        return plaintext

    def decrypt(self, blob: bytes) -> bytes:
        return blob


def test_large_bodies_are_not_copied_needlessly() -> None:
    body = bytes(6_000_000)
    tracemalloc.start()
    try:
        sealed = seal(body, "state", Plain())
        sealing = tracemalloc.get_traced_memory()[1] / len(body)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        assert open_envelope(sealed, "state", Plain()) == body
        opening = (tracemalloc.get_traced_memory()[1] - before) / len(body)
    finally:
        tracemalloc.stop()
    assert base64.b64decode(json.loads(sealed)["ciphertext"]) == body
    assert sealing < 2.8  # base64 is 4/3 of the body, and the envelope another 4/3
    assert opening < 1.1  # the body
