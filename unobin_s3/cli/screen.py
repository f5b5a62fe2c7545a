# SPDX-License-Identifier: MIT
"""What a person or a program sees: escaped text, aligned columns, one JSON document, a progress line. No requests.

Names and values come from a bucket that others write to, so nothing reaches a terminal before `clean`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from .. import environ
from ..errors import LockError, UnobinS3Error
from ..state.revision import parse_revision

SENSITIVE = "<sensitive>"
RED, GREEN, YELLOW, BOLD = "31", "32", "33", "1"
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def clean(text: str) -> str:
    """One line that does nothing to a terminal: controls, escape sequences, bidi and zero-width marks are spelt out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def json_text(value: object, *, indent: int | None = None) -> str:
    """JSON without HTML escaping; characters that are not printable are written as escapes, which is the same value."""
    separators = (",", ":") if indent is None else (",", ": ")
    return printable_json(json.dumps(value, ensure_ascii=False, separators=separators, indent=indent))


def printable_json(text: str) -> str:
    """The same document for a terminal. Raw characters of that kind stand in strings only, where escapes may stand."""
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


def say(text: str = "", colour: str = "") -> None:
    """One line on stdout; `text` was cleaned."""
    print(f"\x1b[{colour}m{text}\x1b[0m" if colour and _colours(sys.stdout) else text)


def note(text: str) -> None:
    """One line for people on stderr."""
    print(f"unobin-s3: {clean(text)}", file=sys.stderr)


def _colours(stream: TextIO) -> bool:
    env = environ.read()
    return stream.isatty() and not env.get("NO_COLOR") and env.get("TERM") != "dumb"


def table(rows: Iterable[Sequence[str]], *, marked: str = "") -> None:
    """Aligned columns; the row whose first cell is `marked` is bold."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        say(line, BOLD if marked and row[0] == marked else "")


def ago(seconds: float | None) -> str:
    """A length of time in its two largest units, such as `2 h 5 m`; "?" for None."""
    if seconds is None:
        return "?"
    left, parts = abs(int(seconds)), list[str]()
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return ("-" if seconds <= -1 else "") + " ".join(parts[:2])


def age_of(rev: str) -> float | None:
    """Seconds since a revision was made, by the clocks of its writer and this machine; None for a foreign name."""
    parsed = parse_revision(rev)
    return None if parsed is None else time.time() - parsed[0] / 1e9


def document(options: Any, kind: str, members: Mapping[str, object], diagnostics: Sequence[object] = ()) -> None:
    """Print the one JSON document of a command, in the Go tool's frame."""
    version = {"version": "", "content-revision": "", "library-path": None}
    head = {"factory": {"name": options.factory, **version, **members.get("factory", {})}, "stack": options.stack}  # type: ignore[dict-item]
    rest = {name: value for name, value in members.items() if name != "factory"}
    print(json_text({"kind": kind, "format-version": 1, **head, **rest, "diagnostics": list(diagnostics)}))


def diagnostic(error: BaseException) -> dict[str, str]:
    """An error as a member of `diagnostics`."""
    code = "unobin.state.unlock" if isinstance(error, LockError) else "unobin.error"
    text = "; ".join([str(error) or "interrupted", *getattr(error, "__notes__", ())])
    return {"code": code, "severity": "error", "message": text, "type": type(error).__name__}


def failure(options: Any, error: BaseException) -> None:
    """Print what ended a command: for people on stderr, and as a `command-error` document."""
    found = diagnostic(error)
    note(found["message"])
    if getattr(options, "json", False):
        usage = isinstance(error, ValueError) and isinstance(error, UnobinS3Error)
        code = f"unobin.command.{'invalid-args' if usage else 'failed'}"
        members = {"command": options.command, "code": code, "message": f"{options.command} failed"}
        kind = {"kind": "command-error", "format-version": 1}
        print(json_text({**kind, **members, "diagnostics": [found], "files": []}))


class Progress:
    """A line on stderr that counts, with rate and time left; nothing when stderr is no terminal."""

    def __init__(self, verb: str, total: int) -> None:
        self._verb, self._total, self._done = verb, total, 0
        self._begun = self._shown = time.monotonic()
        self._on = sys.stderr.isatty()

    def step(self, count: int = 1) -> None:
        self._done += count
        now = time.monotonic()
        if self._on and now - self._shown >= 0.1:
            self._shown = now
            rate = self._done / (now - self._begun)
            left = ago((self._total - self._done) / rate)
            line = f"{self._verb} {self._done:,} of {self._total:,}, {rate:,.0f}/s, {left} left"
            print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._on:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class _ToStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


def start(*, verbose: bool) -> None:
    """Send the library's log lines to stderr, and let no character that a stream cannot hold end the command."""
    logger = logging.getLogger(__name__.rpartition(".cli.")[0])
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    if not any(isinstance(handler, _ToStderr) for handler in logger.handlers):
        logger.addHandler(_ToStderr())
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
