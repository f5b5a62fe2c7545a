# SPDX-License-Identifier: MIT
"""Noop and EnvKey: the Go tool's vectors, strict keys, rotation, tampering, and what must never be shown."""

from __future__ import annotations

import base64
import copy
import io
import mmap
import pickle
import secrets
import subprocess
import sys
import traceback
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unobin_s3 import encrypters, environ
from unobin_s3.encrypters import EnvKey, Noop
from unobin_s3.errors import ConfigurationError, DecryptionError

# Vector `env-key` of the Go original (Go 1.26.2): 32 counted key bytes, nonce a0..ab.
KEY = bytes(range(32))
KEY_TEXT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
NONCE = bytes(range(0xA0, 0xAC))
VECTOR_PLAINTEXT = (
    b'{\n  "format-version": 1,\n  "factory": {\n    "name": "cluster-deploy",\n    "version": "v2.0.3",\n'
    b'    "content-revision": "abc123def456"\n  },\n  "stack": "default",\n'
    b'  "generated-at": "2026-04-30T12:00:00Z",\n'
    b'  "entries": [\n    {\n      "address": "resource.main",\n      "entry-kind": "leaf",\n'
    b'      "category": "resource",\n      "binding": {\n'
    b'        "alias": "aws",\n        "kind": "vpc"\n      },\n'
    b'      "schema-version": 1,\n      "inputs": {\n        "cidr-block": "10.0.0.0/16"\n      },\n'
    b'      "outputs": {\n        "id": "vpc-abc"\n      }\n    }\n  ]\n}\n'
)
VECTOR_BLOB = base64.b64decode(
    "oKGio6SlpqeoqaqrnRJcDWetbc0PBPP+cR+yrRnDNzKol3NAli4GpBnKFnW9BD7dlQIoN3+8JOgrFOKUIjl8aECzdgsyKm4siRTgwNjT/E0cr8TA"
    "1MLdbuq8v9OiZYme5ePvSMBFEKmTtke0r6QLiWDB4e/7tXJ99+2bQVc5DsD8D7seTq29lYZmliijJYVJ8UigN0p19KsyaOKi6brGSYTw2OiYq9yA"
    "w7MWB8w4P5PRDy5z8GtfRwv/15VVHN26MFacCK+yQhRvsktmBgx8+Vrhi7fRcUrvaQZX2yabjY1MQeKYtst4xX3moW1IcRIBmU37XqTYMDoxeGJF"
    "K5+wWvo9BfUIyIMHBFpGsDs16afP7ILARMY58RVCQbhRf25ygZrhRp0GcPjOuqQNu2hmggJhHLmACiFeio28fvpluyZkE7HAF4JBp7WtlSP1/jGy"
    "lxtRfv2/STO3f96HW+OmMbZuF9I5c/2rGxj+bWNy1SP0HSJ42uEjvFODM+ymhWA1pwci4tJ0LjLXx/PJCuuBR9lItiNYeIRICd7Lo3qKfbWnXvcI"
    "Q4HI6lZBQw+NYWBobpfSqEoXU4u7LKpQLcDEoVed91DDZ6WZnxtA13nM2oOfsbfe/LTvfMcALOvn78ZyBTaKVwy9xAHnIJT7dtipdLslMO/4SA8z"
    "zAFbASWnvJhRuf0rwmc0wpG7MzZhFaO8U3l+f9ZT7qfPtPszNJiQq622Sf8Zj1//kP/vVl1mB5o6kXpdWA1/Qswvdw=="
)
OLD_KEY_TEXT = base64.b64encode(bytes(range(100, 132))).decode()


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> EnvKey:
    monkeypatch.setenv("V", KEY_TEXT)
    monkeypatch.delenv("OLD", raising=False)
    return EnvKey("V")


def test_noop_passes_bytes_through_and_records_only_its_name() -> None:
    body = b"\x00clear"
    assert Noop().encrypt(body) is body
    assert Noop().decrypt(body) is body
    assert Noop().describe() == ("noop", None)
    assert (Noop.name, Noop.authenticates, repr(Noop())) == ("noop", False, "Noop()")


def test_opens_what_the_go_tool_sealed(key: EnvKey) -> None:
    assert key.decrypt(VECTOR_BLOB) == VECTOR_PLAINTEXT


def test_seals_as_the_go_tool_given_its_nonce(key: EnvKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_bytes", lambda size: NONCE[:size])
    assert key.encrypt(VECTOR_PLAINTEXT) == VECTOR_BLOB


def test_describes_the_first_variable_without_looking_at_it() -> None:
    encrypter = EnvKey("NEVER_SET", "OLDER")
    assert encrypter.describe() == ("env-key", {"env-var": "NEVER_SET"})
    assert (encrypter.name, encrypter.authenticates) == ("env-key", True)
    assert repr(encrypter) == "EnvKey('NEVER_SET', 'OLDER')"


@pytest.mark.parametrize("body", [b"", b"x", b"\x00" * 100_000])
def test_round_trip_with_a_fresh_nonce_each_time(key: EnvKey, body: bytes) -> None:
    first, second = key.encrypt(body), key.encrypt(body)
    assert key.decrypt(first) == key.decrypt(second) == body
    assert first[:12] != second[:12]
    assert first[12:] != second[12:]
    assert len(first) == len(body) + 28


def test_every_changed_byte_is_noticed(key: EnvKey) -> None:
    blob = key.encrypt(b"state")
    for at in range(len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 1
        with pytest.raises(DecryptionError, match=r"message authentication failed.*key in V"):
            key.decrypt(bytes(changed))


@pytest.mark.parametrize("size", [0, 1, 11, 12, 27])
def test_what_is_too_short_says_so_and_names_the_variable(key: EnvKey, size: int) -> None:
    with pytest.raises(
        DecryptionError, match=rf"^env-key encrypter: ciphertext shorter than nonce .*{size} bytes.*V\)"
    ):
        key.decrypt(VECTOR_BLOB[:size])


def test_cut_at_any_place_is_refused(key: EnvKey) -> None:
    blob = key.encrypt(b"some state")
    for size in range(len(blob)):
        with pytest.raises(DecryptionError, match="key in V"):
            key.decrypt(blob[:size])


@given(st.binary(max_size=200))
@settings(derandomize=True, max_examples=200)
def test_any_other_blob_is_a_decryption_error_and_nothing_else(blob: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DecryptionError):
        patch.setenv("V", KEY_TEXT)
        EnvKey("V").decrypt(blob)


# --- the value of the variable ---


@pytest.mark.parametrize("value", [None, ""])
def test_unset_and_empty_are_the_same_and_say_how_to_make_a_key(
    key: EnvKey, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("V")
    else:
        monkeypatch.setenv("V", value)
    uses: list[Callable[[], bytes]] = [lambda: key.encrypt(b"x"), lambda: key.decrypt(VECTOR_BLOB)]
    for use in uses:
        with pytest.raises(ConfigurationError, match=r"^env-key encrypter: V is not set; .*head -c32 /dev/urandom"):
            use()


@pytest.mark.parametrize("size", [0, 1, 16, 24, 31, 33, 40, 64])
def test_a_key_of_another_size_is_refused_with_its_size(
    key: EnvKey, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setenv("V", base64.b64encode(bytes(size)).decode() or "\n")
    with pytest.raises(ConfigurationError, match=f"^env-key encrypter: V decodes to {size} bytes, want 32;"):
        key.encrypt(b"x")


@pytest.mark.parametrize(
    "value",
    [
        " " + KEY_TEXT,
        KEY_TEXT + " ",
        KEY_TEXT.replace("A", "-", 1),
        KEY_TEXT.replace("A", "_", 1),
        KEY_TEXT.rstrip("="),
        KEY_TEXT + "=",
        KEY_TEXT + "====",
        KEY_TEXT[:-1] + "==",
        "=" + KEY_TEXT,
        KEY_TEXT + "AAAA",
        KEY_TEXT[:20] + "\u00e9" + KEY_TEXT[21:],
        KEY_TEXT[:20] + "\udcff" + KEY_TEXT[21:],
        "\ufeff" + KEY_TEXT,
        KEY.hex() + "!",
    ],
)
def test_what_go_calls_illegal_base64_is_refused(key: EnvKey, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setattr(environ, "read", lambda: {"V": value})
    with pytest.raises(ConfigurationError, match=r"^env-key encrypter: V is not valid base64") as caught:
        key.encrypt(b"x")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # a UnicodeEncodeError would carry the value


@pytest.mark.parametrize(
    "value",
    [
        KEY_TEXT + "\n",
        "\r\n" + KEY_TEXT[:10] + "\r\n" + KEY_TEXT[10:],
        KEY_TEXT[:-2] + "9=",  # bits left over in the last character: Go does not look at them
    ],
)
def test_what_go_tolerates_is_tolerated(key: EnvKey, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("V", value)
    assert key.decrypt(VECTOR_BLOB) == VECTOR_PLAINTEXT


@pytest.mark.parametrize("name", ["", "A=B", "A\0B", None, 7])
def test_what_cannot_name_a_variable_is_refused_at_once(name: object) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a variable"):
        EnvKey(name)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="cannot be the name of a variable"):
        EnvKey("V", name)  # type: ignore[arg-type]


# --- older keys ---


def test_a_changed_variable_is_seen_at_the_next_use(key: EnvKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("V", OLD_KEY_TEXT)
    with pytest.raises(DecryptionError, match="another key, or it was changed"):
        key.decrypt(VECTOR_BLOB)


def test_older_keys_open_and_the_first_one_seals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD", KEY_TEXT)
    monkeypatch.setenv("V", OLD_KEY_TEXT)
    both = EnvKey("V", "UNSET", "OLD")
    assert both.decrypt(VECTOR_BLOB) == VECTOR_PLAINTEXT
    sealed = both.encrypt(b"new")
    assert EnvKey("V").decrypt(sealed) == b"new"
    with pytest.raises(DecryptionError):
        EnvKey("OLD").decrypt(sealed)


def test_reading_needs_any_key_and_writing_the_first(key: EnvKey, monkeypatch: pytest.MonkeyPatch) -> None:
    both = EnvKey("UNSET", "V")
    assert both.decrypt(VECTOR_BLOB) == VECTOR_PLAINTEXT
    with pytest.raises(ConfigurationError, match="UNSET is not set"):
        both.encrypt(b"x")


def test_when_no_key_fits_all_are_named(key: EnvKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD", OLD_KEY_TEXT)
    blob = EnvKey("V", "OLD", "UNSET").encrypt(b"x")
    with pytest.raises(DecryptionError, match=r"tried the key in V and OLD; not set: UNSET"):
        EnvKey("V", "OLD", "UNSET").decrypt(blob[:-1])


def test_a_broken_older_key_is_named_when_it_is_needed(key: EnvKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD", "AAAA")
    assert EnvKey("V", "OLD").decrypt(VECTOR_BLOB) == VECTOR_PLAINTEXT
    with pytest.raises(ConfigurationError, match="OLD decodes to 3 bytes"):
        EnvKey("V", "OLD").decrypt(VECTOR_BLOB[:-1])


# --- limits, secrets, imports ---


def test_two_gigabytes_are_refused_in_our_own_words(key: EnvKey) -> None:
    with mmap.mmap(-1, 2**31) as huge:  # never touched, so no memory is taken
        with pytest.raises(ConfigurationError, match="2147483648 bytes are too many"):
            key.encrypt(huge)  # type: ignore[arg-type]
        with pytest.raises(DecryptionError):
            key.decrypt(huge)  # type: ignore[arg-type]


def test_neither_pickle_nor_attributes_hold_a_key(key: EnvKey) -> None:
    key.encrypt(b"x")
    for clone in (pickle.loads(pickle.dumps(key)), copy.deepcopy(key)):
        assert clone.decrypt(VECTOR_BLOB) == VECTOR_PLAINTEXT
    assert KEY_TEXT.encode() not in pickle.dumps(key)
    assert KEY not in pickle.dumps(key)
    assert [getattr(key, name) for name in EnvKey.__slots__] == [("V",)]


@pytest.mark.parametrize("value", [KEY_TEXT + "!", KEY_TEXT + "AAAA", KEY_TEXT])
def test_no_traceback_shows_a_key_even_with_local_variables(
    key: EnvKey, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setattr(environ, "read", lambda: {"V": value})
    with pytest.raises((ConfigurationError, DecryptionError)) as caught:
        key.decrypt(b"\0" * 40)
    shown = io.StringIO()
    for frame in traceback.TracebackException.from_exception(caught.value, capture_locals=True).format():
        if "test_encrypters" not in frame:
            shown.write(frame)
    assert "encrypters.py" in shown.getvalue()
    for secret in (value, KEY_TEXT[:-1], repr(KEY)[2:-1]):
        assert secret not in shown.getvalue()


@pytest.mark.parametrize("broken", ["raise ImportError('wrong ELF class')", "raise PanicException('no _cffi_backend')"])
def test_a_broken_cryptography_says_what_to_install(broken: str, tmp_path: object) -> None:
    script = f"""
import os, sys
class PanicException(BaseException): pass
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("cryptography"): {broken}
sys.meta_path.insert(0, Broken())
from unobin_s3.encrypters import EnvKey, Noop
from unobin_s3.errors import ConfigurationError
Noop().encrypt(b"works")
os.environ["V"] = {KEY_TEXT!r}
try:
    EnvKey("V").encrypt(b"x")
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "the cryptography package cannot be used here" in done.stdout
    assert "pip install --force-reinstall cryptography" in done.stdout


def test_interrupting_the_import_is_not_taken_for_a_broken_package(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name.startswith("cryptography"):
                raise KeyboardInterrupt

    for name in [name for name in sys.modules if name.startswith("cryptography.hazmat.primitives.ciphers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(KeyboardInterrupt):
        encrypters._aesgcm()


def test_cryptography_is_imported_by_the_first_key_only() -> None:
    script = f"""
import os, sys
from unobin_s3.encrypters import EnvKey, Noop
Noop().decrypt(b"x"); key = EnvKey("V"); key.describe()
assert not [name for name in sys.modules if name.startswith("cryptography")], "too early"
os.environ["V"] = {KEY_TEXT!r}; key.encrypt(b"x")
assert "cryptography" in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
