# SPDX-License-Identifier: MIT
"""The container around a sealed body: which payload, sealed by what, and the ciphertext. Holds no keys.

The container itself is not authenticated. What it says about the encrypter is a hint for people and never chooses a
key: the configured encrypter decrypts, and a key that does not fit is an error.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from ..errors import DecryptionError, EnvelopeError, UnobinS3Error
from .gojson import JSONError, Names, Struct, decode_base64, dumps, kind_of, loads

VERSION = 1
_MEMBERS = Names("envelope-version", "payload-type", "encrypter", "ciphertext")
_ENCRYPTER = Names("name", "body")
# How Go's layout surrounds the last member, the ciphertext.
_MARK = b'\n  "ciphertext": "'
_TAIL = b'"\n}\n'


class _Encrypter(Protocol):
    def encrypt(self, plaintext: bytes, /) -> bytes: ...
    def decrypt(self, blob: bytes, /) -> bytes: ...
    def describe(self) -> tuple[str, Mapping[str, object] | None]: ...


class Envelope(NamedTuple):
    """An envelope as read; nothing in it has been authenticated."""

    version: int
    payload_type: str  # "" when absent, which stands for any
    encrypter_name: str | None  # None when it does not say
    encrypter_body: Mapping[str, Any] | None
    ciphertext: bytes

    @property
    def hint(self) -> str:
        """What sealed it, for messages: `env-key env-var UB_STATE_KEY`, `kms key-id K`, or the bare name."""
        for member in ("key-id", "env-var"):
            value = (self.encrypter_body or {}).get(member)
            if value and isinstance(value, str):
                return f"{self.encrypter_name} {member} {value}"
        return self.encrypter_name or ""


def seal(body: bytes, payload_type: str, encrypter: _Encrypter) -> bytes:
    """Encrypts `body` and returns the envelope, byte for byte as Go writes it.

    Raises EnvelopeError for an empty payload type or a description that is not JSON, and what `encrypt` raises.
    """
    if not payload_type:
        raise EnvelopeError("envelope: payload-type is required")
    ciphertext = encrypter.encrypt(body)
    # Asked after encrypting: only then does KMS know the ARN of its key.
    name, config = encrypter.describe()
    described = Struct(name=name)
    if config:
        described["body"] = dict(config)
    head = Struct({"envelope-version": VERSION, "payload-type": payload_type, "encrypter": described})
    try:
        opening = dumps(head, indent=True).removesuffix(b"\n}\n")
    except JSONError as error:
        raise EnvelopeError(f"envelope: {error}") from None
    return b"".join((opening, b",", _MARK, binascii.b2a_base64(ciphertext, newline=False), _TAIL))


def open_envelope(data: bytes, payload_type: str, encrypter: _Encrypter) -> bytes:
    """The body, decrypted and authenticated as a whole (as far as the encrypter authenticates).

    Raises EnvelopeError when `data` is no envelope or one for another payload, before a key is looked at;
    DecryptionError when another encrypter sealed it, when the key does not fit, or when it was changed. Other errors
    of this package, such as those of a key service, pass with a note that says what sealed the envelope.
    """
    envelope = read_envelope(data)
    if envelope.payload_type not in ("", payload_type):
        raise EnvelopeError(f"envelope: payload-type {envelope.payload_type}, expected {payload_type}")
    sealed_with = "" if envelope.encrypter_name is None else f" (sealed with {envelope.hint})"
    ours = encrypter.describe()[0]
    if envelope.encrypter_name and envelope.encrypter_name != ours:
        raise DecryptionError(
            f"open: the configured encrypter is {ours}, and another one sealed this{sealed_with}; configure that one"
        )
    try:
        return encrypter.decrypt(envelope.ciphertext)
    except DecryptionError as error:
        raise DecryptionError(f"open: decrypt: {error}{sealed_with}", **vars(error)) from error
    except UnobinS3Error as error:
        error.add_note(f"while opening an envelope{sealed_with}")
        raise
    except Exception as error:  # of a user's own encrypter; the message may hold anything
        raise DecryptionError(f"open: decrypt: {type(error).__name__}{sealed_with}") from error


def read_envelope(data: bytes) -> Envelope:
    """Parses an envelope without decrypting. Raises EnvelopeError."""
    try:
        envelope = _read(data)
    except JSONError as error:
        problem = str(error)
    else:
        if envelope.version == VERSION:
            return envelope
        problem = f"unsupported envelope-version {envelope.version} (this build expects {VERSION})"
    raise EnvelopeError(f"envelope: {problem}")


def _read(data: bytes) -> Envelope:
    document, ciphertext = _cut(data) or (loads(data), None)
    members, _ = _MEMBERS.split({} if document is None else document)
    encrypter, _ = _ENCRYPTER.split(members.get("encrypter", {}))
    return Envelope(
        version=_typed(members, "envelope-version", int, 0),
        payload_type=_typed(members, "payload-type", str, ""),
        encrypter_name=_typed(encrypter, "name", str, "" if "encrypter" in members else None),
        encrypter_body=_typed(encrypter, "body", dict, None),
        ciphertext=_bytes(members.get("ciphertext", "")) if ciphertext is None else ciphertext,
    )


def _cut(data: bytes) -> tuple[Any, bytes] | None:
    """An envelope in Go's layout: the document without its ciphertext, and that; None for any other layout.

    Spares a large body its way through JSON text. It is sound because base64 has no quotes: when what is left is a
    document, then what was cut out of it was the text of its last member, `ciphertext`.
    """
    start = data.find(_MARK) + len(_MARK)
    if start < len(_MARK) or not data.endswith(_TAIL):
        return None
    try:
        ciphertext = decode_base64(memoryview(data)[start : -len(_TAIL)])
        return loads(data[:start] + _TAIL), ciphertext
    except JSONError:
        return None


def _typed(members: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = members.get(name, default)
    if name in members and (not isinstance(value, kind) or isinstance(value, bool)):
        raise JSONError(f"has the wrong type: {kind_of(value)}", name)
    return value


def _bytes(value: Any) -> bytes:
    """What Go's []byte takes: base64, or an array of numbers."""
    if isinstance(value, str):
        return decode_base64(value)
    if isinstance(value, list) and all(type(item) is int and 0 <= item < 256 for item in value):
        return bytes(value)
    raise JSONError("must be base64 text", "ciphertext")
