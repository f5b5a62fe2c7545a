# SPDX-License-Identifier: MIT
"""Commands that take the lock or clear it: push, rollback, unlock, force-unlock, lock; and how all others take it.

`lock` holds it while another program runs, as timeout(1) and flock(1) run theirs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from .. import environ, errors
from ..errors import ConfigurationError, LockLost, UnobinS3Error
from ..holder import LockInfo
from ..lock import Lock
from ..state import gojson
from ..state.envelope import open_envelope
from ..state.snapshot import decode_snapshot
from ..store import UNSET, Store
from . import screen, settings
from .look import lock_document, lock_rows
from .screen import clean, note, say

if TYPE_CHECKING:
    import subprocess

_NOWHERE = (errors.NoCurrentSnapshot, errors.PointerMissing, errors.PointerInvalid)
_CODES: tuple[tuple[Any, int], ...] = (
    (ConfigurationError, 2), (errors.LockHeld, 3), (LockLost, 4), ((errors.NotFound, *_NOWHERE), 5),
    (errors.DecryptionError, 6), ((errors.ConditionalWritesUnsupported, errors.LeaseUnsupported), 7),
    (KeyboardInterrupt, 130),
)  # fmt: skip
_LOST, _OWN_FAILURE, _CANNOT_RUN, _NO_SUCH_PROGRAM = 124, 125, 126, 127  # exit codes of `lock`


def code_of(error: BaseException) -> int:
    """The exit code that an error stands for."""
    if isinstance(error, SystemExit):
        return int(error.code or 0)
    if getattr(error, "operation", "") == "Decrypt":  # KMS refused to open a data key
        return 6
    return next((code for kind, code in _CODES if isinstance(error, kind)), 1)


@contextmanager
def held(options: Any, store: Store, **more: Any) -> Iterator[Lock]:
    """The lock for as long as the block runs; SIGTERM and SIGHUP end the block, and the lock is given back."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def waiting(info: LockInfo) -> None:
        note(f"waiting for the lock, which is held {info.described()}")

    main = threading.current_thread() is threading.main_thread()
    hangs_up = main and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL  # under nohup it is ignored, and stays so
    if hangs_up:
        signal.signal(signal.SIGHUP, leave)
    try:
        with store.lock(options.wait, lease=options.lease, on_wait=waiting, handle_sigterm=main, **more) as lock:
            yield lock
    finally:
        if hangs_up:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)


def current_of(store: Store) -> str | None:
    """What is current; None also for a broken pointer, which is to be repaired. The lock fences whatever was read."""
    with suppress(*_NOWHERE):
        return store.current_rev()
    return None


@contextmanager
def reporting(options: Any, kind: str, result: dict[str, Any], *begun: str) -> Iterator[None]:
    """Print `result` when the block that fills it has ended; also when it fails after one of `begun` is in it.

    Then `ok` is false, the exit code is the failure's, and a failed release of the lock counts as one.
    """
    failed: BaseException | None = None
    try:
        yield
    except (UnobinS3Error, KeyboardInterrupt, SystemExit) as error:
        if not any(result[name] for name in begun):
            raise
        failed, result["ok"] = error, False
        note(screen.diagnostic(error)["message"])
    screen.answer(options, kind, result, failed)
    options.code = code_of(failed) if failed else int(not result["ok"])


def push(options: Any) -> None:
    """The file is read and validated before the lock is taken."""
    encrypter = settings.opener(options)
    store = settings.store(options, encrypter)
    try:
        with open(0 if options.file == "-" else options.file, "rb", closefd=options.file != "-") as file:
            data = file.read()
    except OSError as error:
        raise ConfigurationError(f"{options.file} cannot be read: {error.strerror}") from error
    with suppress(gojson.JSONError):  # decode_snapshot says it better
        members = gojson.loads(data)
        if isinstance(members, dict) and "envelope-version" in members:
            data = open_envelope(data, "state", encrypter)
    snapshot = decode_snapshot(data)
    _move(options, store, "state-push-result", lambda: store.write(snapshot), options.expected)


def rollback(options: Any) -> None:
    """With a key, the snapshot must open first."""
    encrypter = settings.encrypter(options)
    store = settings.store(options, encrypter)
    if encrypter is not None:
        store.get(options.rev)
    _move(options, store, "state-rollback-result", lambda: str(options.rev))


def _move(options: Any, store: Store, kind: str, choose: Callable[[], str], expected: Any = UNSET) -> None:
    result: dict[str, Any] = {"ok": True, "from": None, "to": None, "state-rev": None}
    with reporting(options, kind, result, "to"), held(options, store):
        result["from"] = current_of(store)
        if expected not in (UNSET, result["from"]):
            raise errors.PointerMoved(f"current is {result['from']}, not {expected}; nothing was written")
        rev = choose()
        store.set_current(rev)
        result["to"] = result["state-rev"] = rev


def unlock(options: Any) -> None:
    """Only the lock with this id."""
    _cleared(options, "state-unlock-result", settings.store(options).force_unlock(id=options.id))


def force_unlock(options: Any) -> None:
    """Only the lock that was shown, if it has an id to know it by."""
    store = settings.store(options)
    info = store.lock_info()
    if info is not None:
        for _, line in lock_rows(info):
            note(line)
        if not options.yes:
            if not sys.stdin.isatty():
                raise ConfigurationError("force-unlock asks before it deletes; where nobody can answer, give --yes")
            print("delete this lock? only `yes` does it: ", end="", file=sys.stderr, flush=True)
            if sys.stdin.readline().strip() != "yes":
                raise UnobinS3Error("the lock was left alone")
        info = store.force_unlock(id=info.id or None)
    _cleared(options, "state-force-unlock-result", info)


def _cleared(options: Any, kind: str, info: LockInfo | None) -> None:
    if not screen.document(options, kind, {"unlocked": info is not None, "lock": lock_document(info)}):
        say(clean(f"unlocked; it was held {info.described()}") if info else "there is no lock")


def lock(options: Any) -> int:
    """Run it, and turn every end into an exit code."""
    child = _Child(options.program)
    try:
        lost = _run(options, child)
    except UnobinS3Error as error:
        screen.failure(options, error)
        return _OWN_FAILURE
    except OSError as error:
        note(f"{options.program[0]}: {error.strerror}")
        return _NO_SUCH_PROGRAM if isinstance(error, FileNotFoundError) else _CANNOT_RUN
    if lost is not None:
        note(str(lost))
    result = {"ok": lost is None, "id": child.lock_id, "exit-code": child.code}
    screen.document(options, "state-lock-result", result, lost)
    return child.code or 0 if lost is None else _LOST


def _run(options: Any, child: _Child) -> UnobinS3Error | None:
    """Hold the lock until the program has ended; returns why it was not ours to the end, if so."""
    try:
        with held(options, settings.store(options), on_lost=lambda error: child.send(signal.SIGTERM)) as mine:
            try:
                child.start(mine.info.id)
                while not child.ended.wait(options.check):
                    _look(mine)
            except (KeyboardInterrupt, SystemExit) as stop:
                child.finish(stop)
            except LockLost:
                child.finish(None)  # `on_lost` told it
                raise
    except UnobinS3Error as error:
        if child.code is None:
            raise
        return error
    return None


def _look(mine: Lock) -> None:
    try:
        mine.check()
    except LockLost:
        raise
    except UnobinS3Error as error:
        note(f"whether the lock is still held is not known: {error}")


class _Child:
    """A program that is always waited for: the lock must not be given back while it works."""

    def __init__(self, command: list[str]) -> None:
        self.lock_id, self._command, self.ended = "", command, threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, lock_id: str) -> None:
        import subprocess

        self.lock_id, env = lock_id, {**environ.read(), "UNOBIN_S3_LOCK_ID": lock_id}
        self._process = process = subprocess.Popen(self._command, env=env)  # noqa: S603 - it is what was asked for

        def watch() -> None:
            process.wait()
            self.ended.set()

        threading.Thread(target=watch, daemon=True).start()

    @property
    def code(self) -> int | None:
        """The shell's view of how it ended; None before that."""
        code = self._process.returncode if self._process else None
        return 128 - code if code is not None and code < 0 else code

    def send(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def finish(self, stop: BaseException | None) -> None:
        """Pass the signal on that raised `stop`, and wait for the end, whatever else comes meanwhile."""
        if self._process is None and stop is not None:
            raise stop
        while not self.ended.is_set():
            try:
                if isinstance(stop, SystemExit):
                    self.send(int(stop.code or 0) - 128)
                elif stop is not None and not _on_terminal():
                    self.send(signal.SIGINT)
                self.ended.wait()
            except (KeyboardInterrupt, SystemExit) as another:
                stop = another


def _on_terminal() -> bool:
    """Whether Ctrl-C reached the program as well: a terminal sends it to the whole foreground group."""
    try:
        with open("/dev/tty", "rb") as tty:
            return os.tcgetpgrp(tty.fileno()) == os.getpgrp()
    except OSError:
        return False
