# SPDX-License-Identifier: MIT
"""Commands that only read: status, lock-info, snapshots, list, show, pull, diff. What is secret is masked."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import NoCurrentSnapshot, NotFound, PointerInvalid, PointerMissing, StateError
from ..guard import dangling
from ..holder import LockInfo
from ..state.envelope import read_envelope
from ..state.revision import parse_revision, parse_time
from ..state.snapshot import Entry, Snapshot, encode_snapshot
from ..store import Store
from . import screen, settings
from .screen import ago, clean, json_text, say

_Members = Mapping[str, Any]
_LOOKS = {"added": ("+", screen.GREEN), "removed": ("-", screen.RED), "changed": ("~", screen.YELLOW)}


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


def lock_info(options: Any) -> None:
    info = settings.store(options).lock_info()
    if not screen.document(options, "state-lock-info", {"lock": lock_document(info)}):
        screen.table(lock_rows(info))


def status(options: Any) -> int:
    """Pointer, lock and snapshots at one glance."""
    store = settings.store(options)
    lock, revs = store.lock_info(), store.list()
    own = [rev for rev in revs if parse_revision(rev) is not None]
    pointer, current, problem = _pointer(store, revs)
    newer = own[own.index(current) + 1 :] if current in own else []
    sealed, foreign = _sealed_by(store, own[-1]) if own else None, len(revs) - len(own)
    oldest, newest = (own[0], own[-1]) if own else (None, None)
    members = {
        "pointer": pointer, "current": current, "lock": lock_document(lock), "encrypter": sealed, "newer": newer,
        "snapshots": {"count": len(own), "oldest": oldest, "newest": newest, "foreign": foreign},
    }  # fmt: skip
    if not screen.document(options, "state-status", members, problem):
        rows = [("stack", str(store.place)), ("current", str(problem or _aged(current) or "nothing was written yet"))]
        rows += [*lock_rows(lock), ("snapshots", f"{len(own):,}, from {_aged(oldest)}" if own else "none")]
        rows += [("", f"to {_aged(newest)}"), ("sealed by", sealed or "it does not say")] if own else []
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
    except (PointerMissing, PointerInvalid) as error:
        return "missing" if isinstance(error, PointerMissing) else "invalid", None, error
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


def snapshots(options: Any) -> None:
    store = settings.store(options)
    revs = store.list()
    _, current, problem = _pointer(store, revs)
    listed = [{"revision": rev, "current": rev == current} for rev in revs]
    if screen.document(options, "state-snapshots", {"current": current, "snapshots": listed}, problem):
        return
    rows = [(rev, ago(screen.age_of(rev)), "current" if rev == current else "") for rev in revs]
    screen.table([("REVISION", "AGE", ""), *rows], marked=current or "")
    if problem:
        screen.note(str(problem))


def _opened(options: Any) -> tuple[str, Snapshot]:
    return fetch(settings.store(options, settings.opener(options)), options.rev)


def listing(options: Any) -> None:
    """The entries of a snapshot, as Go lists them."""
    try:
        rev, snapshot = _opened(options)
    except NoCurrentSnapshot:
        rev, snapshot = "", Snapshot()
    entries = [_summary(entry) for entry in sorted(snapshot.entries or (), key=lambda entry: entry.address)]
    members = {"factory": factory_of(snapshot), "state-rev": rev or None, "entries": entries}
    if not screen.document(options, "state-list", members):
        rows = [(one["address"], one["entry-type"], one["category"], _bound(one)) for one in entries]
        screen.table([("ADDRESS", "TYPE", "CATEGORY", "BINDING"), *rows])


def factory_of(snapshot: Snapshot) -> dict[str, object]:
    """What a snapshot says of the program that made it, as documents name it."""
    return {"version": snapshot.factory.version, "content-revision": snapshot.factory.content_revision}


def _summary(entry: Entry) -> dict[str, Any]:
    bound = entry.binding
    binding = {"library-path": bound.library_path or None, "alias": bound.alias, "export": bound.kind} if bound else {}
    head = {"address": entry.address, "entry-type": entry.entry_kind, "category": entry.category}
    return {**head, "binding": binding}


def _bound(summary: dict[str, Any]) -> str:
    return "{alias}.{export}".format(**summary["binding"])


def detail(entry: Entry, *, show: bool) -> dict[str, Any]:
    """An entry by its public names, what is sensitive only if `show`."""

    def masked(values: Any, secret: Any) -> dict[str, object]:
        return {name: screen.SENSITIVE if name in secret and not show else value for name, value in values.items()}

    return {
        **_summary(entry), "schema-version": entry.schema_version, "trigger-hash": entry.trigger_hash or None,
        "inputs": masked(entry.inputs, entry.sensitive_inputs),
        "outputs": masked(entry.outputs, entry.sensitive_outputs), "depends-on": sorted(entry.depends_on),
        "sensitive-inputs": sorted(entry.sensitive_inputs), "sensitive-outputs": sorted(entry.sensitive_outputs),
    }  # fmt: skip


def show(options: Any) -> None:
    """One entry of a snapshot, as Go shows it."""
    rev, snapshot = _opened(options)
    entry = snapshot.find(options.ref)
    if entry is None:
        from difflib import get_close_matches

        close = " or ".join(get_close_matches(options.ref, [one.address for one in snapshot.entries or ()], 3, 0.5))
        hint = f"did you mean {close}?" if close else "`unobin-s3 list` shows them"
        raise NotFound(f"there is no entry {options.ref!r} in {rev}; {hint}", code="NoSuchEntry")
    found = detail(entry, show=options.show_sensitive)
    members = {"factory": factory_of(snapshot), "state-rev": rev, "entry": found}
    if not screen.document(options, "state-entry", members):
        found["binding"] = _bound(found)
        for part in ("inputs", "outputs"):
            found[part] = {name: json_text(value) for name, value in found[part].items()}
        screen.answer(options, "", {"state-rev": rev, **found})


def pull(options: Any) -> None:
    """A snapshot in clear. Nothing is printed before all of it was authenticated."""
    text = encode_snapshot(_opened(options)[1]).decode()
    sys.stdout.write(screen.printable_json(text) if sys.stdout.isatty() else text)


def diff(options: Any) -> None:
    store = settings.store(options, settings.opener(options))
    (before_rev, before), (after_rev, after) = fetch(store, options.before), fetch(store, options.after)
    found = compare(before, after, show=options.show_sensitive)
    if screen.document(options, "state-diff", {"from": before_rev, "to": after_rev, "changes": found}):
        return
    for entry in found:
        sign, colour = _LOOKS[entry["change"]]
        say(f"{sign} {clean(entry['address'] or '(the snapshot itself)')}", colour)
        for member in entry["members"]:
            sides = [clean(json_text(member[side])) if side in member else "(absent)" for side in ("before", "after")]
            say(f"    {clean(member['member'])}: {' -> '.join(sides)}")
    if not found:
        say("no difference")


def compare(before: Snapshot, after: Snapshot, *, show: bool) -> list[dict[str, Any]]:
    """The entries that differ, by address; the snapshot's own members come first, with the address ""."""
    olds = {entry.address: entry for entry in before.entries or ()}
    news = {entry.address: entry for entry in after.entries or ()}
    pairs: list[tuple[str, Entry | Snapshot | None, Entry | Snapshot | None]] = [("", before, after)]
    pairs += [(address, olds.get(address), news.get(address)) for address in sorted(olds.keys() | news.keys())]
    found = []
    for address, old, new in pairs:
        secret = set() if show else {*_secrets(old), *_secrets(new)}
        if members := list(_changes(_members(old), _members(new), secret)):
            change = "changed" if old and new else "added" if new else "removed"
            found.append({"address": address, "change": change, "members": members})
    return found


def _members(value: Entry | Snapshot | None) -> dict[str, Any]:
    """By their public names, without what is empty."""
    members: dict[str, Any] = {}
    if isinstance(value, Snapshot):
        factory = {"name": value.factory.name, **factory_of(value)}
        members = {"factory": factory, "stack": value.stack, "outputs": value.outputs, "extra": value.extra}
    elif value is not None:
        members = {**detail(value, show=True), "extra": value.extra}
        del members["address"]
    return {name: member for name, member in members.items() if member}


def _secrets(value: Entry | Snapshot | None) -> Iterable[str]:
    """Paths that are not shown. Of a stack's own outputs nothing says whether they are secret, so they are."""
    if value is not None:
        outputs = value.outputs if isinstance(value, Snapshot) else value.sensitive_outputs
        inputs = () if isinstance(value, Snapshot) else value.sensitive_inputs
        for member, names in (("inputs", inputs), ("outputs", outputs), ("extra", value.extra)):
            yield from (f"{member}.{name}" for name in names)


def _changes(old: _Members, new: _Members, secret: set[str], path: str = "") -> Iterable[dict[str, Any]]:
    """Members that differ; maps are gone into, lists and secrets are not."""
    for name in sorted(old.keys() | new.keys()):
        place = path + name
        sides = {side: members[name] for side, members in (("before", old), ("after", new)) if name in members}
        # As JSON: 1, 1.0 and True are equal to Python.
        if len(sides) == 2 and old[name] == new[name] and json_text(old[name]) == json_text(new[name]):
            continue
        if place not in secret and any(sides.values()) and all(isinstance(side, Mapping) for side in sides.values()):
            yield from _changes(sides.get("before", {}), sides.get("after", {}), secret, f"{place}.")
        else:
            yield {"member": place, **(dict.fromkeys(sides, screen.SENSITIVE) if place in secret else sides)}
