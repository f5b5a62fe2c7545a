# SPDX-License-Identifier: MIT
"""The lock command: hold the lock while another program runs, as timeout(1) and flock(1) run theirs."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from .. import environ
from ..errors import LockLost, UnobinS3Error
from . import screen, settings
from .change import held
from .screen import note

if TYPE_CHECKING:
    import subprocess

_LOST, _OWN_FAILURE, _CANNOT_RUN, _NO_SUCH_PROGRAM = 124, 125, 126, 127


def add(commands: Any) -> None:
    """Add `lock` to the command line."""
    parser = settings.command(commands, "lock", _lock, settings.place, settings.locking)
    parser.usage_code = _OWN_FAILURE
    parser.add_argument("--check", type=settings.duration, default=30.0, metavar="TIME", help="looks at the lock; 30s")
    parser.add_argument("program", metavar="CMD", nargs="+", help="after `--`: the program to run, and its arguments")


def _lock(options: Any) -> int:
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
    if options.json:
        result = {"ok": lost is None, "id": child.lock_id, "exit-code": child.code}
        screen.document(options, "state-lock-result", result, lost)
    return child.code or 0 if lost is None else _LOST


def _run(options: Any, child: _Child) -> UnobinS3Error | None:
    """Hold the lock until the program has ended; returns why it was not ours to the end, if so."""
    try:
        with held(options, settings.store(options), on_lost=lambda error: child.send(signal.SIGTERM)) as lock:
            child.start(lock.info.id)
            while not child.wait(options.check):
                try:
                    lock.check()
                except LockLost:
                    child.wait(None)  # `on_lost` told it
                    raise
                except UnobinS3Error as error:
                    note(f"whether the lock is still held is not known: {error}")
    except UnobinS3Error as error:
        if child.code is None:
            raise
        return error
    return None


class _Child:
    """A program that is always waited for: the lock must not be given back while it works."""

    def __init__(self, command: list[str]) -> None:
        self.lock_id, self._command = "", command
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()

    def start(self, lock_id: str) -> None:
        import subprocess

        self.lock_id, env = lock_id, {**environ.read(), "UNOBIN_S3_LOCK_ID": lock_id}
        self._process = process = subprocess.Popen(self._command, env=env)  # noqa: S603 - it is what was asked for

        def watch() -> None:
            process.wait()
            self._ended.set()

        threading.Thread(target=watch, daemon=True).start()

    @property
    def code(self) -> int | None:
        """The shell's view of how it ended; None before that."""
        code = self._process.returncode if self._process else None
        return 128 - code if code is not None and code < 0 else code

    def send(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, seconds: float | None) -> bool:
        """Whether it ended. A signal meanwhile goes on to the program; only its end ends the wait then."""
        try:
            return self._ended.wait(seconds)
        except KeyboardInterrupt:
            if not _on_terminal():
                self.send(signal.SIGINT)
        except SystemExit as stop:
            self.send(int(stop.code or 0) - 128)
        return self.wait(None)


def _on_terminal() -> bool:
    """Whether Ctrl-C reached the program as well: a terminal sends it to the whole foreground group."""
    try:
        with open("/dev/tty", "rb") as tty:
            return os.tcgetpgrp(tty.fileno()) == os.getpgrp()
    except OSError:
        return False
