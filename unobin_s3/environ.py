# SPDX-License-Identifier: MIT
"""The only reader of the process environment. Everything else takes a mapping."""

from __future__ import annotations

import os
from collections.abc import Mapping


def read() -> Mapping[str, str]:
    """The live environment of this process; not a copy, so that a later change is seen by whoever keeps it."""
    return os.environ


def put(name: str, value: str) -> None:
    """Set a variable of this process. Only the demonstration does, which makes up its own key."""
    os.environ[name] = value
