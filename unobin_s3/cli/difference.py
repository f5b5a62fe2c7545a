# SPDX-License-Identifier: MIT
"""The diff command: what changed between two snapshots, by entry and member, with secrets masked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..state.snapshot import Entry, Snapshot
from . import screen, settings
from .look import fetch
from .screen import clean, json_text, say

_ABSENT = object()
_COLOURS = {"added": screen.GREEN, "removed": screen.RED, "changed": screen.YELLOW}
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def add(commands: Any) -> None:
    """Add `diff` to the command line."""
    groups = (settings.place, settings.key, settings.masking)
    parser = settings.command(commands, "diff", _diff, *groups, example="diff 2026-05-01T10:00:00.000000000Z current")
    parser.add_argument("before", metavar="REV", help="a revision, or `current`")
    parser.add_argument("after", metavar="REV", help="a revision, or `current`")


def _diff(options: Any) -> int:
    """Show what changed between two snapshots, by entry and member.

    Sensitive members are masked on both sides when either side calls them sensitive, and so are the stack's own outputs
    and members that only newer tools know, for nothing says whether they are. That they changed is shown all the same.
    """
    store = settings.store(options)
    (before_rev, before), (after_rev, after) = fetch(store, options.before), fetch(store, options.after)
    found = compare(before, after, show=options.show_sensitive)
    if options.json:
        screen.document(options, "state-diff", {"from": before_rev, "to": after_rev, "changes": found})
        return 0
    for entry in found:
        change = entry["change"]
        say(f"{_SIGNS[change]} {clean(entry['address'] or '(the snapshot itself)')}", _COLOURS[change])
        for member in entry["members"]:
            sides = [clean(json_text(member[side])) if side in member else "(absent)" for side in ("before", "after")]
            say(f"    {clean(member['member'])}: {' -> '.join(sides)}")
    if not found:
        say("no difference")
    return 0


def compare(before: Snapshot, after: Snapshot, *, show: bool) -> list[dict[str, Any]]:
    """The entries that differ, by address; the snapshot's own members come first, with the address ""."""
    olds = {entry.address: entry for entry in before.entries or ()}
    news = {entry.address: entry for entry in after.entries or ()}
    pairs = [("", _own(before), _own(after), {*_names(before, "outputs", "extra"), *_names(after, "outputs", "extra")})]
    for address in sorted(olds.keys() | news.keys()):
        old, new = olds.get(address), news.get(address)
        secret = {name for entry in (old, new) if entry for name in _secrets(entry)}
        pairs.append((address, _members(old) if old else {}, _members(new) if new else {}, secret))
    found = []
    for address, old_members, new_members, secret in pairs:
        members = list(_changes(old_members, new_members, secret if not show else set()))
        if members:
            change = "changed" if old_members and new_members else "added" if new_members else "removed"
            found.append({"address": address, "change": change, "members": members})
    return found


def _own(snapshot: Snapshot) -> dict[str, object]:
    made = snapshot.factory
    factory = {"name": made.name, "version": made.version, "content-revision": made.content_revision}
    return {"factory": factory, "stack": snapshot.stack, "outputs": snapshot.outputs, "extra": snapshot.extra}


def _members(entry: Entry) -> dict[str, object]:
    binding = entry.binding
    bound = {"alias": binding.alias, "library-path": binding.library_path, "export": binding.kind} if binding else {}
    members = {
        "entry-type": entry.entry_kind, "category": entry.category, "binding": bound,
        "schema-version": entry.schema_version, "trigger-hash": entry.trigger_hash, "inputs": entry.inputs,
        "outputs": entry.outputs, "depends-on": sorted(entry.depends_on),
        "sensitive-inputs": sorted(entry.sensitive_inputs), "sensitive-outputs": sorted(entry.sensitive_outputs),
        "extra": entry.extra,
    }  # fmt: skip
    return {name: value for name, value in members.items() if value}


def _names(value: Entry | Snapshot, *members: str) -> Iterable[str]:
    return (f"{member}.{name}" for member in members for name in getattr(value, member))


def _secrets(entry: Entry) -> Iterable[str]:
    yield from _names(entry, "extra")
    yield from (f"inputs.{name}" for name in entry.sensitive_inputs)
    yield from (f"outputs.{name}" for name in entry.sensitive_outputs)


def _changes(
    old: Mapping[str, Any], new: Mapping[str, Any], secret: set[str], path: str = ""
) -> Iterable[dict[str, Any]]:
    """Members that differ; maps are gone into, lists and secrets are not."""
    for name in sorted(old.keys() | new.keys()):
        place = f"{path}.{name}" if path else name
        before, after = old.get(name, _ABSENT), new.get(name, _ABSENT)
        if before == after and json_text(before) == json_text(after):  # 1, 1.0 and True are equal to Python
            continue
        if place not in secret and (isinstance(before, Mapping) or isinstance(after, Mapping)):
            maps = [side if isinstance(side, Mapping) else {} for side in (before, after)]
            if maps == [before, after] or _ABSENT in (before, after):
                inner = list(_changes(maps[0], maps[1], secret, place))
                if inner:
                    yield from inner
                    continue
        sides = {"before": before, "after": after}
        shown = {
            side: screen.SENSITIVE if place in secret else value
            for side, value in sides.items()
            if value is not _ABSENT
        }
        yield {"member": place, **shown}
