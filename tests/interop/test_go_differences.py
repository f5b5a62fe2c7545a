# SPDX-License-Identifier: MIT
"""Each row of DIFFERENCES.md, shown on both sides. The names of the tests are the names of the rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.interop.go_driver import GoError, GoProgram, in_go
from tests.interop.sides import Pairing, Sides, snapshot
from tests.servers.launch import Site
from unobin_s3 import (
    ConfigurationError,
    EnvelopeError,
    EnvKey,
    LockHeld,
    LockLost,
    Noop,
    PointerInvalid,
    PointerMissing,
    PointerMoved,
    SnapshotFormatError,
    StateError,
    Store,
    decode_snapshot,
    encode_snapshot,
    open_envelope,
)


@pytest.fixture
def sides(pair: Pairing, site: Site, stack: str) -> Sides:
    return pair(site, stack)


def sealed_sides(pair: Pairing, site: Site, stack: str, keyed: str, **more: Any) -> Sides:
    encrypter: dict[str, object] = {"name": "env-key", "env-var": keyed}
    return pair(site, stack, encrypter=EnvKey(keyed), go_encrypter=encrypter, **more)


def recoded(go: GoProgram, data: bytes) -> bytes:
    (outcome,) = go.batch("recode", [data])
    assert isinstance(outcome, bytes)
    return outcome


def test_the_table_has_a_test_for_each_row_and_a_row_for_each_test() -> None:
    table = (Path(__file__).parent / "DIFFERENCES.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z_]+) \|", table, re.MULTILINE)[1:]  # the first is the heading
    tests = {name[len("test_") :] for name in globals() if name.startswith("test_")}
    assert len(rows) == len(set(rows)) > 10
    assert set(rows) == tests - {"the_table_has_a_test_for_each_row_and_a_row_for_each_test"}


def test_deep_nesting(go: GoProgram) -> None:
    data = snapshot("s").replace(b'"number": 0', b'"number": ' + b"[" * 2_000 + b"]" * 2_000)
    assert len(recoded(go, data)) > 4_000
    with pytest.raises(SnapshotFormatError, match="nested too deeply"):
        decode_snapshot(data)


def test_null_among_bytes(go: GoProgram) -> None:
    data = b'{"envelope-version":1,"ciphertext":[104,null]}'
    assert in_go(go, "unseal", data, encrypter={"name": "noop"}, payload_type="state") == b"h\0"
    with pytest.raises(EnvelopeError):
        open_envelope(data, "state", Noop())


def test_repeated_member(go: GoProgram) -> None:
    """Of one type, both take the last; that Go minds the type of the first is for no writer that exists."""
    data = snapshot("s").replace(b'"stack": "s"', b'"stack": "r", "STACK": "s"')
    assert recoded(go, data) == encode_snapshot(decode_snapshot(data)) == snapshot("s")
    odd = data.replace(b'"r"', b"[]")
    assert in_go(go, "recode", odd) is None
    assert encode_snapshot(decode_snapshot(odd)) == snapshot("s")


def test_revision_digits(go: GoProgram, sides: Sides) -> None:
    assert re.fullmatch(r"[0-9-]{10}T[0-9:]{8}\.[0-9]{9}Z", sides.write("python", snapshot(sides.stack)))
    assert go.call("format-time", nanos=[1_777_629_600_100_000_000]) == ["2026-05-01T10:00:00.1Z"]


def test_unknown_members(go: GoProgram) -> None:
    data = snapshot("s").replace(b'"entries"', b'"later": {\n    "a": 1\n  },\n  "entries"')
    assert b'"later"' in encode_snapshot(decode_snapshot(data))
    assert recoded(go, data) == snapshot("s")


def test_big_integers(go: GoProgram) -> None:
    data = snapshot("s").replace(b'"number": 0', b'"number": 9007199254740993')
    assert encode_snapshot(decode_snapshot(data)) == data
    assert recoded(go, data) == data.replace(b"993", b"992")


def test_blank_pointer(sides: Sides) -> None:
    sides.write("python", snapshot(sides.stack))
    sides.put_raw("current", b" \n")
    with pytest.raises(GoError, match="no current snapshot"):
        sides.go.current_rev()
    with pytest.raises(PointerInvalid):
        sides.python.current_rev()


def test_missing_pointer(sides: Sides) -> None:
    sides.write("python", snapshot(sides.stack))
    with pytest.raises(GoError, match="no current snapshot"):
        sides.go.current_rev()
    with pytest.raises(PointerMissing):
        sides.python.current_rev()


def test_dangling_pointer(sides: Sides) -> None:
    sides.put_raw("current", b"2026-05-01T10:00:00Z\n")
    with pytest.raises(GoError, match="NoSuchKey"):
        sides.go.current()
    with pytest.raises(PointerInvalid, match="2026-05-01T10:00:00Z"):
        sides.python.current()


def other_stacks_snapshot(pair: Pairing, sides: Sides) -> str:
    """A path that leads from this stack's snapshots to one of another stack."""
    other = pair(sides.site, f"{sides.stack}-other")
    return f"../../{other.stack}/snapshots/{other.write('python', snapshot(other.stack))}"


def test_hostile_pointer(pair: Pairing, sides: Sides) -> None:
    rev = other_stacks_snapshot(pair, sides)
    sides.put_raw("current", f"{rev}\n".encode())
    assert sides.go.current() == snapshot(f"{sides.stack}-other")
    with pytest.raises(PointerInvalid):
        sides.python.current()


def test_hostile_revision(pair: Pairing, sides: Sides) -> None:
    rev = other_stacks_snapshot(pair, sides)
    assert sides.go.get(rev) == snapshot(f"{sides.stack}-other")
    for call in (sides.python.get, sides.python.set_current, sides.python.delete):
        with pytest.raises(ConfigurationError):
            call(rev)


def test_foreign_keys(sides: Sides) -> None:
    rev = sides.write("python", snapshot(sides.stack))
    for name in ("plain", "a/b"):
        sides.put_raw(f"snapshots/{name}.json.enc", b"")
    assert sides.go.list() == [rev, "a/b", "plain"]
    assert sides.python.list() == [rev, "plain"]


@pytest.mark.parametrize(("factory", "stack_name"), [("f/..", "s"), ("f", "../s"), ("f", "s/snapshots")])
def test_names_that_climb(go: GoProgram, pair: Pairing, site: Site, factory: str, stack_name: str) -> None:
    keys = (site.access_key, site.secret_key)
    store = go.open(site.url, site.bucket, factory=factory, stack=stack_name, keys=keys)
    assert store.list() == []
    with pytest.raises(ConfigurationError):
        Store(
            pair(site, "s").python.place.client,
            bucket="b",
            factory=factory,
            stack=stack_name,
            encrypter=Noop(),
        )


def test_another_stacks_snapshot(sides: Sides) -> None:
    rev = sides.write("go", snapshot("elsewhere"))
    assert sides.go.get(rev) == snapshot("elsewhere")
    with pytest.raises(StateError, match="elsewhere"):
        sides.python.get(rev)
    assert encode_snapshot(sides.python.get(rev, any_stack=True)) == snapshot("elsewhere")


def test_plain_after_sealed(pair: Pairing, site: Site, stack: str, keyed: str) -> None:
    sealed = sealed_sides(pair, site, stack, keyed)
    sealed.python.set_current(sealed.write("python", snapshot(stack)))
    plain = pair(site, stack)
    with pytest.raises(StateError):
        plain.write("python", snapshot(stack))
    assert plain.get("python", plain.write("go", snapshot(stack))) == snapshot(stack)
    allowed = pair(site, stack, allow_plaintext=True)
    assert allowed.write("python", snapshot(stack))


def test_recorded_encrypter(pair: Pairing, site: Site, stack: str, keyed: str) -> None:
    sealed, plain = sealed_sides(pair, site, stack, keyed), pair(site, stack)
    rev = sealed.write("python", snapshot(stack))
    with pytest.raises(GoError, match="snapshot: invalid character"):
        plain.go.get(rev)
    with pytest.raises(StateError, match=r"(?s)env-key.*noop|noop.*env-key"):
        plain.python.get(rev)
    rev = plain.go.write(snapshot(stack))
    with pytest.raises(GoError, match=r"message authentication failed \(sealed with noop\)"):
        sealed.go.get(rev)
    with pytest.raises(StateError, match=r"(?s)env-key.*noop|noop.*env-key"):
        sealed.python.get(rev)


def test_pointer_under_lock(sides: Sides) -> None:
    first, second, third = (sides.write("python", snapshot(sides.stack, n)) for n in range(3))
    sides.python.set_current(first)
    with sides.python.lock(timeout=5):
        assert sides.python.current_rev() == first
        sides.go.set_current(second)
        with pytest.raises(PointerMoved):
            sides.python.set_current(third)
        assert sides.go.current_rev() == second
    sides.go.lock(timeout=5)
    assert sides.go.current_rev() == second
    sides.python.set_current(first)  # by somebody without the lock
    sides.go.set_current(third)
    assert sides.go.current_rev() == third
    sides.go.unlock()


def test_pointer_going_back(sides: Sides) -> None:
    first, second = (sides.write("python", snapshot(sides.stack, n)) for n in range(2))
    sides.python.set_current(second)
    with sides.python.lock(timeout=5):
        sides.python.set_current(first)
    assert re.fullmatch(re.escape(first.encode()) + rb"\n[ \t]{40}\n", sides.raw("current"))
    assert sides.go.current_rev() == sides.python.current_rev() == first
    sides.go.set_current(second)
    sides.go.set_current(first)
    assert sides.raw("current") == f"{first}\n".encode()


def test_unlock_of_a_foreign_lock(pair: Pairing, sides: Sides) -> None:
    lock = sides.python.lock(timeout=5)
    sides.python.force_unlock()
    held = sides.go.lock(timeout=5)
    with pytest.raises(LockLost):
        lock.release()
    info = sides.python.lock_info()
    assert info is not None
    assert info.id == held
    pair(sides.site, sides.stack).go.unlock()  # another Go store, which never had the lock
    assert sides.python.lock_info() is None


@pytest.mark.parametrize("body", [b"null", b"{}"])
def test_odd_lock_bodies(sides: Sides, body: bytes) -> None:
    sides.put_raw("lock", body)
    with pytest.raises(GoError, match="state locked by  since 0001-01-01T00:00:00Z"):
        sides.go.lock(timeout=0.05)
    with pytest.raises(LockHeld) as refused:
        sides.python.lock(timeout=0.1, poll=0.02)
    assert (refused.value.who, refused.value.since) == ("", "")
    assert "0001" not in str(refused.value)
    sides.go.force_unlock()
