# SPDX-License-Identifier: MIT
"""What is shown: status, lock-info, snapshots, list, show, pull, diff; masked, escaped, in text and JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.cli.conftest import Bench, snapshot
from unobin_s3 import Binding, Entry, decode_snapshot, encode_snapshot
from unobin_s3.cli.look import compare
from unobin_s3.cli.screen import ago, clean

EVIL = "resource.\x1b[2J\x9b31m\u202etxt\u2066\u200b\r\n\x00db"


def test_status_of_nothing(bench: Bench) -> None:
    found = bench.run.json("status")
    assert (found["pointer"], found["current"], found["lock"], found["snapshots"]["count"]) == ("none", None, None, 0)
    assert "nothing was written yet" in bench.run("status").out


def test_status_tells_what_is_there(bench: Bench) -> None:
    first, second, third = bench.write("a", "b", "c")
    bench.server.put("net/prod/snapshots/stray.json.enc", b"x")
    bench.store().set_current(first)
    found = bench.run.json("status")
    assert (found["pointer"], found["current"], found["newer"]) == ("ok", first, [second, third])
    assert found["snapshots"] == {"count": 3, "oldest": first, "newest": third, "foreign": 1}
    assert found["encrypter"] == "env-key env-var UB_STATE_KEY"
    text = bench.run("status").out
    for part in ("s3://state/net/prod", f"{first}, ", "free", "2 newer than current", "1 other names", "UB_STATE_KEY"):
        assert part in text


@pytest.mark.parametrize(
    ("pointer", "state"),
    [(None, "missing"), (b" \n", "invalid"), (b"../x\n", "invalid"), (b"2026-01-01T00:00:00Z\n", "dangling")],
)  # fmt: skip
def test_status_of_a_broken_pointer(bench: Bench, pointer: bytes | None, state: str) -> None:
    bench.write("a")
    bench.server.delete("net/prod/current")
    if pointer is not None:
        bench.server.put("net/prod/current", pointer)
    done = bench.run("status", "--json")
    assert (done.code, done.document["pointer"]) == (5, state)
    assert "rollback REV" in done.document["diagnostics"][0]["message"]
    text = bench.run("status")
    assert text.code == 5 and "rollback REV" in text.out
    assert bench.run("pull").code == 5
    assert bench.run("gc", "--keep", "0", "--grace", "0").code == 5
    assert len(bench.revs()) == 1


def test_a_lease_shows_whether_its_holder_lives(bench: Bench) -> None:
    with bench.store().lock(lease=30, heartbeat=False):
        found = bench.run.json("lock-info")["lock"]
        assert (found["state"], found["lease"]) == ("alive", 30) and "@" in found["who"]
        assert "alive: a lease of 30 s" in bench.run("lock-info").out
        late = bench.server.now() + 60
        bench.server.now = lambda: late
        assert bench.run.json("status")["lock"]["state"] == "expired"
        assert "dead: its lease of 30 s ran out" in bench.run("status").out
    with bench.store().lock():
        assert bench.run.json("lock-info")["lock"]["state"] == "no-lease"
        assert "ask them" in bench.run("status").out


@pytest.mark.parametrize("body", [b"", b"not json", b"[1]", b"\xff\xfe", b"{}", b'{"id": 7, "who": null}'])
def test_a_lock_that_cannot_be_read(bench: Bench, body: bytes) -> None:
    bench.server.put("net/prod/lock", body)
    assert bench.run.json("lock-info")["lock"]["state"] == "unreadable"
    assert "no lock" in bench.run("status").out
    assert bench.run.json("force-unlock", "--yes")["unlocked"] and not bench.locked()


def test_a_lock_of_a_hundred_megabytes_is_not_read(bench: Bench) -> None:
    bench.server.put("net/prod/lock", bytes(100_000_000))
    assert bench.run.json("lock-info")["lock"]["state"] == "unreadable"
    assert bench.run.json("force-unlock", "--yes")["unlocked"] and not bench.locked()


def test_a_holder_cannot_write_on_the_terminal(bench: Bench) -> None:
    bench.server.put("net/prod/lock", json.dumps({"id": "1", "who": EVIL, "created": "", "run-url": EVIL}).encode())
    for arguments in (
        ["status"],
        ["lock-info"],
        ["status", "--json"],
        ["lock-info", "--json"],
        ["force-unlock", "--yes"],
    ):
        done = bench.run(*arguments)
        assert done.code == 0 and all(line.isprintable() for line in (done.out + done.err).split("\n"))
        bench.server.put("net/prod/lock", json.dumps({"id": "1", "who": EVIL}).encode())
    assert bench.run.json("lock-info")["lock"]["who"] == EVIL  # escapes of JSON are the same text


def test_names_and_values_are_escaped(bench: Bench) -> None:
    entry = Entry(
        address=EVIL,
        entry_kind="leaf",
        category="resource",
        binding=Binding(alias=EVIL, kind=EVIL),
        inputs={EVIL: EVIL},
    )
    (first,) = bench.write("a")
    store = bench.store()
    rev = store.write(replace(snapshot(), entries=[entry]))
    store.set_current(rev)
    for command in (
        ["list"],
        ["show", EVIL],
        ["show", "resource.x"],
        ["diff", first, rev],
        ["diff", first, EVIL],
        ["pull", EVIL],
    ):
        for more in ([], ["--json"]):
            done = bench.run(*command, *more)
            assert all(line.isprintable() for line in (done.out + done.err).split("\n")), command
    assert bench.run.json("show", EVIL)["entry"]["inputs"] == {EVIL: EVIL}


def test_list_and_show_mask_what_is_sensitive(bench: Bench) -> None:
    first, second = bench.write("a", "b")
    listed = bench.run.json("list")
    assert (listed["state-rev"], listed["factory"]["version"]) == (second, "1.2.3")
    binding = {"library-path": None, "alias": "aws", "export": "db"}
    summary = {"address": "resource.db", "entry-type": "leaf", "category": "resource", "binding": binding}
    assert listed["entries"] == [summary]
    shown = bench.run.json("show", "resource.db", "--rev", first)
    assert shown["state-rev"] == first
    assert shown["entry"] == summary | {
        "schema-version": 0, "trigger-hash": None, "depends-on": ["resource.net"], "sensitive-inputs": ["password"],
        "inputs": {"size": 5, "password": "<sensitive>", "tags": {"Name": "a"}}, "sensitive-outputs": [],
        "outputs": {"url": "https://a.example"},
    }  # fmt: skip
    assert bench.run.json("show", "resource.db", "--show-sensitive")["entry"]["inputs"]["password"] == "secret-b"
    text = bench.run("show", "resource.db").out
    assert "<sensitive>" in text and "secret" not in text and '{"Name":"b"}' in text
    assert "secret-b" in bench.run("show", "resource.db", "--show-sensitive").out
    assert "resource.db  leaf  resource  aws.db" in bench.run("list").out


def test_list_of_nothing_is_fine_and_an_unknown_entry_is_not(bench: Bench) -> None:
    assert bench.run.json("list")["entries"] == [] and bench.run.json("list")["state-rev"] is None
    assert bench.run.json("snapshots")["snapshots"] == []
    bench.write("a")
    done = bench.run("show", "resource.bd", "--json")
    assert (done.code, done.document["code"]) == (5, "unobin.command.failed")
    assert "did you mean resource.db?" in done.err


def test_snapshots_are_in_order_of_time(bench: Bench) -> None:
    bench.plant(3)
    bench.server.put("net/prod/snapshots/2026-01-01T00:01:30.5Z.json.enc", b"")
    bench.server.put("net/prod/snapshots/zzz.json.enc", b"")
    found = [one["revision"][11:22] for one in bench.run.json("snapshots")["snapshots"]]
    assert found == ["00:00:00.00", "00:01:00.00", "00:01:30.5Z", "00:02:00.00", ""]
    assert "  current" in bench.run("snapshots").out.splitlines()[4]


def test_pull_prints_the_stored_bytes(bench: Bench) -> None:
    first, _ = bench.write("a", "b")
    assert decode_snapshot(bench.run("pull", "--json").out.encode()) == decode_snapshot(encode_snapshot(snapshot("b")))
    assert bench.run("pull", first).out.encode() == encode_snapshot(snapshot("a"))


def test_diff_by_member(bench: Bench) -> None:
    first, _ = bench.write("a", "b")
    found = bench.run.json("diff", first, "current")
    assert [change["change"] for change in found["changes"]] == ["changed"]
    assert found["changes"][0]["members"] == [
        {"member": "inputs.password", "before": "<sensitive>", "after": "<sensitive>"},
        {"member": "inputs.tags.Name", "before": "a", "after": "b"},
        {"member": "outputs.url", "before": "https://a.example", "after": "https://b.example"},
    ]
    text = bench.run("diff", first, "current").out
    assert text.startswith("~ resource.db\n") and "secret" not in text and '"a" -> "b"' in text
    assert '"secret-a" -> "secret-b"' in bench.run("diff", first, "current", "--show-sensitive").out
    assert bench.run("diff", first, first).out == "no difference\n"


def test_diff_knows_all_kinds_of_change() -> None:
    base = snapshot("a")
    assert base.entries is not None
    entry = base.entries[0]
    plain = replace(entry, sensitive_inputs=[])
    nested = replace(plain, inputs={**plain.inputs, "password": {"a": "secret-x"}})
    cases = [
        (replace(base, entries=[]), base, "added"),
        (base, replace(base, entries=[]), "removed"),
        (base, replace(base, entries=[nested]), "changed"),
        (base, replace(base, outputs={"token": "secret-y"}), "changed"),
        (base, replace(base, extra={"later": "secret-z"}), "changed"),
    ]
    for before, after, change in cases:
        (found,) = compare(before, after, show=False)
        assert found["change"] == change and "secret-" not in json.dumps(found)
        assert "secret-" in json.dumps(compare(before, after, show=True))
    sized = replace(base, entries=[replace(entry, inputs={**entry.inputs, "size": 5.0, "on": True})])
    (found,) = compare(base, sized, show=False)
    assert [one["member"] for one in found["members"]] == ["inputs.on", "inputs.size"]  # 5 is not 5.0 in JSON
    assert compare(base, base, show=False) == []


def test_ages_and_text() -> None:
    assert [ago(seconds) for seconds in (None, 0, 59.9, 60, 3725, 90061, -5)] == [
        "?", "0 s", "59 s", "1 m", "1 h 2 m", "1 d 1 h", "-5 s",
    ]  # fmt: skip
    assert clean("a\tb\x1b\x7f\u202e\udc80 é日") == "a\\tb\\x1b\\x7f\\u202e\\udc80 é日"
