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

    The prefix is cleaned as Go does (`p/`, `p//q` and `/p` give Go's keys). Raises ConfigurationError for
    names that would leave the prefix or mix two stacks: `.` and `..` segments anywhere, control characters,
    and for factory and stack also an empty name, an outer or doubled slash, and a segment named `snapshots`.
    """

    prefix: str
    factory: str
    stack: str
    directory: str = field(init=False)
    snapshots: str = field(init=False)  # the prefix to list, with its final slash

    def __post_init__(self) -> None:
        _check_prefix(self.prefix)
        _check_name("factory", self.factory)
        _check_name("stack", self.stack)
        directory = join(self.prefix, self.factory, self.stack)
        object.__setattr__(self, "directory", directory)
        object.__setattr__(self, "snapshots", directory + "/snapshots/")

    @property
    def current(self) -> str:
        """Key of the pointer."""
        return self.directory + "/current"

    @property
    def lock(self) -> str:
        """Key of the lock."""
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


def _check_prefix(prefix: str) -> None:
    _check_text("prefix", prefix)
    if any(segment in (".", "..") for segment in prefix.split("/")):
        raise ConfigurationError(f"prefix {prefix!r} has a '.' or '..' segment; give the plain path instead")


def _check_name(argument: str, name: str) -> None:
    _check_text(argument, name)
    if not name:
        raise ConfigurationError(f"{argument} is empty; it is part of every key, so it needs a name")
    for segment in name.split("/"):
        if not segment:
            raise ConfigurationError(f"{argument} {name!r} has an empty segment; put slashes only between names")
        if segment in (".", "..", "snapshots"):
            # "dev/snapshots" would lie inside the listing of "dev", and ".." leaves the prefix.
            raise ConfigurationError(f"{argument} {name!r} has a segment {segment!r}; its keys would lie elsewhere")


def _check_text(argument: str, text: str) -> None:
    if not isinstance(text, str):
        raise ConfigurationError(f"{argument} must be a str, not {type(text).__name__}")
    if re.search(_UNSAFE, text):
        raise ConfigurationError(f"{argument} {text!r} has a control character or a lone surrogate")
