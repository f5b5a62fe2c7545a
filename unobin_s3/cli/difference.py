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
_LOOKS = {"added": ("+", screen.GREEN), "removed": ("-", screen.RED), "changed": ("~", screen.YELLOW)}


def add(commands: Any) -> None:
    """Add `diff` to the command line."""
    parser = settings.command(commands, "diff", _diff, settings.place, settings.key, settings.masking)
    for name in ("before", "after"):
        parser.add_argument(name, metavar="REV", help="a revision, or `current`")


def _diff(options: Any) -> int:
    """Fetch both, compare, print."""
    store = settings.store(options, settings.opener(options))
    (before_rev, before), (after_rev, after) = fetch(store, options.before), fetch(store, options.after)
    found = compare(before, after, show=options.show_sensitive)
    if options.json:
        screen.document(options, "state-diff", {"from": before_rev, "to": after_rev, "changes": found})
        return 0
    for entry in found:
        sign, colour = _LOOKS[entry["change"]]
        say(f"{sign} {clean(entry['address'] or '(the snapshot itself)')}", colour)
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
    pairs: list[tuple[str, Entry | Snapshot | None, Entry | Snapshot | None]] = [("", before, after)]
    pairs += [(address, olds.get(address), news.get(address)) for address in sorted(olds.keys() | news.keys())]
    found = []
    for address, old, new in pairs:
        secret = set() if show else {*_secrets(old), *_secrets(new)}
        members = list(_changes(_members(old), _members(new), secret))
        if members:
            change = "changed" if old and new else "added" if new else "removed"
            found.append({"address": address, "change": change, "members": members})
    return found


def _members(value: Entry | Snapshot | None) -> dict[str, Any]:
    """By their public names, without what is empty."""
    members: dict[str, Any] = {}
    if isinstance(value, Snapshot):
        made = value.factory
        factory = {"name": made.name, "version": made.version, "content-revision": made.content_revision}
        members = {"factory": factory, "stack": value.stack, "outputs": value.outputs, "extra": value.extra}
    elif value is not None:
        bound = value.binding
        binding = {"alias": bound.alias, "library-path": bound.library_path, "export": bound.kind} if bound else {}
        members = {
            "entry-type": value.entry_kind, "category": value.category, "binding": binding,
            "schema-version": value.schema_version, "trigger-hash": value.trigger_hash, "inputs": value.inputs,
            "outputs": value.outputs, "depends-on": sorted(value.depends_on), "extra": value.extra,
            "sensitive-inputs": sorted(value.sensitive_inputs), "sensitive-outputs": sorted(value.sensitive_outputs),
        }  # fmt: skip
    return {name: member for name, member in members.items() if member}


def _secrets(value: Entry | Snapshot | None) -> Iterable[str]:
    """Paths that are not shown. Of a stack's own outputs nothing says whether they are secret, so they are."""
    if value is not None:
        outputs = value.outputs if isinstance(value, Snapshot) else value.sensitive_outputs
        inputs = () if isinstance(value, Snapshot) else value.sensitive_inputs
        for member, names in (("inputs", inputs), ("outputs", outputs), ("extra", value.extra)):
            yield from (f"{member}.{name}" for name in names)


def _changes(
    old: Mapping[str, Any], new: Mapping[str, Any], secret: set[str], path: str = ""
) -> Iterable[dict[str, Any]]:
    """Members that differ; maps are gone into, lists and secrets are not."""
    for name in sorted(old.keys() | new.keys()):
        place, sides = path + name, (old.get(name, _ABSENT), new.get(name, _ABSENT))
        if sides[0] == sides[1] and json_text(sides[0]) == json_text(sides[1]):  # 1, 1.0 and True are equal to Python
            continue
        maps = [{} if side is _ABSENT else side for side in sides]
        if place not in secret and any(maps) and all(isinstance(side, Mapping) for side in maps):
            yield from _changes(maps[0], maps[1], secret, f"{place}.")
        else:
            shown = {
                side: value for side, value in zip(("before", "after"), sides, strict=True) if value is not _ABSENT
            }
            yield {"member": place, **(dict.fromkeys(shown, screen.SENSITIVE) if place in secret else shown)}
