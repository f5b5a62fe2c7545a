# SPDX-License-Identifier: MIT
"""Commands that move the pointer or clear the lock: push, rollback, unlock, force-unlock; and how all take the lock."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from ..errors import ConfigurationError, NoCurrentSnapshot, PointerInvalid, PointerMissing, UnobinS3Error
from ..holder import LockInfo
from ..lock import Lock
from ..state import gojson
from ..state.envelope import open_envelope
from ..state.snapshot import Snapshot, decode_snapshot
from ..store import Store
from . import screen, settings
from .look import lock_document, lock_lines
from .screen import clean, note, say


def add(commands: Any) -> None:
    """Add these commands to the command line."""
    place, key, locking = settings.place, settings.key, settings.locking
    parser = settings.command(commands, "push", _push, place, key, locking, example="push unobin-1764000000.json.enc")
    parser.add_argument("file", metavar="FILE", help="a snapshot's JSON or a sealed envelope; `-` for stdin")
    parser.add_argument("--expected", metavar="REV", help="refuse unless this revision is current")
    parser = settings.command(
        commands, "rollback", _rollback, place, key, locking, example="rollback 2026-05-01T10:00:00.000000000Z"
    )
    parser.add_argument("rev", metavar="REV", help="becomes current; `unobin-s3 snapshots` lists them")
    parser = settings.command(commands, "unlock", _unlock, place, example='unlock --id "$UNOBIN_S3_LOCK_ID"')
    parser.add_argument("--id", required=True, help="the lock's own id; any other lock is left alone")
    parser = settings.command(commands, "force-unlock", _force_unlock, place, example="force-unlock --yes")
    parser.add_argument("--yes", action="store_true", help="do not ask")


# Taking the lock


@contextmanager
def held(options: Any, store: Store, **more: Any) -> Iterator[Lock]:
    """The lock for as long as the block runs; SIGTERM and SIGHUP end the block, and the lock is given back."""
    main = threading.current_thread() is threading.main_thread()
    hangup = signal.getsignal(signal.SIGHUP) if main else None
    if hangup is signal.SIG_DFL:  # nohup ignores it, and so do we then
        signal.signal(signal.SIGHUP, _leave)
    try:
        with store.lock(options.wait, lease=options.lease, on_wait=_waiting, handle_sigterm=main, **more) as lock:
            yield lock
    finally:
        if hangup is signal.SIG_DFL:
            signal.signal(signal.SIGHUP, hangup)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _waiting(info: LockInfo) -> None:
    note(f"waiting for the lock, which is held {info.described()}")


def report(
    options: Any,
    kind: str,
    result: dict[str, Any],
    work: Callable[[], None],
    *,
    begun: Callable[[], object],
    text: Callable[[], None],
) -> int:
    """Run `work`, which fills `result`, and print it; also when `work` fails after it has `begun` to change things.

    Then `ok` is false, the exit code is the failure's, and a failed release of the lock counts as one.
    """
    failed: BaseException | None = None
    try:
        work()
    except (UnobinS3Error, KeyboardInterrupt, SystemExit) as error:
        if not begun():
            raise
        failed = error
    if failed is not None:
        result["ok"] = False
        note(screen.diagnostic(failed)["message"])
    if options.json:
        screen.document(options, kind, result, [screen.diagnostic(failed)] if failed else [])
    else:
        text()
    if failed is not None:
        from .main import code_of

        return code_of(failed)
    return 0 if result["ok"] else 1


# push and rollback


def _push(options: Any) -> int:
    """Store a snapshot from a file and make it current, under the lock.

    FILE is a snapshot in clear, as `pull` prints it, or a sealed envelope, as a failed run leaves it behind. It is
    validated, must be of this factory and stack, and is sealed anew with the key given here. The pointer moves by
    compare-and-swap: when somebody else moves it meanwhile, the push fails and nothing is overwritten.
    """
    store = settings.store(options)
    snapshot = _read(options, store)
    return _moved(options, store, "state-push-result", lambda: store.write(snapshot), expected=options.expected)


def _rollback(options: Any) -> int:
    """Make an earlier (or later) snapshot current, under the lock.

    Writes nothing but the pointer, by compare-and-swap. With a key the snapshot is opened first, so that the pointer
    never moves to one that cannot be read; without one it must only exist. Also repairs a pointer that is missing,
    damaged or leads nowhere.
    """
    found = settings.encrypter(options)
    store = settings.store(options, opens=found or False)
    if found is not None:
        store.get(options.rev)
    return _moved(options, store, "state-rollback-result", lambda: str(options.rev))


def _read(options: Any, store: Store) -> Snapshot:
    try:
        if options.file == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(options.file, "rb") as file:
                data = file.read()
    except OSError as error:
        raise ConfigurationError(f"{options.file} cannot be read: {error.strerror}") from error
    with suppress(gojson.JSONError):
        members = gojson.loads(data)
        if isinstance(members, dict) and "envelope-version" in members:
            encrypter = settings.encrypter(options)
            if encrypter is not None:
                data = open_envelope(data, "state", encrypter)
    return decode_snapshot(data)


def _moved(options: Any, store: Store, kind: str, choose: Callable[[], str], expected: str | None = None) -> int:
    result: dict[str, Any] = {"ok": True, "from": None, "to": None, "state-rev": None}

    def work() -> None:
        with held(options, store):
            # PointerInvalid: what a rollback repairs. The lock fences whatever was read.
            with suppress(NoCurrentSnapshot, PointerMissing, PointerInvalid):
                result["from"] = store.current_rev()
            rev = choose()
            if expected is None:
                store.set_current(rev)
            else:
                store.set_current(rev, expected=expected)
            result["to"] = result["state-rev"] = rev

    def text() -> None:
        say(f"current: {clean(result['from'] or 'nothing')} -> {clean(result['to'])}")

    return report(options, kind, result, work, begun=lambda: result["to"], text=text)


# unlock and force-unlock


def _unlock(options: Any) -> int:
    """Delete the lock if it has this id.

    For the step of a pipeline that always runs. A lock that is already gone is fine; somebody else's lock is left
    alone, and the command ends with 3.
    """
    found = settings.store(options, opens=False).force_unlock(id=options.id)
    return _cleared(options, "state-unlock-result", found)


def _force_unlock(options: Any) -> int:
    """Delete whatever lock is there, after showing whose it is.

    Asks first, on a terminal; elsewhere --yes is needed. Only the lock that was shown is deleted. Its holder is not
    asked: if it lives, its pointer moves are still fenced, but two may work at once.
    """
    store = settings.store(options, opens=False)
    info = store.lock_info()
    if info is not None:
        for _, line in lock_lines(info):
            note(line)
        if not options.yes and not _agreed():
            return 1
        info = store.force_unlock(id=info.id or None)
    return _cleared(options, "state-force-unlock-result", info)


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise ConfigurationError("force-unlock asks before it deletes; where nobody can answer, give --yes")
    print("delete this lock? only `yes` does it: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == "yes"


def _cleared(options: Any, kind: str, info: LockInfo | None) -> int:
    if options.json:
        screen.document(options, kind, {"unlocked": info is not None, "lock": lock_document(info)})
    else:
        say(clean(f"unlocked; it was held {info.described()}") if info else "there is no lock")
    return 0
