# SPDX-License-Identifier: MIT
"""The lock command: hold the lock while another program runs, as timeout(1) and flock(1) run theirs."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from .. import environ
from ..errors import LockLost, UnobinS3Error
from ..lock import Lock
from . import screen, settings
from .change import held
from .screen import note

if TYPE_CHECKING:
    import subprocess

_LOST, _OWN_FAILURE, _CANNOT_RUN, _NO_SUCH_PROGRAM = 124, 125, 126, 127


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
        self.lock_id, self._command = "", command
        self._process: subprocess.Popen[bytes] | None = None
        self.ended = threading.Event()

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
