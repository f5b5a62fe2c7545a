# SPDX-License-Identifier: MIT
"""What a person or a program sees: escaped text, aligned columns, one JSON document, a progress line. No requests.

Names and values come from a bucket that others write to, so nothing reaches a terminal before `clean`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .. import environ
from ..errors import ConfigurationError, LockError
from ..state.revision import parse_revision

SENSITIVE = "<sensitive>"
RED, GREEN, YELLOW, BOLD = "31", "32", "33", "1"


def clean(text: str) -> str:
    """One line that does nothing to a terminal: controls, escape sequences, bidi and zero-width marks are spelt out."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def json_text(value: object, *, indent: int | None = None) -> str:
    """JSON without HTML escaping."""
    separators = (",", ":") if indent is None else (",", ": ")
    return printable_json(json.dumps(value, ensure_ascii=False, separators=separators, indent=indent))


def printable_json(text: str) -> str:
    """The same document for a terminal: such characters can stand in strings only, where escapes may stand too."""
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


def say(text: str, colour: str = "") -> None:
    """One line on stdout; `text` was cleaned."""
    env = environ.read()
    if colour and sys.stdout.isatty() and not env.get("NO_COLOR") and env.get("TERM") != "dumb":
        text = f"\x1b[{colour}m{text}\x1b[0m"
    print(text)


def note(text: str) -> None:
    """One line for people on stderr."""
    print(f"unobin-s3: {clean(text)}", file=sys.stderr)


def table(rows: Iterable[Sequence[str]], *, marked: str = "") -> None:
    """Aligned columns; the row whose first cell is `marked` is bold."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say(line.rstrip(), BOLD if marked and row[0] == marked else "")


def ago(seconds: float | None) -> str:
    """A length of time in its two largest units, such as `2 h 5 m`; "?" for None."""
    if seconds is None or abs(seconds) == float("inf"):
        return "?"
    left, parts = abs(int(seconds)), list[str]()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return ("-" if seconds <= -1 else "") + " ".join(parts[:2])


def age_of(rev: str) -> float | None:
    """Seconds since a revision was made, by the clocks of its writer and this machine; None for a foreign name."""
    parsed = parse_revision(rev)
    return None if parsed is None else time.time() - parsed[0] / 1e9


def document(options: Any, kind: str, members: Mapping[str, Any], *problems: BaseException | None) -> bool:
    """With --json print the one JSON document of a command, in the Go tool's frame; returns whether it did."""
    if options.json:
        factory = {"name": options.factory, "version": "", "content-revision": "", "library-path": None}
        factory |= members.get("factory", {})
        head = {"kind": kind, "format-version": 1, "factory": factory, "stack": options.stack}
        rest = {name: value for name, value in members.items() if name != "factory"}
        print(json_text({**head, **rest, "diagnostics": [diagnostic(problem) for problem in problems if problem]}))
    return bool(options.json)


def answer(options: Any, kind: str, members: Mapping[str, Any], *problems: BaseException | None) -> None:
    """The document, or without --json the same as aligned text; what is empty is left out there."""
    if document(options, kind, members, *problems):
        return
    rows: list[tuple[str, str]] = []
    for name, value in members.items():
        if isinstance(value, dict):
            rows += [(f"{name}.{part}", _text(item)) for part, item in value.items()]
        else:
            values = value if isinstance(value, list) else [value]
            rows += [("" if index else name, _text(item)) for index, item in enumerate(values)]
    table([row for row in rows if row[1]])


def _text(value: object) -> str:
    if value is None or isinstance(value, str | bool):
        return value if isinstance(value, str) else ""
    return f"{value:,}" if isinstance(value, int) else json_text(value)


def diagnostic(error: BaseException) -> dict[str, str]:
    """An error as a member of `diagnostics`."""
    code = "unobin.state.unlock" if isinstance(error, LockError) else "unobin.error"
    text = "; ".join([str(error) or "interrupted", *getattr(error, "__notes__", ())])
    return {"code": code, "severity": "error", "message": text, "type": type(error).__name__}


def failure(options: Any, error: BaseException) -> None:
    """Print what ended a command: for people on stderr, and as a `command-error` document."""
    found = diagnostic(error)
    note(found["message"])
    if options.json:
        code = f"unobin.command.{'invalid-args' if isinstance(error, ConfigurationError) else 'failed'}"
        head = {"kind": "command-error", "format-version": 1, "command": options.command, "code": code}
        print(json_text({**head, "message": f"{options.command} failed", "diagnostics": [found], "files": []}))


@contextmanager
def progress(verb: str, total: int) -> Iterator[Callable[[int], None]]:
    """Call it with how many more are done: a terminal's stderr has a line with number, rate and time left."""
    on, done, begun = sys.stderr.isatty(), 0, time.monotonic()
    shown = begun

    def step(count: int) -> None:
        nonlocal done, shown
        done, now = min(done + count, total), time.monotonic()
        if on and now - shown >= 0.1:
            shown, rate = now, done / (now - begun)
            line = f"{verb} {done:,} of {total:,}, {rate:,.0f}/s, {ago((total - done) / rate)} left"
            print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)

    try:
        yield step
    finally:
        if on:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class _ToStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


def start(*, verbose: bool, utf8: bool) -> None:
    """Send the library's log lines to stderr, and let no character that a stream cannot hold end the command."""
    logger = logging.getLogger(__name__.rpartition(".cli.")[0])
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    logger.handlers[:] = [_ToStderr()]
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace", encoding="utf-8" if utf8 else None)
