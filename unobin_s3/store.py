# SPDX-License-Identifier: MIT
"""Store: the snapshots, the pointer and the lock of one stack in one bucket.

Snapshots are immutable: a name is taken by a conditional create, never written twice. Only the pointer moves,
and under a lock it moves by compare-and-swap. What the rules are for is said in pointer.py, lock.py and acquire.py.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import Enum
from typing import Final

from .acquire import Wish
from .aws.s3 import S3Client
from .encrypters import Encrypter
from .errors import (
    AccessDenied,
    ConfigurationError,
    LockHeld,
    LockLost,
    NotFound,
    PointerMissing,
    PointerMoved,
    StateError,
)
from .guard import absent, check_owner, dangling, refuse_plaintext
from .holder import LockInfo
from .lock import Lock
from .locking import take_lock
from .place import Place
from .pointer import Pointer, plain, put_pointer, read_pointer, swap, tailed
from .probe import StoreReport
from .snapshots import create_snapshot
from .spill import Spill
from .state.envelope import open_envelope, seal
from .state.layout import Layout
from .state.revision import make_revision, sort_revisions
from .state.snapshot import Snapshot, decode_snapshot, encode_snapshot
from .unlock import force_unlock

_logger = logging.getLogger(__name__)


class _Unset(Enum):
    UNSET = "unset"


UNSET: Final = _Unset.UNSET


class Store:
    """One stack. Safe to use from threads; holds no state but the lock it has.

    `factory` and `stack` name it; `prefix` goes before them. `encrypter` seals and opens: there is no default.
    `kms_key_id` sends SSE-KMS headers with every put. `store_report` (probe_store) skips the check before the first
    lock on a host that is not Amazon's. `allow_plaintext`: let Noop write beside sealed snapshots. `allow_missing`:
    treat a missing pointer beside snapshots as "no state". `spill`: a folder that gets a snapshot which could not be
    uploaded (sealed; under Noop only with `spill_plaintext`).

    Each public call takes at most the client's `limits.total` (120 s), and 10 s more on the way out.
    Raises ConfigurationError for arguments, before any request.
    """

    def __init__(
        self,
        client: S3Client,
        *,
        bucket: str,
        factory: str,
        stack: str,
        encrypter: Encrypter,
        prefix: str = "",
        kms_key_id: str | None = None,
        store_report: StoreReport | None = None,
        allow_plaintext: bool = False,
        allow_missing: bool = False,
        spill: str | None = None,
        spill_plaintext: bool = False,
    ) -> None:
        for name, value in (("client", client), ("bucket", bucket), ("encrypter", encrypter)):
            if not value:
                raise ConfigurationError(f"s3 store: {name} is required")
        self._place = Place(
            client, bucket, Layout(prefix, factory, stack), kms_key_id, store_report is not None and store_report.leases
        )
        self._encrypter = encrypter
        self._report = store_report
        self._plaintext_ok = allow_plaintext or encrypter.authenticates
        self._allow_missing = allow_missing
        self._spill = Spill(spill, allowed=spill_plaintext or encrypter.authenticates) if spill else None
        self._lock: Lock | None = None
        self._locking = threading.Lock()

    @property
    def stack(self) -> str:
        return self._place.layout.stack

    @property
    def place(self) -> Place:
        """Where the objects are."""
        return self._place

    # Reading

    def current(self) -> Snapshot:
        """The snapshot that the pointer names. Raises as `current_rev` and `get`, and PointerInvalid if it dangles."""
        rev = self.current_rev()
        try:
            return self.get(rev)
        except NotFound as error:
            if error.operation != "GetObject" or error.code == "NoSuchBucket":
                raise  # of a KMS key, or the bucket
            raise dangling(self._place, rev) from error

    def current_rev(self) -> str:
        """The revision that the pointer names.

        NoCurrentSnapshot: nothing was ever written. PointerMissing: snapshots without a pointer. PointerInvalid: blank
        or malformed. PointerMoved: under a lock, when the pointer is not what this lock saw first.
        """
        deadline = self._place.deadline()
        rev = self._read_pointer(deadline).rev(self._place)
        if rev is None:
            error = absent(self._place, deadline, allowed=self._allow_missing)
            # The first write may have come between the pointer and the list.
            rev = self._read_pointer(deadline).rev(self._place) if isinstance(error, PointerMissing) else None
            if rev is None:
                raise error
        return rev

    def get(self, rev: str, *, any_stack: bool = False) -> Snapshot:
        """One snapshot, authenticated whole before anything of it is given out.

        Raises NotFound, EnvelopeError, DecryptionError, SnapshotFormatError, and StateError when it says that it is of
        another factory or stack (`any_stack` allows it).
        """
        key = self._place.layout.snapshot(rev)
        found = self._place.get(key, self._place.deadline(), verify=not self._encrypter.authenticates)
        try:
            snapshot = decode_snapshot(open_envelope(found.body, "state", self._encrypter))
        except StateError as error:
            raise self._located(error, rev, key) from error.__cause__
        if not any_stack:
            check_owner(self._place, snapshot, rev)
        return snapshot

    def list(self) -> list[str]:
        """All revisions, oldest first; foreign names last. One request for each 1,000 objects."""
        place = self._place
        found = place.client.list_objects_v2(place.bucket, place.layout.snapshots)
        revs = (place.layout.rev_of(item.key) for item in found)
        return sort_revisions(rev for rev in revs if rev is not None)

    # Writing

    def write(self, snapshot: Snapshot) -> str:
        """Seal and store a new snapshot; returns its revision. The pointer does not move.

        Atomic, and safe to repeat after OutcomeUnknown (that leaves at most an orphan). Raises LockLost without a
        request when this store's lock is lost, SnapshotFormatError and ConfigurationError before anything is sent, and
        StateError when Noop would write clear text beside sealed snapshots.
        """
        lock = self._held()
        check_owner(self._place, snapshot, "")
        sealed = seal(encode_snapshot(snapshot), "state", self._encrypter)
        deadline = self._place.deadline()
        try:
            self._guard_plaintext(deadline)
            self._warn_older(make_revision(self._place.client.clock.time_ns()), self._fenced())
            rev = create_snapshot(self._place, sealed, deadline)
        except BaseException as error:
            if self._spill is not None:
                self._spill.save(sealed, self._place, error, self._encrypter.describe())
            raise
        if lock is not None:
            lock.written.add(rev)
        return rev

    def set_current(self, rev: str, *, expected: str | _Unset | None = UNSET) -> None:
        """Point `current` at `rev`, which must exist.

        Under this store's lock: a compare-and-swap against the pointer as the lock first saw it. Without one:
        `expected` (a revision, or None for "no pointer") makes it a compare-and-swap, and leaving it out a plain put,
        the last one wins. Raises PointerMoved, with both revisions, when somebody else moved it; NotFound when `rev`
        is not there; OutcomeUnknown when a lost answer could not be cleared up.
        """
        deadline = self._place.deadline()
        self._place.layout.snapshot(rev)
        lock = self._held()
        fence: Pointer | None = None
        if lock is not None or expected is not UNSET:
            fence = self._read_pointer(deadline, cached=True)
            if expected is not UNSET and (fence.text or None) != expected:
                raise PointerMoved(
                    f"the pointer of {self._place} is {fence.text or 'absent'}, not {expected or 'absent'} as expected",
                    bucket=self._place.bucket, key=self._place.layout.current,
                    expected=expected or "", found=fence.text,
                )  # fmt: skip
        fresh = lock is not None and rev in lock.written
        if not fresh:
            self._require(rev, deadline)
        if fence is None:
            self._put_pointer(plain(rev), deadline)
            return
        # Bytes that the pointer may have had before would make older fences valid again (pointer.py).
        body = plain(rev) if fresh or fence.etag is None else tailed(rev, self._place.client.clock.token(5))
        self._warn_older(rev, fence.text)
        lock = self._held()
        moved = swap(self._place, fence, body, deadline)
        if lock is not None:
            lock.fence = moved
            lock.written.discard(rev)

    def delete(self, rev: str) -> None:
        """Delete one snapshot; an absent one is fine. That it is not the current one is the caller's to check."""
        self._held()
        key, deadline = self._place.layout.snapshot(rev), self._place.deadline()
        client, bucket = self._place.client, self._place.bucket
        try:
            client.delete_object(bucket, key, deadline=deadline)
        except AccessDenied:
            # Buckets may deny unconditional deletes; what was just seen may still be deleted.
            etag = client.head_object(bucket, key, deadline=deadline).etag
            client.delete_object(bucket, key, if_match=etag, deadline=deadline)

    # Locking

    def lock(
        self,
        timeout: float | None = 60.0,
        *,
        poll: float = 0.5,
        cancel: threading.Event | None = None,
        lease: int | None = None,
        heartbeat: bool = True,
        on_wait: Callable[[LockInfo], None] | None = None,
        on_lost: Callable[[LockLost], None] | None = None,
        handle_sigterm: bool = False,
        at_exit: bool = True,
        who: str | None = None,
    ) -> Lock:
        """Take the lock of this stack, waiting up to `timeout` seconds (0: one try; None: without limit).

        Looks again every `poll` seconds; a set `cancel` ends the wait; `on_wait` is called once with the holder. With
        `lease` (10 to 86400 s) others may take over when it has not been renewed for so long: a thread renews it every
        third of it, or `heartbeat=False` and `Lock.renew()` by hand; `on_lost` is called when it is lost. `at_exit`
        releases at interpreter exit; `handle_sigterm` (main thread) makes SIGTERM raise SystemExit. `who` replaces
        the holder text, such as f"{function}/{request_id}@lambda".

        Raises LockHeld, LockCancelled, OutcomeUnknown (with the lock's id), ConditionalWritesUnsupported,
        LeaseUnsupported, CredentialsError (they end too soon), ConfigurationError and the client's errors.
        """
        with self._locking:
            if self._lock is not None and self._lock.held:
                info = self._lock.info
                raise LockHeld(
                    f"this store already holds the lock of {self._place} (id {info.id}); release it first",
                    bucket=self._place.bucket, key=self._place.layout.lock, id=info.id, who=info.who, since=info.since,
                )  # fmt: skip
            wish = Wish(
                timeout=timeout, poll=poll, cancel=cancel, lease=lease, on_wait=on_wait, on_lost=on_lost,
                who=who, handle_sigterm=handle_sigterm,
            )  # fmt: skip
            self._lock = lock = take_lock(self._place, wish, self._report)
        lock.start(heartbeat=heartbeat, at_exit=at_exit)
        return lock

    def lock_info(self) -> LockInfo | None:
        """Who holds the lock, or None. One GET; a lock that cannot be read comes back without an id."""
        return self._place.read_lock(self._place.deadline())

    def force_unlock(self, *, id: str | None = None) -> LockInfo | None:
        """Delete whatever lock is there (with `id`: only that one, else LockHeld); returns it, or None.

        The holder is not asked. If it lives, its pointer moves are still fenced, but two may work at once.
        """
        return force_unlock(self._place, id, self._place.deadline())

    # What the public methods share

    def _held(self) -> Lock | None:
        """This store's lock, None without one. Raises LockLost when it had one and lost it."""
        lock = self._lock
        if lock is None or lock.released:
            return None
        lock.ensure()
        return lock

    def _read_pointer(self, deadline: float, *, cached: bool = False) -> Pointer:
        """The pointer; under a lock its first read becomes the fence, and a later one must agree with it."""
        lock = self._held()
        if cached and lock is not None and lock.fence is not None:
            return lock.fence
        found = read_pointer(self._place, deadline)
        if lock is not None:
            lock.saw(found)
        return found

    def _put_pointer(self, body: bytes, deadline: float) -> None:
        try:
            put_pointer(self._place, body, deadline)
        except AccessDenied:
            # Buckets may deny unconditional writes: once more as a compare-and-swap on what is there now.
            swap(self._place, read_pointer(self._place, deadline), body, deadline)

    def _require(self, rev: str, deadline: float) -> None:
        key = self._place.layout.snapshot(rev)
        try:
            self._place.client.head_object(self._place.bucket, key, deadline=deadline)
        except NotFound as error:
            error.args = (f"set-current {rev}: there is no snapshot {self._place.url(key)}; the pointer was not moved",)
            raise

    def _fenced(self) -> str:
        """The revision that this store's lock last saw as the current one, "" when it has not looked."""
        return self._lock.fence.text if self._lock is not None and self._lock.fence is not None else ""

    def _guard_plaintext(self, deadline: float) -> None:
        if not self._plaintext_ok:
            refuse_plaintext(self._place, self._read_pointer(deadline).text, deadline)
            self._plaintext_ok = True

    def _located(self, error: StateError, rev: str, key: str) -> StateError:
        """The same error, saying which object it is about."""
        error.args = (f"{self._place.url(key)}: {error.args[0]}",)
        error.bucket, error.key, error.rev = self._place.bucket, key, rev
        return error

    def _warn_older(self, rev: str, current: str) -> None:
        if current and sort_revisions([rev, current])[-1] != rev:
            _logger.warning(
                "revision %s sorts before the current one, %s: an older state, or a slow clock", rev, current
            )
