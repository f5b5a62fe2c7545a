# SPDX-License-Identifier: MIT
"""The copy and reencrypt commands, and the one loop that works on many snapshots at once.

Both may be stopped at any moment and run again: what is done is recognised by opening it, and passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from .. import errors
from ..encrypters import Encrypter
from ..errors import ConfigurationError, StateError, UnobinS3Error
from ..guard import check_owner
from ..lock import Lock
from ..state.envelope import open_envelope, read_envelope, seal
from ..state.revision import parse_revision
from ..state.snapshot import decode_snapshot
from ..store import Store
from . import screen, settings
from .change import NOWHERE, held, reporting
from .screen import note

_BEGUN = ("done", "failed")  # members of a result that say that something was changed
_WORKERS = 8
_BATCH = 128  # so that memory does not grow with the number of snapshots, and Ctrl-C waits for few requests


def for_each(
    items: Sequence[str], work: Callable[[str], object], settle: Callable[[str, object], None], verb: str = ""
) -> None:
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
        with screen.progress(verb, len(items)) if verb else nullcontext(lambda done: None) as step:
            for start in range(0, len(items), _BATCH):
                batch = items[start : start + _BATCH]
                for item, outcome in zip(batch, pool.map(guarded, batch), strict=True):
                    settle(item, outcome)
                    step(1)
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
            elif isinstance(outcome, (StateError, errors.NotFound, errors.PreconditionFailed)):
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

        for_each(revs, self, settle, verb)


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
        current, _ = _current(source), _current(target)  # the second becomes the target's fence
        revs, there = source.list(), frozenset(target.list())
        for stranger in there - set(revs):
            raise StateError(f"{target.place} holds snapshots that {source.place} does not, such as {stranger}")
        _Rewriting(source, target, reader, sealer, locks, there).run(revs, result, "copied")
        if current and result["ok"]:
            target.set_current(current)
            result["state-rev"] = current


def _current(store: Store) -> str | None:
    with suppress(*NOWHERE):
        return store.current_rev()
    return None
