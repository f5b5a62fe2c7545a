# SPDX-License-Identifier: MIT
"""Commands that only read: status, list, snapshots, show, pull, lock-info."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..errors import NoCurrentSnapshot, NotFound, PointerInvalid, PointerMissing, StateError
from ..holder import LockInfo
from ..state.envelope import read_envelope
from ..state.revision import parse_revision, parse_time
from ..state.snapshot import Binding, Entry, Snapshot, encode_snapshot
from ..store import Store
from . import screen, settings
from .screen import ago, clean, json_text, say


def add(commands: Any) -> None:
    """Add these commands to the command line."""
    place, key, masking = settings.place, settings.key, settings.masking
    settings.command(
        commands, "status", _status, place, example="status --bucket my-state --factory network --stack prod"
    )
    settings.command(commands, "lock-info", _lock_info, place, example="lock-info --json | jq -r .lock.who")
    settings.command(commands, "snapshots", _snapshots, place, example="snapshots")
    parser = settings.command(commands, "list", _list, place, key, example="list --env-key UB_STATE_KEY")
    _rev(parser)
    parser = settings.command(
        commands, "show", _show, place, key, masking, example="show resource.vpc --json | jq .entry.outputs"
    )
    parser.add_argument("ref", metavar="REF", help="address of an entry")
    _rev(parser)
    parser = settings.command(commands, "pull", _pull, place, key, example="pull > state.json")
    parser.add_argument(
        "rev", metavar="REV", nargs="?", default="current", help="a revision; the current one when left out"
    )


def _rev(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rev", default="current", help="of this revision instead of the current one")


def fetch(store: Store, rev: str) -> tuple[str, Snapshot]:
    """A revision (`current`: what the pointer names) and its snapshot."""
    if rev != "current":
        return rev, store.get(rev)
    rev = store.current_rev()
    try:
        return rev, store.get(rev)
    except NotFound:
        return rev, store.current()  # says that the pointer dangles


def factory_of(snapshot: Snapshot) -> dict[str, object]:
    """What a snapshot says of the program that made it, as documents name it."""
    made = snapshot.factory
    return {"version": made.version, "content-revision": made.content_revision}


# status and lock-info


def lock_document(info: LockInfo | None) -> dict[str, object] | None:
    """A lock for JSON. `age` and `renewed`: seconds by the store's clock since it was taken, and last written."""
    if info is None:
        return None
    return {
        "id": info.id, "who": info.who, "created": info.created, "age": _age(info), "lease": info.lease,
        "renewed": info.age if info.lease else None, "beat": info.beat, "run-url": info.run_url, "state": _life(info),
    }  # fmt: skip


def _age(info: LockInfo) -> float | None:
    taken = parse_time(info.created)
    return info.age if taken is None or info.date is None else info.date.timestamp() - taken / 1e9


def _life(info: LockInfo) -> str:
    if not info.id:
        return "unreadable"
    return "no-lease" if info.lease is None else "expired" if info.expired else "alive"


def lock_lines(info: LockInfo) -> list[tuple[str, str]]:
    """A lock for people: who, since when, and whether they are alive."""
    if not info.id:
        return [("lock", f"something that is no lock, {ago(info.age)} old; `unobin-s3 force-unlock` clears it")]
    alive = "it has no lease, so nothing here tells whether its holder is alive; ask them, then `force-unlock`"
    if info.lease is not None:
        alive = f"alive: a lease of {info.lease} s, renewed {ago(info.age)} ago"
        alive = f"dead: its lease of {info.lease} s ran out, the next `lock` takes over" if info.expired else alive
    lines = [("lock", f"held by {info.who or 'an unknown holder'} for {ago(_age(info))}, since {info.since or '?'}")]
    lines += [("", f"id {info.id}"), ("", alive)]
    return [*lines, ("", info.run_url)] if info.run_url else lines


def _lock_info(options: Any) -> int:
    """Show who holds the lock, and whether they are alive.

    One request, and no key. A lock with a lease is alive while it is renewed; Go's locks and those without a lease
    never expire by themselves.
    """
    info = settings.store(options, opens=False).lock_info()
    if options.json:
        screen.document(options, "state-lock-info", {"lock": lock_document(info)})
    else:
        screen.table(lock_lines(info) if info else [("lock", "free")])
    return 0


def _status(options: Any) -> int:
    """Show what is current, who holds the lock, and what else is there.

    Needs no key: it opens nothing. Ends with 5 when there are snapshots but no pointer to one of them.
    """
    store = settings.store(options, opens=False)
    lock, revs = store.lock_info(), store.list()
    own = [rev for rev in revs if parse_revision(rev) is not None]
    pointer, current, problem = _pointer(store, revs)
    newer = own[own.index(current) + 1 :] if current in own else []
    sealed = _sealed_by(store, own[-1]) if own else None
    if options.json:
        span = {"count": len(own), "oldest": own[0] if own else None, "newest": own[-1] if own else None}
        members = {
            "pointer": pointer, "current": current, "lock": lock_document(lock),
            "snapshots": {**span, "foreign": len(revs) - len(own)}, "encrypter": sealed, "newer": newer,
        }  # fmt: skip
        screen.document(options, "state-status", members, [screen.diagnostic(problem)] if problem else [])
    else:
        rows = [
            ("stack", str(store.place)),
            ("current", (problem and str(problem)) or _aged(current) or "nothing was written yet"),
        ]
        rows += lock_lines(lock) if lock else [("lock", "free")]
        rows += _contents(own, newer, len(revs) - len(own), sealed)
        screen.table(rows)
    return 5 if problem else 0


def _pointer(store: Store, revs: list[str]) -> tuple[str, str | None, StateError | None]:
    """(state, revision, what is wrong with it)."""
    try:
        current = store.current_rev()
    except NoCurrentSnapshot:
        return "none", None, None
    except PointerMissing as error:
        return "missing", None, error
    except PointerInvalid as error:
        return "invalid", None, error
    if current in revs:
        return "ok", current, None
    return (
        "dangling",
        current,
        PointerInvalid(f"{current}, but there is no such snapshot; `unobin-s3 rollback REV` repairs it"),
    )


def _aged(rev: str | None) -> str:
    return f"{rev}, {ago(screen.age_of(rev))} old" if rev else ""


def _contents(own: list[str], newer: list[str], foreign: int, sealed: str | None) -> list[tuple[str, str]]:
    rows = [("snapshots", f"{len(own):,}, from {_aged(own[0])}" if own else "none")]
    rows += [("", f"to {_aged(own[-1])}"), ("sealed by", sealed or "it does not say")] if own else []
    if newer:
        shown = ", ".join(newer[-3:]) + (", ..." if len(newer) > 3 else "")
        rows.append(("newer", f"{len(newer):,} than current (rolled back, or cut short): {shown}"))
    return [*rows, ("foreign", f"{foreign:,} other names, left alone")] if foreign else rows


def _sealed_by(store: Store, rev: str) -> str | None:
    """What the envelope of a snapshot says; it is not authenticated."""
    found = store.place.get(store.place.layout.snapshot(rev), store.place.deadline())
    try:
        return read_envelope(found.body).hint or None
    except StateError as error:
        return f"unreadable: {error}"


def _snapshots(options: Any) -> int:
    """List all revisions, oldest first, with the current one marked.

    Needs no key. One request for each 1,000 snapshots. Names that other tools put there come last, with no age.
    """
    store = settings.store(options, opens=False)
    revs = store.list()
    _, current, problem = _pointer(store, revs)
    if options.json:
        listed = [{"revision": rev, "current": rev == current} for rev in revs]
        found = [screen.diagnostic(problem)] if problem else []
        screen.document(options, "state-snapshots", {"current": current, "snapshots": listed}, found)
    else:
        rows = [(rev, ago(screen.age_of(rev)), "current" if rev == current else "") for rev in revs]
        screen.table([("REVISION", "AGE", ""), *rows], marked=current or "")
        if problem:
            screen.note(str(problem))
    return 0


# list, show and pull


def _list(options: Any) -> int:
    """List the entries of the current snapshot.

    A stack that was never written has none, and that is no error.
    """
    store = settings.store(options)
    try:
        rev, snapshot = fetch(store, options.rev)
    except NoCurrentSnapshot:
        rev, snapshot = "", Snapshot()
    entries = sorted(snapshot.entries or (), key=lambda entry: entry.address)
    if options.json:
        members = {
            "factory": factory_of(snapshot),
            "state-rev": rev or None,
            "entries": [_summary(entry) for entry in entries],
        }
        screen.document(options, "state-list", members)
    else:
        rows = [(entry.address, entry.entry_kind, entry.category, _bound(entry.binding)) for entry in entries]
        screen.table([("ADDRESS", "TYPE", "CATEGORY", "BINDING"), *rows])
    return 0


def _bound(binding: Binding | None) -> str:
    return f"{binding.alias}.{binding.kind}" if binding else ""


def _summary(entry: Entry) -> dict[str, object]:
    binding = entry.binding or Binding(alias="", kind="")
    return {
        "address": entry.address,
        "entry-type": entry.entry_kind,
        "category": entry.category,
        "binding": {"library-path": binding.library_path or None, "alias": binding.alias, "export": binding.kind},
    }


def _masked(values: Any, secret: Any, show: bool) -> dict[str, object]:
    return {name: screen.SENSITIVE if name in secret and not show else value for name, value in values.items()}


def _detail(entry: Entry, show: bool) -> dict[str, object]:
    return {
        **_summary(entry),
        "schema-version": entry.schema_version,
        "trigger-hash": entry.trigger_hash or None,
        "inputs": _masked(entry.inputs, entry.sensitive_inputs, show),
        "outputs": _masked(entry.outputs, entry.sensitive_outputs, show),
        "depends-on": sorted(entry.depends_on),
        "sensitive-inputs": sorted(entry.sensitive_inputs),
        "sensitive-outputs": sorted(entry.sensitive_outputs),
    }


def _show(options: Any) -> int:
    """Show one entry of the current snapshot.

    Sensitive inputs and outputs are masked unless --show-sensitive. Unknown members of newer tools are not shown;
    `pull` has them.
    """
    rev, snapshot = fetch(settings.store(options), options.rev)
    entry = snapshot.find(options.ref)
    if entry is None:
        raise NotFound(f"there is no entry {options.ref!r} in {rev}{_near(options.ref, snapshot)}", code="NoSuchEntry")
    detail = _detail(entry, options.show_sensitive)
    if options.json:
        screen.document(options, "state-entry", {"factory": factory_of(snapshot), "state-rev": rev, "entry": detail})
        return 0
    for name, value in detail.items():
        if isinstance(value, dict) and name != "binding":
            say(f"{name}:")
            screen.table([("", key, json_text(value[key])) for key in sorted(value)])
        else:
            shown = (
                _bound(entry.binding) if name == "binding" else value if isinstance(value, str) else json_text(value)
            )
            say(f"{name}: {clean(shown)}")
    return 0


def _near(address: str, snapshot: Snapshot) -> str:
    from difflib import get_close_matches

    close = get_close_matches(address, [entry.address for entry in snapshot.entries or ()], 3, 0.5)
    return f"; did you mean {' or '.join(close)}?" if close else "; `unobin-s3 list` shows them"


def _pull(options: Any) -> int:
    """Print a snapshot in clear, whole and unmasked, as JSON.

    It was authenticated before the first byte is printed. With or without --json the snapshot itself is printed, in the
    form in which it is stored; on a terminal, characters that could act on it are written as JSON escapes.
    """
    _, snapshot = fetch(settings.store(options), options.rev)
    text = encode_snapshot(snapshot).decode()
    sys.stdout.write(screen.printable_json(text) if sys.stdout.isatty() else text)
    return 0
