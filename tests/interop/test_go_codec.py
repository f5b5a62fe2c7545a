# SPDX-License-Identifier: MIT
"""Snapshots and envelopes: thousands of generated ones, the same from Go and from us."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interop import generated
from tests.interop.generated import many
from tests.interop.go_driver import GoError, GoProgram, in_go
from unobin_s3.encrypters import EnvKey, Noop
from unobin_s3.errors import DecryptionError, EnvelopeError, SnapshotFormatError
from unobin_s3.state.envelope import open_envelope, seal
from unobin_s3.state.snapshot import decode_snapshot, encode_snapshot

NOOP: dict[str, object] = {"name": "noop"}


def in_python(data: bytes) -> bytes | None:
    try:
        return encode_snapshot(decode_snapshot(data))
    except SnapshotFormatError:
        return None


@many(600)
@given(texts=generated.valid)
def test_a_valid_snapshot_gives_the_same_bytes(go: GoProgram, texts: list[bytes]) -> None:
    ours = [in_python(text) for text in texts]
    assert ours == go.batch("recode", texts)
    assert None not in ours
    assert len(set(ours)) == 1  # whatever the layout it was read from
    assert in_python(ours[0] or b"") == ours[0]


@many(500)
@given(texts=generated.spoilt)
def test_a_spoilt_snapshot_gets_the_same_verdict(go: GoProgram, texts: list[bytes]) -> None:
    for text, outcome in zip(texts, go.batch("recode", texts), strict=True):
        ours = in_python(text)
        assert (ours is None) == isinstance(outcome, GoError), (text, ours, outcome)
        if ours is not None and ours != outcome:
            # Unknown members and integers beyond 2**53 stay in ours only: Go's reading of ours counts.
            assert go.batch("recode", [ours]) == [outcome], text


def without_ciphertext(sealed: bytes) -> tuple[dict[str, Any], bytes]:
    members = json.loads(sealed)
    secret = members["ciphertext"].encode()
    return members, sealed.replace(secret, b"")


@many(150)
@given(body=st.binary(max_size=200), payload_type=st.sampled_from(["state", "plan"]))
def test_noop_envelopes_are_the_same_bytes(go: GoProgram, body: bytes, payload_type: str) -> None:
    sealed = seal(body, payload_type, Noop())
    assert sealed == in_go(go, "seal", body, encrypter=NOOP, payload_type=payload_type)
    assert in_go(go, "unseal", sealed, encrypter=NOOP, payload_type=payload_type) == body
    assert open_envelope(sealed, payload_type, Noop()) == body


@many(150)
@given(body=st.binary(max_size=200))
def test_env_key_envelopes_open_on_the_other_side(go: GoProgram, keyed: str, body: bytes) -> None:
    encrypter: dict[str, object] = {"name": "env-key", "env-var": keyed}
    ours = seal(body, "state", EnvKey(keyed))
    theirs = in_go(go, "seal", body, encrypter=encrypter, payload_type="state")
    assert theirs is not None
    assert in_go(go, "unseal", ours, encrypter=encrypter, payload_type="state") == body
    assert open_envelope(theirs, "state", EnvKey(keyed)) == body
    # Same layout, same length; only nonce and what follows from it differ.
    assert without_ciphertext(ours)[1] == without_ciphertext(theirs)[1]
    assert len(ours) == len(theirs)


_base64 = st.text("Ag=/+-_ \n\r\t", max_size=9) | st.binary(max_size=9).map(lambda b: base64.b64encode(b).decode())
_members: dict[str, st.SearchStrategy[Any]] = {
    "envelope-version": st.sampled_from([1, 1, 1, 1, 1, 2, 0, 1.5, "1", None, True]),
    "payload-type": st.sampled_from(["state", "state", "", "plan", "State", None, 5]),
    "encrypter": st.sampled_from([{"name": "noop"}, {}, None, {"name": "noop", "body": None}, {"name": 1}, [], "noop"]),
    "ciphertext": _base64
    | _base64
    | st.none()
    | st.lists(st.integers(-1, 256), max_size=3)
    | st.sampled_from([0, {}, True, [1.5], ["a"], [[]]]),
    "unknown": generated.texts,
}
_envelopes = st.builds(
    lambda members, seed: generated.laid_out(members, Random(seed)),
    st.fixed_dictionaries({}, optional=_members),
    st.integers(0, 99),
)


@many(700)
@given(data=_envelopes)
def test_an_odd_envelope_gets_the_same_verdict(go: GoProgram, data: bytes) -> None:
    theirs = in_go(go, "unseal", data, encrypter=NOOP, payload_type="state")
    try:
        ours: bytes | None = open_envelope(data, "state", Noop())
    except (EnvelopeError, DecryptionError):
        ours = None
    assert ours == theirs


@pytest.mark.parametrize("shape", [b"[]", b'{"a":}'])
def test_nested_values(go: GoProgram, shape: bytes) -> None:
    middle = len(shape) - 1
    nested = shape[:middle] * 150 + b"0" + shape[middle:] * 150
    data = b'{"format-version":1,"outputs":{"a":' + nested + b"}}"
    assert in_python(data) == in_go(go, "recode", data) is not None
