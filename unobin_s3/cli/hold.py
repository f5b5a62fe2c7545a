# SPDX-License-Identifier: MIT
"""The lock command: hold the lock while another program runs, as timeout(1) and flock(1) run theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import Any

from .. import environ
from ..errors import LockLost, UnobinS3Error
from . import screen, settings
from .change import held
from .screen import note

LOST, OWN_FAILURE, CANNOT_RUN, NO_SUCH_PROGRAM = 124, 125, 126, 127


def add(commands: Any) -> None:
    """Add `lock` to the command line."""
    parser = settings.command(
        commands, "lock", _lock, settings.place, settings.locking, example="lock --lease 60s -- make deploy"
    )
    parser.usage_code = OWN_FAILURE  # type: ignore[attr-defined]
    parser.add_argument(
        "--check", type=settings.duration, default=30.0, metavar="TIME", help="between looks at the lock; 30s"
    )
    parser.add_argument("program", metavar="CMD", nargs="+", help="after `--`: the program to run, and its arguments")


def _lock(options: Any) -> int:
    """Hold the lock while a program runs, and pass its exit code on.

    The lock is given back however the program ends. Every --check the lock is looked at; when it was lost, the program
    gets SIGTERM, and the command ends with 124 after it. SIGINT, SIGTERM and SIGHUP go to the program too.

    Ends with the program's code (128 + n when signal n ended it), 124 when the lock was lost, 125 when this command
    failed before the program ran (also when somebody else holds the lock), 126 when it cannot be run, 127 when there is
    none of that name. The program finds the lock's id in UNOBIN_S3_LOCK_ID. It must not take this lock itself.
    """
    child = _Child(options.program)
    try:
        code, lost = _run(options, child)
    except UnobinS3Error as error:
        screen.failure(options, error)
        return OWN_FAILURE
    except OSError as error:
        note(f"{options.program[0]}: {error.strerror}")
        return NO_SUCH_PROGRAM if isinstance(error, FileNotFoundError) else CANNOT_RUN
    if lost is not None:
        note(str(lost))
    if options.json:
        found = [screen.diagnostic(lost)] if lost else []
        screen.document(
            options, "state-lock-result", {"ok": lost is None, "id": child.lock_id, "exit-code": code}, found
        )
    return code if lost is None else LOST


def _run(options: Any, child: _Child) -> tuple[int, UnobinS3Error | None]:
    """(exit code, why the lock was not ours to the end)."""
    lost: UnobinS3Error | None = None
    store = settings.store(options, opens=False)
    try:
        with held(options, store, on_lost=lambda error: child.send(signal.SIGTERM)) as lock:
            child.start(lock.info.id)
            while not child.wait(options.check):
                try:
                    lock.check()
                except LockLost:
                    child.send(signal.SIGTERM)
                    child.wait(None)
                    raise
                except UnobinS3Error as error:
                    note(f"whether the lock is still held is not known: {error}")
    except UnobinS3Error as error:
        if child.code is None:
            raise
        lost = error
    return child.code or 0, lost


class _Child:
    """A program that is always waited for: the lock must not be given back while it works."""

    def __init__(self, command: list[str]) -> None:
        self.lock_id, self._command = "", command
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()

    def start(self, lock_id: str) -> None:
        self.lock_id = lock_id
        env = {**environ.read(), "UNOBIN_S3_LOCK_ID": lock_id}
        self._process = subprocess.Popen(self._command, env=env)  # noqa: S603 - running it is what was asked for
        threading.Thread(target=self._watch, args=(self._process,), daemon=True).start()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._ended.set()

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
