# SPDX-License-Identifier: MIT
"""The gc command: which snapshots may go, and deleting them in large requests."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import nullcontext
from typing import Any

from ..errors import AccessDenied, ConfigurationError, NotFound, ServiceError, Throttled
from ..guard import dangling
from ..lock import Lock
from ..state.revision import parse_revision, parse_time, sort_revisions
from ..store import Store
from . import screen, settings
from .bulk import for_each
from .change import held, reporting

_REQUEST = 1000  # keys in one DeleteObjects request
_NEVER = float("inf")


def doomed(
    written: dict[str, float], current: str, *, keep: int | None, min_age: float, pins: Collection[str], now: float
) -> list[str]:
    """The revisions that may go, oldest first. `written`: when the store got each; a copy is later than its name.

    `keep` None: no number of them stays. `min_age` in seconds; `now` and `written` in unix seconds.
    """
    born = {rev: parsed[0] / 1e9 for rev in sort_revisions(written) if (parsed := parse_revision(rev)) is not None}
    own = list(born)
    kept = {current, *pins, *(own[-keep:] if keep else ())}
    # A store's Date is cut to the second, so without a minimal age nothing is compared.
    latest = now - min_age if min_age else _NEVER
    return [rev for rev in own if rev not in kept and max(born[rev], written[rev]) <= latest]


def gc(options: Any) -> None:
    """Choose and delete, both under the lock."""
    if (options.keep is None and options.older_than is None) or (options.keep or 0) < 0:
        raise ConfigurationError("say what may go: --keep N (0 or more), --older-than TIME, or both")
    store = settings.store(options)
    result: dict[str, Any] = {
        "ok": True, "dry-run": options.dry_run, "deleted": 0, "kept": 0, "current": None, "failed-revision": None,
        "would-delete": [],
    }  # fmt: skip

    with (
        reporting(options, "state-gc-result", result, "deleted"),
        nullcontext() if options.dry_run else held(options, store) as lock,
    ):
        chosen = _choose(options, store, result)
        if lock is None:
            result.update({"would-delete": chosen, "kept": result["kept"] - len(chosen)})
        else:
            _Deletion(store, lock, result).run(chosen)


def _choose(options: Any, store: Store, result: dict[str, Any]) -> list[str]:
    place, current = store.place, store.current_rev()
    pointer = place.get_small(place.layout.current, place.deadline())
    now = min(time.time(), pointer.date.timestamp() if pointer and pointer.date else _NEVER)
    written: dict[str, float] = {}
    for item in place.client.list_objects_v2(place.bucket, place.layout.snapshots):
        if (rev := place.layout.rev_of(item.key)) is not None:
            at = parse_time(item.last_modified)
            written[rev] = _NEVER if at is None else at / 1e9
    result["current"], result["kept"] = current, len(written)
    if current not in written:
        raise dangling(place, current)
    for rev in options.pin:
        if rev not in written:
            raise NotFound(f"--pin {rev}: there is no such snapshot; nothing is deleted", code="NoSuchKey")
    min_age = max(options.grace, options.older_than or 0.0)
    return doomed(written, current, keep=options.keep, min_age=min_age, pins=options.pin, now=now)


class _Deletion:
    """Deletes in order and keeps `result` true at every moment."""

    def __init__(self, store: Store, lock: Lock, result: dict[str, Any]) -> None:
        self._store, self._lock, self._result = store, lock, result
        self._together = True

    def run(self, revs: list[str]) -> None:
        with screen.progress("deleted", len(revs)) as step:
            for start in range(0, len(revs), _REQUEST):
                self._lock.check()
                self._store.current_rev()  # PointerMoved when somebody works without the lock
                left = self._delete_together(revs[start : start + _REQUEST])
                for_each(left, self._store.delete, self._settle)
                step(_REQUEST)

    def _delete_together(self, revs: list[str]) -> list[str]:
        """One request; returns what must be deleted one by one."""
        if not self._together:
            return revs
        place = self._store.place
        keys = {place.layout.snapshot(rev): rev for rev in revs}
        try:
            failures = place.client.delete_objects(place.bucket, keys)
        except ServiceError as refused:
            known = refused.status < 500 or refused.status == 501
            if isinstance(refused, (AccessDenied, NotFound, Throttled)) or not known:
                raise
            screen.note(f"the store refuses DeleteObjects, so each is deleted by itself: {refused}")
            self._together = False
            return revs
        # Perhaps only unconditional deletes are denied: one by one they are tried with a condition as well.
        left = [keys[failure.key] for failure in failures if failure.key in keys]
        self._count(len(revs) - len(left))
        return left

    def _settle(self, rev: str, outcome: object) -> None:
        if isinstance(outcome, BaseException):
            self._result["failed-revision"] = rev
            raise outcome
        self._count(1)

    def _count(self, deleted: int) -> None:
        self._result["deleted"] += deleted
        self._result["kept"] -= deleted
