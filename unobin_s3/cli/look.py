# SPDX-License-Identifier: MIT
"""Commands that only read: status, lock-info, snapshots, list, show, pull."""

from __future__ import annotations

import sys
from typing import Any

from ..errors import NoCurrentSnapshot, NotFound, PointerInvalid, PointerMissing, StateError
from ..guard import dangling
from ..holder import LockInfo
from ..state.envelope import read_envelope
from ..state.revision import parse_revision, parse_time
from ..state.snapshot import Entry, Snapshot, encode_snapshot
from ..store import Store
from . import screen, settings
from .screen import ago, json_text


def add(commands: Any) -> None:
    """Add these commands to the command line."""
    place, key = settings.place, settings.key
    for name, run in (("status", _status), ("lock-info", _lock_info), ("snapshots", _snapshots)):
        settings.command(commands, name, run, place)
    listing = settings.command(commands, "list", _list, place, key)
    showing = settings.command(commands, "show", _show, place, key, settings.masking)
    showing.add_argument("ref", metavar="REF", help="address of an entry")
    for parser in (listing, showing):
        parser.add_argument("--rev", default="current", help="of this revision instead of the current one")
    pulling = settings.command(commands, "pull", _pull, place, key)
    pulling.add_argument("rev", metavar="REV", nargs="?", default="current", help="the current one when left out")


def fetch(store: Store, rev: str) -> tuple[str, Snapshot]:
    """A revision (`current`: what the pointer names, which is read once) and its snapshot."""
    if rev != "current":
        return rev, store.get(rev)
    rev = store.current_rev()
    try:
        return rev, store.get(rev)
    except NotFound as error:
        raise dangling(store.place, rev) from error


def lock_document(info: LockInfo | None) -> dict[str, object] | None:
    """A lock for JSON. `age` and `renewed`: seconds by the store's clock since it was taken, and last written."""
    if info is None:
        return None
    life = "no-lease" if info.lease is None else "expired" if info.expired else "alive"
    return {
        "id": info.id, "who": info.who, "created": info.created, "age": _age(info), "lease": info.lease,
        "renewed": info.age if info.lease else None, "beat": info.beat, "run-url": info.run_url,
        "state": life if info.id else "unreadable",
    }  # fmt: skip


def _age(info: LockInfo) -> float | None:
    taken = parse_time(info.created)
    return info.age if taken is None or info.date is None else info.date.timestamp() - taken / 1e9


def lock_rows(info: LockInfo | None) -> list[tuple[str, str]]:
    """A lock for people: who, since when, and whether they are alive."""
    if info is None:
        return [("lock", "free")]
    if not info.id:
        return [("lock", f"something that is no lock, {ago(info.age)} old; `unobin-s3 force-unlock` clears it")]
    life = "no lease, so nothing here tells whether its holder is alive: ask them, then `unobin-s3 force-unlock`"
    if info.lease is not None:
        life = f"alive: a lease of {info.lease} s, renewed {ago(info.age)} ago"
        life = f"dead: its lease of {info.lease} s ran out; who asks next, takes over" if info.expired else life
    who = f"held by {info.who or 'an unknown holder'} for {ago(_age(info))}, since {info.since or '?'}"
    return [("lock", who), *(("", text) for text in (f"id {info.id}", life, info.run_url) if text)]


def _lock_info(options: Any) -> int:
    """Who holds the lock."""
    info = settings.store(options).lock_info()
    if options.json:
        screen.document(options, "state-lock-info", {"lock": lock_document(info)})
    else:
        screen.table(lock_rows(info))
    return 0


def _status(options: Any) -> int:
    """Pointer, lock and snapshots at one glance."""
    store = settings.store(options)
    lock, revs = store.lock_info(), store.list()
    own = [rev for rev in revs if parse_revision(rev) is not None]
    pointer, current, problem = _pointer(store, revs)
    newer = own[own.index(current) + 1 :] if current in own else []
    sealed, foreign = _sealed_by(store, own[-1]) if own else None, len(revs) - len(own)
    if options.json:
        span = {"oldest": own[0] if own else None, "newest": own[-1] if own else None}
        members = {
            "pointer": pointer, "current": current, "lock": lock_document(lock), "encrypter": sealed, "newer": newer,
            "snapshots": {"count": len(own), **span, "foreign": foreign},
        }  # fmt: skip
        screen.document(options, "state-status", members, problem)
        return 5 if problem else 0
    rows = [("stack", str(store.place)), ("current", str(problem or _aged(current) or "nothing was written yet"))]
    rows += [*lock_rows(lock), ("snapshots", f"{len(own):,}, from {_aged(own[0])}" if own else "none")]
    rows += [("", f"to {_aged(own[-1])}"), ("sealed by", sealed or "it does not say")] if own else []
    if newer:
        shown = ", ".join(newer[-3:][::-1]) + (", ..." if len(newer) > 3 else "")
        rows.append(("newer", f"{len(newer):,} newer than current (rolled back, or cut short): {shown}"))
    screen.table([*rows, ("foreign", f"{foreign:,} other names, left alone")] if foreign else rows)
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
    return ("ok", current, None) if current in revs else ("dangling", current, dangling(store.place, current))


def _aged(rev: str | None) -> str:
    return f"{rev}, {ago(screen.age_of(rev))} old" if rev else ""


def _sealed_by(store: Store, rev: str) -> str | None:
    """What the envelope of a snapshot says; it is not authenticated."""
    found = store.place.get(store.place.layout.snapshot(rev), store.place.deadline())
    try:
        return read_envelope(found.body).hint or None
    except StateError as error:
        return f"unreadable: {error}"


def _snapshots(options: Any) -> int:
    """All revisions."""
    store = settings.store(options)
    revs = store.list()
    _, current, problem = _pointer(store, revs)
    if options.json:
        listed = [{"revision": rev, "current": rev == current} for rev in revs]
        screen.document(options, "state-snapshots", {"current": current, "snapshots": listed}, problem)
        return 0
    rows = [(rev, ago(screen.age_of(rev)), "current" if rev == current else "") for rev in revs]
    screen.table([("REVISION", "AGE", ""), *rows], marked=current or "")
    if problem:
        screen.note(str(problem))
    return 0


def _list(options: Any) -> int:
    """The entries of a snapshot, as Go lists them."""
    try:
        rev, snapshot = fetch(settings.store(options, settings.opener(options)), options.rev)
    except NoCurrentSnapshot:
        rev, snapshot = "", Snapshot()
    entries = [_summary(entry) for entry in sorted(snapshot.entries or (), key=lambda entry: entry.address)]
    if options.json:
        members = {"factory": factory_of(snapshot), "state-rev": rev or None, "entries": entries}
        screen.document(options, "state-list", members)
    else:
        rows = [(one["address"], one["entry-type"], one["category"], _bound(one)) for one in entries]
        screen.table([("ADDRESS", "TYPE", "CATEGORY", "BINDING"), *rows])
    return 0


def factory_of(snapshot: Snapshot) -> dict[str, object]:
    """What a snapshot says of the program that made it, as documents name it."""
    return {"version": snapshot.factory.version, "content-revision": snapshot.factory.content_revision}


def _summary(entry: Entry) -> dict[str, Any]:
    bound = entry.binding
    binding = {"library-path": bound.library_path or None, "alias": bound.alias, "export": bound.kind} if bound else {}
    return {
        "address": entry.address, "entry-type": entry.entry_kind, "category": entry.category, "binding": binding,
    }  # fmt: skip


def _bound(summary: dict[str, Any]) -> str:
    return "{alias}.{export}".format(**summary["binding"])


def _detail(entry: Entry, show: bool) -> dict[str, Any]:
    def masked(values: Any, secret: Any) -> dict[str, object]:
        return {name: screen.SENSITIVE if name in secret and not show else value for name, value in values.items()}

    return {
        **_summary(entry), "schema-version": entry.schema_version, "trigger-hash": entry.trigger_hash or None,
        "inputs": masked(entry.inputs, entry.sensitive_inputs),
        "outputs": masked(entry.outputs, entry.sensitive_outputs), "depends-on": sorted(entry.depends_on),
        "sensitive-inputs": sorted(entry.sensitive_inputs), "sensitive-outputs": sorted(entry.sensitive_outputs),
    }  # fmt: skip


def _show(options: Any) -> int:
    """One entry of a snapshot, as Go shows it."""
    rev, snapshot = fetch(settings.store(options, settings.opener(options)), options.rev)
    entry = snapshot.find(options.ref)
    if entry is None:
        from difflib import get_close_matches

        close = " or ".join(get_close_matches(options.ref, [one.address for one in snapshot.entries or ()], 3, 0.5))
        hint = f"did you mean {close}?" if close else "`unobin-s3 list` shows them"
        raise NotFound(f"there is no entry {options.ref!r} in {rev}; {hint}", code="NoSuchEntry")
    detail = _detail(entry, options.show_sensitive)
    if options.json:
        screen.document(options, "state-entry", {"factory": factory_of(snapshot), "state-rev": rev, "entry": detail})
    else:
        values = {
            part: {name: json_text(value) for name, value in detail[part].items()} for part in ("inputs", "outputs")
        }
        screen.answer(options, "", {"state-rev": rev, **detail, "binding": _bound(detail), **values})
    return 0


def _pull(options: Any) -> int:
    """A snapshot in clear. Nothing is printed before all of it was authenticated."""
    text = encode_snapshot(fetch(settings.store(options, settings.opener(options)), options.rev)[1]).decode()
    sys.stdout.write(screen.printable_json(text) if sys.stdout.isatty() else text)
    return 0
