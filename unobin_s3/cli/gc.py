# SPDX-License-Identifier: MIT
"""The gc command: which snapshots may go, and deleting them in large requests."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from ..aws.xml import ListedObject
from ..errors import AccessDenied, ConfigurationError, NotFound, PointerInvalid, ServiceError, Throttled
from ..lock import Lock
from ..state.revision import parse_revision, parse_time, sort_revisions
from ..store import Store
from . import screen, settings
from .bulk import for_each
from .change import held, report
from .screen import clean, note, say

_REQUEST = 1000  # keys in one DeleteObjects request


def add(commands: Any) -> None:
    """Add `gc` to the command line."""
    parser = settings.command(
        commands, "gc", _gc, settings.place, settings.locking, example="gc --keep 50 --older-than 30d --dry-run"
    )
    parser.add_argument("--keep", type=int, metavar="N", help="keep the newest N")
    parser.add_argument(
        "--older-than", type=settings.duration, metavar="TIME", help="delete only what is older, such as 30d"
    )
    parser.add_argument("--pin", action="append", default=[], metavar="REV", help="keep this one; repeatable")
    parser.add_argument(
        "--grace", type=settings.duration, default=3600.0, metavar="TIME", help="keep what is younger; 1h"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be deleted; takes no lock")


@dataclass(frozen=True, slots=True)
class Rules:
    """What must stay. `min_age` in seconds; `now` in unix seconds; `keep` None: no number of them."""

    keep: int | None
    min_age: float
    pins: Collection[str]
    now: float

    def doomed(self, found: list[tuple[str, float]], current: str) -> list[str]:
        """The revisions that may go, oldest first. `found`: (revision, when it was written last)."""
        written = dict(found)
        own = [rev for rev in sort_revisions(written) if parse_revision(rev) is not None]
        kept = {current, *self.pins, *(own[-self.keep :] if self.keep else ())}
        return [rev for rev in own if rev not in kept and self.now - _youngest(rev, written[rev]) >= self.min_age]


def _youngest(rev: str, written: float) -> float:
    """The later of what the name says and what the store says: a copy is young although its name is old."""
    parsed = parse_revision(rev)
    return max(written, parsed[0] / 1e9 if parsed else written)


def _gc(options: Any) -> int:
    """Delete old snapshots, oldest first, under the lock.

    Never deletes the current one, a pinned one, one younger than --grace, or a name that this tool or Go did not make.
    --keep and --older-than are both obeyed when both are given; one of them is needed. Refuses when there is no pointer
    or it leads nowhere. Needs no key. On a versioned bucket the deleted snapshots stay as older versions.

    Stopped half-way, it reports what was deleted; run it again to go on.
    """
    if options.keep is None and options.older_than is None:
        raise ConfigurationError("say what may go: --keep N, --older-than TIME, or both")
    if options.keep is not None and options.keep < 0:
        raise ConfigurationError("--keep must be 0 or more")
    store = settings.store(options, opens=False)
    result: dict[str, Any] = {
        "ok": True, "dry-run": options.dry_run, "deleted": 0, "kept": 0, "current": None, "failed-revision": None,
        "would-delete": [],
    }  # fmt: skip

    def work() -> None:
        with nullcontext() if options.dry_run else held(options, store) as lock:
            doomed = _choose(options, store, result)
            if lock is None:
                result["would-delete"] = doomed
                result["kept"] -= len(doomed)
            else:
                _Deletion(store, lock, result).run(doomed)

    def text() -> None:
        for rev in result["would-delete"]:
            say(f"would delete  {clean(rev)}  {screen.ago(screen.age_of(rev))} old")
        count = len(result["would-delete"]) if options.dry_run else result["deleted"]
        say(f"{'would delete' if options.dry_run else 'deleted'} {count:,}, kept {result['kept']:,}")

    return report(options, "state-gc-result", result, work, begun=lambda: result["deleted"], text=text)


def _choose(options: Any, store: Store, result: dict[str, Any]) -> list[str]:
    place, current = store.place, store.current_rev()
    pointer = place.get_small(place.layout.current, place.deadline())
    clocks = [time.time(), *([pointer.date.timestamp()] if pointer and pointer.date else ())]
    listed = place.client.list_objects_v2(place.bucket, place.layout.snapshots)
    found = [(rev, _written(item)) for item in listed if (rev := place.layout.rev_of(item.key)) is not None]
    result["current"], result["kept"] = current, len(found)
    missing = {current, *options.pin} - {rev for rev, _ in found}
    if current in missing:
        raise PointerInvalid(
            f"the pointer of {place} names {current}, and there is no such snapshot; nothing is deleted"
        )
    if missing:
        raise NotFound(f"--pin {min(missing)}: there is no such snapshot; nothing is deleted", code="NoSuchKey")
    min_age = max(options.grace, options.older_than or 0.0)
    return Rules(options.keep, min_age, options.pin, min(clocks)).doomed(found, current)


def _written(item: ListedObject) -> float:
    written = parse_time(item.last_modified)
    return float("inf") if written is None else written / 1e9


class _Deletion:
    """Deletes in order and keeps `result` true at every moment."""

    def __init__(self, store: Store, lock: Lock, result: dict[str, Any]) -> None:
        self._store, self._lock, self._result = store, lock, result
        self._together = True

    def run(self, revs: list[str]) -> None:
        progress = screen.Progress("deleted", len(revs))
        try:
            for start in range(0, len(revs), _REQUEST):
                self._lock.check()
                self._store.current_rev()  # PointerMoved when somebody works without the lock
                self._chunk(revs[start : start + _REQUEST])
                progress.step(_REQUEST)
        finally:
            progress.close()

    def _chunk(self, revs: list[str]) -> None:
        place, left = self._store.place, revs
        if self._together:
            keys = {place.layout.snapshot(rev): rev for rev in revs}
            try:
                failures = place.client.delete_objects(place.bucket, keys)
            except ServiceError as refused:
                if isinstance(refused, (AccessDenied, NotFound, Throttled)) or (
                    refused.status >= 500 and refused.status != 501
                ):
                    raise
                note(f"the store refuses DeleteObjects, so each is deleted by itself: {refused}")
                self._together = False
            else:
                # Perhaps only unconditional deletes are denied: these are tried again one by one.
                left = [keys[failure.key] for failure in failures if failure.key in keys]
                self._count(len(revs) - len(left))
        for_each(left, self._store.delete, self._settle, verb="")

    def _settle(self, rev: str, outcome: object) -> None:
        if isinstance(outcome, BaseException):
            self._result["failed-revision"] = rev
            raise outcome
        self._count(1)

    def _count(self, deleted: int) -> None:
        self._result["deleted"] += deleted
        self._result["kept"] -= deleted
