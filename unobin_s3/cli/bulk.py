# SPDX-License-Identifier: MIT
"""The copy and reencrypt commands, and the one loop that works on many snapshots at once.

Both may be stopped at any moment and run again: what is done is recognised by opening it, and passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from ..encrypters import Encrypter
from ..errors import (
    ConfigurationError,
    DecryptionError,
    EnvelopeError,
    NoCurrentSnapshot,
    NotFound,
    OutcomeUnknown,
    PointerInvalid,
    PointerMissing,
    PreconditionFailed,
    StateError,
    UnobinS3Error,
)
from ..guard import check_owner
from ..lock import Lock
from ..state.envelope import open_envelope, read_envelope, seal
from ..state.revision import parse_revision
from ..state.snapshot import decode_snapshot
from ..store import Store
from . import screen, settings
from .change import held, report
from .screen import clean, note, say

_WORKERS = 8
_BATCH = 128  # so that memory does not grow with the number of snapshots, and Ctrl-C waits for few requests


def add(commands: Any) -> None:
    """Add these commands to the command line."""
    place, key, locking = settings.place, settings.key, settings.locking
    example = "copy --env-key UB_STATE_KEY --to-bucket new-state --to-kms alias/state"
    settings.command(commands, "copy", _copy, place, key, settings.target, locking, example=example)
    example = "reencrypt --env-key NEW_KEY --older-key OLD_KEY\nreencrypt --env-key UB_STATE_KEY --to-kms alias/state"
    settings.command(commands, "reencrypt", _reencrypt, place, key, settings.new_key, locking, example=example)


def for_each(
    items: Sequence[str], work: Callable[[str], object], settle: Callable[[str, object], None], *, verb: str
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

    progress = screen.Progress(verb, len(items))
    pool = ThreadPoolExecutor(_WORKERS)
    try:
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            for item, outcome in zip(batch, pool.map(guarded, batch), strict=True):
                settle(item, outcome)
                if verb:
                    progress.step()
    finally:
        pool.shutdown(cancel_futures=True)
        if verb:
            progress.close()


@dataclass(frozen=True, slots=True)
class _Rewriting:
    """One snapshot: read, opened, written where it belongs, and read back. Called from threads.

    `sealer` None: the sealed bytes are taken as they are. `there`: what the target has already.
    """

    source: Store
    target: Store
    reader: Encrypter
    sealer: Encrypter | None
    locks: Sequence[Lock]
    there: frozenset[str]

    def __call__(self, rev: str) -> tuple[str, str]:
        """(`done`, `present` or `foreign`; what sealed it before)."""
        place = self.source.place
        found = place.get(place.layout.snapshot(rev), place.deadline(), verify=True)
        hint = read_envelope(found.body).hint or "nothing"
        if self.source is self.target and self.sealer and self._opened(found.body, self.sealer) is not None:
            return "present", hint
        plain = open_envelope(found.body, "state", self.reader)
        check_owner(place, decode_snapshot(plain), rev)
        if self.source is not self.target and rev in self.there:
            self._compare(rev, plain)
            return "present", hint
        sealed = seal(plain, "state", self.sealer) if self.sealer else found.body
        for lock in self.locks:
            lock.ensure()
        self._write(rev, plain, sealed, found.etag if self.source is self.target else None)
        return "done", hint

    def _opened(self, body: bytes, encrypter: Encrypter) -> bytes | None:
        with suppress(DecryptionError):
            return open_envelope(body, "state", encrypter)
        return None

    def _write(self, rev: str, plain: bytes, sealed: bytes, etag: str | None) -> None:
        """The one exception to "a name is never written twice" is here: the same plaintext, over the ETag just read."""
        place = self.target.place
        key, deadline = place.layout.snapshot(rev), place.deadline()
        try:
            if etag is None:
                place.create(key, sealed, deadline)
            else:
                place.replace(key, sealed, etag, deadline)
        except (PreconditionFailed, OutcomeUnknown) as lost:
            if place.get(key, place.grace(deadline)).etag == etag and not place.client.unquoted_etags:
                place.client.unquoted_etags = True  # a right condition refused: this store wants it without quotes
                return self._write(rev, plain, sealed, etag)
            try:
                return self._compare(rev, plain)
            except StateError:
                raise lost from None
        self._compare(rev, plain)
        return None

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


def _run_all(revs: list[str], work: _Rewriting, result: dict[str, Any], verb: str) -> None:
    """All snapshots. What is wrong with one is counted and told; what would be wrong with all of them ends it."""
    keys: Counter[str] = Counter()

    def settle(rev: str, outcome: object) -> None:
        if isinstance(outcome, EnvelopeError) and parse_revision(rev) is None:
            result["foreign"] += 1
        elif isinstance(outcome, (StateError, NotFound, PreconditionFailed)):
            note(f"{rev}: {outcome}")
            result["failed"].append({"revision": rev, "message": str(outcome), "type": type(outcome).__name__})
            result["ok"] = False
        elif isinstance(outcome, BaseException):
            raise outcome
        elif isinstance(outcome, tuple):
            result[outcome[0]] += 1
            keys[outcome[1]] += 1
            result["sealed-by"] = dict(sorted(keys.items()))

    for_each(revs, work, settle, verb=verb)


def _blank() -> dict[str, Any]:
    return {"ok": True, "done": 0, "present": 0, "foreign": 0, "failed": [], "sealed-by": {}}


def _tell(result: dict[str, Any], done: str, present: str) -> None:
    say(f"{done} {result['done']:,}, {present} {result['present']:,}, failed {len(result['failed']):,}")
    screen.table([(f"  {count:,}", f"found sealed by {hint}") for hint, count in result["sealed-by"].items()])
    if result["foreign"]:
        say(f"{result['foreign']:,} foreign names were left alone")


def _reencrypt(options: Any) -> int:
    """Seal all snapshots anew under another key, in place, under the lock.

    The first key given seals, all that are given open: name the new one as --env-key or --kms and the old ones as
    --older-key; or the old one as usual and the new one with --to-env-key, --to-kms or --to-noop. Every snapshot is
    opened, sealed, put over exactly the object that was read, read back, and opened with the new key alone. The
    pointer does not move.

    Stopped half-way, it is run again to go on: what the new key opens is passed over. Afterwards the report shows what
    sealed each snapshot before; once nothing is sealed by the old key any more, that can be retired.
    """
    reader = _need(settings.encrypter(options))
    sealer = settings.encrypter(options, "to-") or _first_only(options)
    store = settings.store(options, opens=reader)
    result = _blank()

    def work() -> None:
        with held(options, store) as lock:
            revs = store.list()
            _run_all(revs, _Rewriting(store, store, reader, sealer, [lock], frozenset()), result, "sealed anew")

    def text() -> None:
        _tell(result, "sealed anew", "already under this key")

    return report(options, "state-reencrypt-result", result, work, begun=lambda: _begun(result), text=text)


def _first_only(options: Any) -> Encrypter:
    """The same encrypter without its older keys, so that only the new key opens."""
    return _need(settings.encrypter(options, older=False))


def _begun(result: dict[str, Any]) -> bool:
    return bool(result["done"] or result["failed"])


def _need(found: Encrypter | None) -> Encrypter:
    if found is None:
        raise ConfigurationError("say what opens the snapshots: --env-key NAME, --kms KEY_ID or --noop")
    return found


def _copy(options: Any) -> int:
    """Copy a stack to another bucket, prefix, region or key, under both locks.

    Every snapshot is opened before, and read back and opened after. They keep their names, and their sealed bytes
    unless a key is given for the target. Last, the target's pointer is moved to the source's current revision, if no
    snapshot failed. The target may hold what an earlier copy put there, and nothing else.

    Stopped half-way, it is run again to go on: what the target has already is compared and passed over.
    """
    reader, sealer = _need(settings.encrypter(options)), settings.encrypter(options, "to-")
    source, target = settings.store(options, opens=reader), settings.store(options, "to-", opens=sealer or reader)
    if _same(source, target):
        raise ConfigurationError(f"source and target are both {source.place}; give --to-bucket or --to-prefix")
    result: dict[str, Any] = {**_blank(), "from": str(source.place), "to": str(target.place), "state-rev": None}

    def work() -> None:
        with ExitStack() as stack:
            locks = [stack.enter_context(held(options, store)) for store in (source, target)]
            current, _ = _current(source), _current(target)  # the second is the fence
            revs, there = source.list(), frozenset(target.list())
            strangers = there - set(revs)
            if strangers:
                raise StateError(
                    f"{target.place} holds snapshots that {source.place} does not, such as {min(strangers)}"
                )
            _run_all(revs, _Rewriting(source, target, reader, sealer, locks, there), result, "copied")
            if current and result["ok"]:
                target.set_current(current)
                result["state-rev"] = current

    def text() -> None:
        say(clean(f"{result['from']} -> {result['to']}"))
        _tell(result, "copied", "already there")
        say(clean(f"current: {result['state-rev'] or 'not moved'}"))

    return report(options, "state-copy-result", result, work, begun=lambda: _begun(result), text=text)


def _same(source: Store, target: Store) -> bool:
    one, other = source.place, target.place
    hosts = [place.client.settings.endpoint.host for place in (one, other)]
    return hosts[0] == hosts[1] and str(one) == str(other)


def _current(store: Store) -> str | None:
    with suppress(NoCurrentSnapshot, PointerMissing, PointerInvalid):
        return store.current_rev()
    return None
