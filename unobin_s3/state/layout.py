# SPDX-License-Identifier: MIT
"""Object keys of one stack, and the checks of the names they are made of. No requests."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..errors import ConfigurationError
from .revision import check_revision

_SUFFIX = ".json.enc"
# C0, DEL, C1 and lone surrogates: S3 lists cannot return the first ones, UTF-8 cannot hold the last.
_UNSAFE = "[\x00-\x1f\x7f-\x9f\ud800-\udfff]"


def join(*parts: str) -> str:
    """Go's `path.Join`: drops empty parts, joins with "/", then resolves ".", ".." and repeated slashes.

    Not posixpath: an absolute later part does not reset the result, and nothing at all gives "".
    """
    path = "/".join(part for part in parts if part)
    if not path:
        return ""
    root = "/" if path.startswith("/") else ""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment in ("", "."):
            continue
        if segment != "..":
            kept.append(segment)
        elif kept and kept[-1] != "..":
            kept.pop()
        elif not root:
            kept.append(segment)
    return root + "/".join(kept) or "."


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the objects of one stack are: `[<prefix>/]<factory>/<stack>/` and what is in it.

    The prefix is cleaned as Go does (`p/`, `p//q` and `/p` give Go's keys). Raises ConfigurationError for names that
    would leave the prefix or mix two stacks: `.` and `..` segments anywhere, control characters, and for factory and
    stack also an empty name, an outer or doubled slash, and a segment named `snapshots`.
    """

    prefix: str
    factory: str
    stack: str
    directory: str = field(init=False)
    snapshots: str = field(init=False)  # the prefix to list, with its final slash

    def __post_init__(self) -> None:
        for argument in ("prefix", "factory", "stack"):
            _check(argument, getattr(self, argument))
        directory = join(self.prefix, self.factory, self.stack)
        object.__setattr__(self, "directory", directory)
        object.__setattr__(self, "snapshots", directory + "/snapshots/")

    @property
    def current(self) -> str:
        return self.directory + "/current"

    @property
    def lock(self) -> str:
        return self.directory + "/lock"

    def snapshot(self, rev: str) -> str:
        """Key of the snapshot `rev`. Raises ConfigurationError for a rev that could name another place."""
        check_revision(rev)
        return self.snapshots + rev + _SUFFIX

    def rev_of(self, key: str) -> str | None:
        """The revision that a listed key stands for; None for keys that no `snapshot(rev)` gives."""
        if not (key.startswith(self.snapshots) and key.endswith(_SUFFIX)):
            return None
        rev = key[len(self.snapshots) : -len(_SUFFIX)]
        try:
            check_revision(rev)
        except ConfigurationError:
            return None
        return rev


def _check(argument: str, text: str) -> None:
    if not isinstance(text, str):
        raise ConfigurationError(f"{argument} must be a str, not {type(text).__name__}")
    problem, segments = "", set(text.split("/"))
    if re.search(_UNSAFE, text):
        problem = "has a control character or a lone surrogate"
    elif {".", ".."} & segments:
        problem = "has a '.' or '..' segment; give the plain path instead"
    elif argument != "prefix" and "" in segments:
        problem = "is empty or has an empty segment; it is part of every key, and slashes stand only between names"
    elif argument != "prefix" and "snapshots" in segments:
        problem = "has a segment 'snapshots'; its keys would lie among the snapshots of another stack"
    if problem:
        raise ConfigurationError(f"{argument} {text!r} {problem}")
