# SPDX-License-Identifier: MIT
"""The invariants. Sees every effect on the bucket at the moment it happens, and what each process was told.

Keys are told apart by their last part: `current`, `lock`, and the rest are snapshots.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from unobin_s3 import Lock, LockInfo
from unobin_s3.aws.transport import Request, Response
from unobin_s3.errors import (
    ConditionalWritesUnsupported,
    ConfigurationError,
    DecryptionError,
    EnvelopeError,
    LeaseUnsupported,
    OutcomeUnknown,
    PointerInvalid,
    PointerMoved,
    SnapshotFormatError,
    UnobinS3Error,
)

from .bucket import Effect, SimBucket
from .world import Process, Violation


@dataclass(slots=True)
class Trace:
    """One request, and what its sender knew and was doing when it sent it."""

    text: str
    key: str
    call: Call
    holder: str  # id of the lock it was sent under, "" for none
    base: int | None  # version of the pointer that its sender has seen under that lock
    version: int = 0  # of the pointer, when the request arrived
    made_up: str = ""
    given_up: bool = False


@dataclass(slots=True, eq=False)
class Call:
    """One public call of the library by one process."""

    process: Process
    name: str
    rev: str = ""
    ids: set[str] = field(default_factory=set)  # of locks that it tried to write
    effects: list[tuple[str, bytes]] = field(default_factory=list)  # (key, body) of what it put
    error: UnobinS3Error | None = None
    over: bool = False
    stalled: float = 0.0


@dataclass(slots=True)
class View:
    """What one process holds and knows."""

    call: Call
    lock: Lock | None = None  # from the return of lock() to the start of its release
    holder: str = ""
    base: int | None = None
    listed: int = 0  # version of the pointer when it last listed
    own_move: int | None = None  # version that its last write of the pointer made
    ids: set[str] = field(default_factory=set)  # of every lock it ever wrote


class Watch:
    """`exclusive`: nobody is ever displaced, so no two are inside. `leases`: no two count themselves as holder."""

    def __init__(self, *, exclusive: bool, leases: bool) -> None:
        self.exclusive, self.leases = exclusive, leases
        self.bucket: SimBucket
        self.views: dict[Process, View] = {}
        self.moves: list[str] = []  # the revision after each write of the pointer
        self.movers: list[Call] = []
        self.displaced: dict[str, str] = {}  # lock id -> what became of it
        self.taken_from: dict[str, set[str]] = {}  # taker's id -> ids it displaced by a lease, directly or not
        self.void: set[str] = set()  # ids whose holders cannot move the pointer any more
        self.written: dict[str, str] = {}  # acknowledged rev -> its content
        self.deleted: set[str] = set()
        self.told: dict[str, str] = {}  # lock id or rev -> the end its caller was told of as uncertain
        self.ended: dict[str, str] = {}  # lock id -> how the session that tried to hold it ended
        self.ghosts: set[str] = set()  # locks created by requests that arrived after their call was over
        self.refused: set[str] = set()  # snapshot keys that got a 412 out of thin air
        self.operators: set[Process] = set()
        self.seen: Counter[str] = Counter()

    @property
    def version(self) -> int:
        return len(self.moves)

    def view(self, process: Process) -> View:
        found = self.views.get(process)
        if found is None:
            found = self.views[process] = View(Call(process, "nothing"))
        return found

    def need(self, good: bool, rule: str, *facts: object) -> None:
        if not good:
            raise Violation(" ".join([rule, *map(str, facts)]))

    # Requests

    def sending(self, process: Process, request: Request, key: str) -> Trace:
        view = self.view(process)
        name = key.rpartition("/")[2] or "list"
        condition = next((f" {c}={request.headers[c][:7]}" for c in _CONDITIONS if c in request.headers), "")
        if name == "lock" and request.method == "PUT":
            view.holder = json.loads(request.body)["id"]
            view.ids.add(view.holder)
            view.call.ids.add(view.holder)
            name = f"lock[{view.holder[:4]}]"
        text = f"{request.method} {name}{condition}"
        return Trace(text, key, view.call, view.holder, view.base)

    def received(self, process: Process, response: Response, trace: Trace) -> None:
        view = self.view(process)
        if trace.text == "GET current" and response.status in (200, 404) and view.lock is not None:
            view.base = trace.version if view.base is None else view.base
        if trace.text == "GET list":
            view.listed = trace.version
        if response.status == 412 and trace.made_up:
            self.refused.add(trace.key)

    def applied(self, process: Process, effect: Effect, trace: Trace) -> None:
        call, name = trace.call, effect.key.rpartition("/")[2]
        if effect.after is not None:
            call.effects.append((effect.key, effect.after.body))
            if call.over and call.name in ("write", "set_current") and not process.dead:
                good = isinstance(call.error, OutcomeUnknown) or effect.key in self.refused
                self.need(good, f"{call.name} took effect after it had ended with", call.error)
        if name == "lock":
            self._lock_changed(process, effect, trace)
        elif name == "current":
            self._pointer_moved(process, effect, trace)

    def _lock_changed(self, process: Process, effect: Effect, trace: Trace) -> None:
        before, after = _id(effect.before), _id(effect.after)
        if before and before != after:
            own = before in self.view(process).ids
            if effect.method == "DELETE":
                self.need(own or process in self.operators, "a release deleted somebody else's lock:", before)
                self.displaced.setdefault(before, "released" if own else "forced")
            else:
                self.seen["take-overs"] += 1
                self.displaced[before] = "taken"
                self.taken_from.setdefault(after, set()).update(self.taken_from.get(before, set()), {before})
                holders = [v.lock for v in self.views.values() if v.lock is not None and v.lock.info.id == before]
                counted = self.leases and any(lock.held for lock in holders)
                self.need(not counted, "a lease was taken over while its holder counted on it:", before)
        if after and not before and trace.given_up:
            self.seen["late creates"] += 1
            if trace.call.over or after in self.ended:
                self.ghosts.add(after)

    def _pointer_moved(self, process: Process, effect: Effect, trace: Trace) -> None:
        self.need(effect.after is not None, "the pointer was deleted")
        rev = effect.after.body.decode().strip() if effect.after else ""
        before = self.moves[-1] if self.moves else ""
        version = self.version
        self.moves.append(rev)
        self.movers.append(trace.call)
        snapshot = f"{effect.key.removesuffix('current')}snapshots/{rev}.json.enc"
        self.need(snapshot in self.bucket.objects, "the pointer names a snapshot that is not there:", rev)
        if trace.call.name == "lock":
            self.need(rev == before, "a take-over moved the pointer from", before, "to", rev)
        else:
            known = trace.base is None or trace.base == version
            if self.bucket.manners.no_if_match and trace.base is not None:
                # A plain put may be repeated; what lies between must be its own.
                known = all(mover is trace.call for mover in self.movers[trace.base :])
            self.need(
                known,
                "the pointer was moved by one who had seen version", trace.base, "while it was at version", version,
            )  # fmt: skip
            self.need(trace.holder not in self.void, "one whose lease was taken over moved the pointer:", trace.holder)
        if trace.call is self.view(process).call:
            self.view(process).own_move = version + 1

    # Sessions

    def calling(self, process: Process, name: str, rev: str = "") -> Call:
        view = self.view(process)
        view.call = Call(process, name, rev, stalled=process.stalled)
        if name == "lock":
            view.own_move = view.base = None
        return view.call

    def entered(self, process: Process, lock: Lock) -> None:
        """lock() returned."""
        view = self.view(process)
        self.need(lock.info.id in view.call.ids, "lock() returned a lock that it did not write")
        view.lock, view.holder, view.base = lock, lock.info.id, view.own_move
        self.seen["locks"] += 1
        self.void.discard(lock.info.id)  # it may have lost it before it ever had it
        if self.moves:
            self.void |= self.taken_from.get(lock.info.id, set()) - {lock.info.id}
        self.alone(process)

    def alone(self, process: Process) -> None:
        """Nobody else is inside, or at least counts itself as holder."""
        mine = self.view(process).lock
        for other, view in self.views.items():
            if other is process or view.lock is None or other.dead or mine is None:
                continue
            self.need(not self.exclusive, "two are inside:", process.name, other.name)
            both = self.leases and mine.held and view.lock.held
            self.need(not both, "two count themselves as holder:", process.name, other.name)

    def left(self, process: Process) -> None:
        """About to release."""
        self.view(process).lock = None

    def waits(self, process: Process, holder: LockInfo) -> None:
        own = holder.id[-32:] in self.view(process).call.ids  # the end: a planted bug disguises it
        self.need(not own, "a process waits for its own lock", holder.id)

    def lost(self, lock: Lock, *, expired: bool) -> None:
        """The process was told LockLost."""
        self.seen["lock lost"] += 1
        fate = self.displaced.get(lock.info.id)
        self.need(expired or fate in ("taken", "forced"), "LockLost for a lock that nobody took:", lock.info.id, fate)

    def moved(self, call: Call) -> None:
        """set_current returned."""
        own = any(key.endswith("/current") and body.decode().strip() == call.rev for key, body in call.effects)
        self.need(own, "set_current returned and never took effect:", call.rev)
        self.view(call.process).base = self.view(call.process).own_move
        self.seen["moves"] += 1

    def wrote(self, call: Call, rev: str, content: str) -> None:
        """write returned."""
        puts = {key for key, _ in call.effects if "/snapshots/" in key}
        mine = [key for key in puts if key.endswith(f"/{rev}.json.enc")]
        self.need(bool(mine), "write returned a revision that it did not write:", rev)
        self.need(len(puts) == 1 or bool(puts & self.refused), "one write made several snapshots:", sorted(puts))
        base, _, suffix = rev.partition("_")
        if suffix:
            before = base if suffix == "1" else f"{base}_{int(suffix) - 1}"
            key = mine[0].replace(rev, before)
            free = key not in self.bucket.objects and key not in self.refused and before not in self.deleted
            self.need(not free, "write passed over a free name:", before)
            self.seen["suffixes"] += 1
        self.written[rev] = content
        self.seen["writes"] += 1

    def failed(self, call: Call, error: UnobinS3Error) -> None:
        """A public call raised."""
        call.error = error
        self.seen[type(error).__name__] += 1
        if isinstance(error, OutcomeUnknown) and call.name == "delete":
            return
        if isinstance(error, OutcomeUnknown):
            self.need(bool(error.id), f"{call.name} ended unknown without an id:", error)
            self.need(error.id in str(error), "the message has no id:", error)
            self.need(call.name != "lock" or error.id in call.ids, "lock() named another id:", error.id)
            self.told[error.id] = call.name
            return
        self.need(not isinstance(error, _NEVER), f"{call.name} raised {type(error).__name__}:", error)
        if call.name == "lock" and call.stalled == call.process.stalled and not call.effects:
            self.need("before an attempt" not in str(error), "lock() ended without an answer:", error)
        if call.name in ("write", "set_current"):
            superseded = isinstance(error, PointerMoved) and self.movers[-1:] != [call]
            self.need(not call.effects or superseded, f"{call.name} took effect and said:", error)

    # The end

    def finish(self, crashed: Callable[[str], bool]) -> None:
        """Everything has arrived that ever will."""
        lock = next((stored for key, stored in self.bucket.objects.items() if key.endswith("/lock")), None)
        left = _id(lock)
        if left:
            why = self.ended.get(left, "")
            told = crashed(left) or left in self.told or why == "not released"
            # A create that arrives after its lock was won, used and given back cannot be known of.
            over = why in ("released", "lost") or self.displaced.get(left) == "released"
            good = told or (over and left in self.ghosts)
            self.need(good, f"a lock was left behind by one whose session ended as {why!r}:", left)
        copies = Counter(stored.body for key, stored in self.bucket.objects.items() if "/snapshots/" in key)
        for key, stored in self.bucket.objects.items():
            if "/snapshots/" in key and copies[stored.body] > 1:
                self.need(bool(self.refused), "one write made two snapshots:", key)


# What no network can excuse.
_NEVER = (
    ConfigurationError, ConditionalWritesUnsupported, DecryptionError, EnvelopeError, LeaseUnsupported, PointerInvalid,
    SnapshotFormatError,
)  # fmt: skip
_CONDITIONS = ("if-none-match", "if-match")


def _id(stored: object) -> str:
    return str(json.loads(stored.body)["id"]) if stored is not None else ""  # type: ignore[attr-defined]
