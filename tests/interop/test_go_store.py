# SPDX-License-Identifier: MIT
"""Snapshots, pointers and history in one bucket, written by one side and read by the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interop import generated
from tests.interop.generated import many
from tests.interop.go_driver import GoError
from tests.interop.sides import FACTORY, Pairing, Sides, snapshot
from tests.servers.launch import Site
from unobin_s3 import KMS, Credentials, EnvKey, NoCurrentSnapshot, NotFound, PointerInvalid, sort_revisions
from unobin_s3.aws.caller import Clock


@pytest.fixture(params=["noop", "env-key"])
def sides(request: pytest.FixtureRequest, pair: Pairing, site: Site, stack: str, keyed: str) -> Sides:
    if request.param == "noop":
        return pair(site, stack)
    return pair(site, stack, encrypter=EnvKey(keyed), go_encrypter={"name": "env-key", "env-var": keyed})


@many(40)
@given(document=generated.documents(), go_writes=st.booleans())
def test_what_one_writes_the_other_reads(sides: Sides, document: dict[str, Any], go_writes: bool) -> None:
    document["stack"], document["factory"]["name"] = sides.stack, FACTORY
    data = json.dumps(document).encode()
    writer, reader = ("go", "python") if go_writes else ("python", "go")
    rev = sides.write(writer, data)
    assert sides.get(reader, rev) == sides.get(writer, rev)
    assert sides.go.program.batch("recode", [data]) == [sides.get(reader, rev)]


def test_mixed_history(sides: Sides) -> None:
    written = [sides.write(("go", "python")[n % 3 > 0], snapshot(sides.stack, n)) for n in range(12)]
    again = sides.go.write(snapshot(sides.stack, 99), rev=written[4])
    assert again == f"{written[4]}_1"
    expected = sort_revisions([*written, again])
    assert expected[5] == again
    assert sides.go.list() == sides.python.list() == expected
    for n, rev in enumerate(written):
        assert sides.get("go", rev) == sides.get("python", rev) == snapshot(sides.stack, n)
    sides.go.delete(written[1])
    sides.python.delete(written[0])
    assert sides.go.list() == sides.python.list() == expected[2:]
    with pytest.raises(NotFound):
        sides.python.get(written[1])
    with pytest.raises(GoError) as missing:
        sides.go.get(written[0])
    assert missing.value.kind == "absent"


class Standing(Clock):
    """A clock whose nanoseconds do not move on."""

    def time_ns(self) -> int:
        return 1_777_629_600_000_000_001


def test_suffix_collisions(pair: Pairing, site: Site, stack: str) -> None:
    sides = pair(site, stack, clock=Standing())
    rev = "2026-05-01T10:00:00.000000001Z"
    turns = ["python", "go", "python", "python", "go"]
    expected = [rev, f"{rev}_1", f"{rev}_2", f"{rev}_3", f"{rev}_4"]
    for n, (side, name) in enumerate(zip(turns, expected, strict=True)):
        data = snapshot(stack, n)
        assert (sides.write(side, data) if side == "python" else sides.go.write(data, rev=rev)) == name
        assert sides.get("go", name) == sides.get("python", name) == data
    assert sides.go.list() == sides.python.list() == expected


def test_pointers(sides: Sides) -> None:
    with pytest.raises(NoCurrentSnapshot):
        sides.python.current_rev()
    with pytest.raises(GoError) as none:
        sides.go.current_rev()
    assert none.value.kind == "no-current"
    first = sides.write("python", snapshot(sides.stack, 1))
    sides.python.set_current(first)
    assert sides.raw("current") == f"{first}\n".encode()
    assert sides.go.current_rev() == first
    assert sides.go.current() == snapshot(sides.stack, 1)
    second = sides.write("go", snapshot(sides.stack, 2))
    sides.go.set_current(second)
    assert sides.raw("current") == f"{second}\n".encode()
    assert sides.python.current_rev() == second
    with pytest.raises(NotFound, match="2026-01-01T00:00:00Z"):
        sides.python.set_current("2026-01-01T00:00:00Z")
    with pytest.raises(GoError, match="set-current 2026-01-01T00:00:00Z"):
        sides.go.set_current("2026-01-01T00:00:00Z")
    assert sides.python.current_rev() == sides.go.current_rev() == second


@pytest.mark.parametrize("blanks", [" {}\n", "{}", "\u00a0{}\r\n", "\n\n\t{}\u2003\u3000\n", "{}\u0085"])
def test_pointers_with_blanks(pair: Pairing, site: Site, stack: str, blanks: str) -> None:
    sides = pair(site, stack)
    rev = sides.write("go", snapshot(stack))
    sides.put_raw("current", blanks.format(rev).encode())
    assert sides.go.current_rev() == sides.python.current_rev() == rev


@pytest.mark.parametrize("mark", ["\x1c", "\u200b", "\ufeff", "\x00"])
def test_what_is_no_blank_stays_in_the_pointer(pair: Pairing, site: Site, stack: str, mark: str) -> None:
    sides = pair(site, stack)
    rev = sides.write("go", snapshot(stack))
    sides.put_raw("current", f"{rev}{mark}\n".encode())
    assert sides.go.current_rev() == rev + mark
    with pytest.raises(GoError):
        sides.go.current()
    with pytest.raises(PointerInvalid):
        sides.python.current()


def test_a_whole_turn_under_the_lock(sides: Sides) -> None:
    """A Go run, a Python run, a Go run: what the format promises to a stack that both keep."""
    for n in range(6):
        data = snapshot(sides.stack, n)
        if n % 2:
            sides.go.lock(timeout=5)
            if n:
                assert sides.go.current() == snapshot(sides.stack, n - 1)
            sides.go.set_current(sides.write("go", data))
            sides.go.unlock()
        else:
            with sides.python.lock(timeout=5):
                if n:
                    assert sides.get("python", sides.python.current_rev()) == snapshot(sides.stack, n - 1)
                sides.python.set_current(sides.write("python", data))
    assert sides.get("python", sides.python.current_rev()) == snapshot(sides.stack, 5)


@pytest.fixture
def kms_sides(pair: Pairing, servers: Callable[[str], Site], stack: str) -> Iterator[Sides]:
    site = servers("moto")
    key = site.boto3("kms").create_key()["KeyMetadata"]["KeyId"]
    config = {"aws": {"region": "us-east-1", "endpoints": {"kms": "https://kms.test/?a=1&b=2"}}}
    keys = Credentials(site.access_key, site.secret_key)
    encrypter = KMS(key, region="us-east-1", credentials=keys, endpoint_url=site.url, config=config)
    in_go: dict[str, object] = {"name": "kms", "key-id": key, "body": config}
    yield pair(site, stack, encrypter=encrypter, go_encrypter=in_go)


def test_kms(kms_sides: Sides) -> None:
    revs = {side: kms_sides.write(side, snapshot(kms_sides.stack, 7)) for side in ("go", "python")}
    for rev in revs.values():
        assert kms_sides.get("go", rev) == kms_sides.get("python", rev) == snapshot(kms_sides.stack, 7)
    recorded = [json.loads(kms_sides.raw(f"snapshots/{rev}.json.enc")) for rev in revs.values()]
    assert recorded[0]["encrypter"] == recorded[1]["encrypter"]
    assert recorded[0]["encrypter"]["body"]["key-id"].startswith("arn:aws:kms:")
    layouts = [
        kms_sides.raw(f"snapshots/{rev}.json.enc").replace(one["ciphertext"].encode(), b"")
        for rev, one in zip(revs.values(), recorded, strict=True)
    ]
    assert layouts[0] == layouts[1]
