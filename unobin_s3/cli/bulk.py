# SPDX-License-Identifier: MIT
"""Commands that work on many snapshots: copy, reencrypt, gc, and the one loop that they share.

All may be stopped at any moment and run again: what is done is recognised by opening it, and passed over.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from .. import errors
from ..encrypters import Encrypter
from ..errors import AccessDenied, ConfigurationError, NotFound, ServiceError, StateError, Throttled, UnobinS3Error
from ..guard import check_owner, dangling
from ..lock import Lock
from ..state.envelope import open_envelope, read_envelope, seal
from ..state.revision import parse_revision, parse_time, sort_revisions
from ..state.snapshot import decode_snapshot
from ..store import Store
from . import screen, settings
from .change import current_of, held, reporting
from .screen import note

_BEGUN = ("done", "failed")  # members of a result that say that something was changed
_WORKERS = 8
_BATCH = 128  # so that memory does not grow with the number of snapshots, and Ctrl-C waits for few requests
_REQUEST = 1000  # keys in one DeleteObjects request
_NEVER = float("inf")


def for_each(items: Sequence[str], work: Callable[[str], object], settle: Callable[[str, object], None]) -> None:
    """`work(item)` in a few threads; `settle(item, result or error)` in this one, in order. What it raises ends all.

    What runs then is finished, and nothing new is begun: the bucket is left between two whole requests.
    """
    if not items:
        return
    from concurrent.futures import ThreadPoolExecutor

    def guarded(item: str) -> object:
        try:
            return work(item)
        except UnobinS3Error as error:
            return error

    pool = ThreadPoolExecutor(_WORKERS)
    try:
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            for item, outcome in zip(batch, pool.map(guarded, batch), strict=True):
                settle(item, outcome)
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Rewriting:
    """One snapshot: read, opened, written where it belongs, and read back. Called from threads.

    `sealer` None: the sealed bytes are taken as they are. `there`: what the target of a copy has already.
    """

    source: Store
    target: Store
    reader: Encrypter
    sealer: Encrypter | None
    locks: Sequence[Lock]
    there: frozenset[str] = frozenset()

    def __call__(self, rev: str) -> tuple[str, str]:
        """(`done` or `present`; what sealed it before)."""
        place, in_place = self.source.place, self.source is self.target
        found = place.get(place.layout.snapshot(rev), place.deadline(), verify=True)
        hint = read_envelope(found.body).hint or "nothing"
        if in_place and self.sealer:
            with suppress(errors.DecryptionError):
                open_envelope(found.body, "state", self.sealer)
                return "present", hint
        plain = open_envelope(found.body, "state", self.reader)
        check_owner(place, decode_snapshot(plain), rev)
        if rev in self.there:
            self._compare(rev, plain)
            return "present", hint
        sealed = seal(plain, "state", self.sealer) if self.sealer else found.body
        for lock in self.locks:
            lock.ensure()
        self._write(rev, plain, sealed, found.etag if in_place else None)
        return "done", hint

    def _write(self, rev: str, plain: bytes, sealed: bytes, etag: str | None) -> None:
        """The one exception to "a name is never written twice" is here: the same plaintext, over the ETag just read."""
        place = self.target.place
        key, deadline = place.layout.snapshot(rev), place.deadline()
        try:
            if etag is None:
                place.create(key, sealed, deadline)
            else:
                place.replace(key, sealed, etag, deadline)
        except (errors.PreconditionFailed, errors.OutcomeUnknown) as lost:
            if place.get(key, place.grace(deadline)).etag == etag and not place.client.unquoted_etags:
                place.client.unquoted_etags = True  # a right condition was refused: this store wants it without quotes
                return self._write(rev, plain, sealed, etag)
            try:
                return self._compare(rev, plain)  # an earlier attempt of ours may have taken effect
            except StateError:
                raise lost from None
        return self._compare(rev, plain)

    def _compare(self, rev: str, plain: bytes) -> None:
        """Read back what the target has, and open it with the key that it must be under."""
        place = self.target.place
        key = place.layout.snapshot(rev)
        body = place.get(key, place.deadline(), verify=True).body
        if open_envelope(body, "state", self.sealer or self.reader) != plain:
            raise StateError(
                f"{place.url(key)} holds another snapshot than {self.source.place.url(key)}; nothing was overwritten",
                bucket=place.bucket, key=key, rev=rev,
            )  # fmt: skip

    def run(self, revs: list[str], result: dict[str, Any], verb: str) -> None:
        """All of them. What is wrong with one is counted and told; what would be wrong with all ends it."""
        keys: Counter[str] = Counter()

        def settle(rev: str, outcome: object) -> None:
            if isinstance(outcome, errors.EnvelopeError) and parse_revision(rev) is None:
                result["foreign"] += 1
            elif isinstance(outcome, (StateError, NotFound, errors.PreconditionFailed)):
                note(f"{rev}: {outcome}")
                found = screen.diagnostic(outcome)
                result["failed"].append({"revision": rev, "message": found["message"], "type": found["type"]})
                result["ok"] = False
            elif isinstance(outcome, BaseException):
                raise outcome
            elif isinstance(outcome, tuple):
                result[outcome[0]] += 1
                keys[outcome[1]] += 1
                result["sealed-by"] = dict(sorted(keys.items()))
            step(1)

        with screen.progress(verb, len(revs)) as step:
            for_each(revs, self, settle)


def _result(**more: Any) -> dict[str, Any]:
    return {"ok": True, "done": 0, "present": 0, "foreign": 0, "failed": [], "sealed-by": {}, **more}


def reencrypt(options: Any) -> None:
    """In place: source and target are one store, and only the new key counts as done."""
    reader = settings.opener(options)
    sealer = settings.encrypter(options, "to-") or settings.encrypter(options, older=False)
    store, result = settings.store(options, reader), _result()
    with reporting(options, "state-reencrypt-result", result, *_BEGUN), held(options, store) as lock:
        _Rewriting(store, store, reader, sealer, [lock]).run(store.list(), result, "sealed anew")


def copy(options: Any) -> None:
    """Under both locks, and the pointer last."""
    reader, sealer = settings.opener(options), settings.encrypter(options, "to-")
    source, target = settings.store(options, reader), settings.store(options, sealer or reader, "to-")
    result = _result(**{"from": str(source.place), "to": str(target.place), "state-rev": None})
    hosts = {store.place.client.settings.endpoint.host for store in (source, target)}
    if len(hosts) == 1 and result["from"] == result["to"]:
        raise ConfigurationError(f"source and target are both {source.place}; give --to-bucket or --to-prefix")
    with reporting(options, "state-copy-result", result, *_BEGUN), ExitStack() as stack:
        locks = [stack.enter_context(held(options, store)) for store in (source, target)]
        current, _ = current_of(source), current_of(target)  # the second becomes the target's fence
        revs, there = source.list(), frozenset(target.list())
        for stranger in there - set(revs):
            raise StateError(f"{target.place} holds snapshots that {source.place} does not, such as {stranger}")
        _Rewriting(source, target, reader, sealer, locks, there).run(revs, result, "copied")
        if current and result["ok"]:
            target.set_current(current)
            result["state-rev"] = current


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
    result: dict[str, Any] = {"ok": True, "dry-run": options.dry_run, "deleted": 0, "kept": 0, "current": None}
    result |= {"failed-revision": None, "would-delete": []}

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
            note(f"the store refuses DeleteObjects, so each is deleted by itself: {refused}")
            self._together = False
            return revs
        # Perhaps only unconditional deletes are denied: one by one they are tried with a condition as well.
        left = [keys[failure.key] for failure in failures if failure.key in keys]
        self._settle("", None, deleted=len(revs) - len(left))
        return left

    def _settle(self, rev: str, outcome: object, deleted: int = 1) -> None:
        if isinstance(outcome, BaseException):
            self._result["failed-revision"] = rev
            raise outcome
        self._result["deleted"] += deleted
        self._result["kept"] -= deleted
