# SPDX-License-Identifier: MIT
"""Checks too long for the gate: `python -m tests.long NAME [arguments]`, one module here for each name.

A module has `main(arguments: list[str]) -> int`, an exit status, and says in its docstring what it shows.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

NAMES = sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py"))


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in NAMES:
        print(f"usage: python -m tests.long {{{','.join(NAMES)}}} [arguments]", file=sys.stderr)
        return 2
    return int(importlib.import_module(f"tests.long.{arguments[0]}").main(arguments[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
