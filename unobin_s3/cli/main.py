# SPDX-License-Identifier: MIT
"""The command line: which commands there are, which was asked for, and what its end means as an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from .. import __version__
from ..errors import UnobinS3Error
from . import bulk, change, demo, doctor, look, screen, settings

# What runs each, and its groups of flags and other arguments, which settings.py describes. The exit code is what it
# returns, or leaves in `options.code`.
_COMMANDS: dict[str, tuple[Callable[[Any], int | None], str]] = {
    "status": (look.status, "place"),
    "lock-info": (look.lock_info, "place"),
    "snapshots": (look.snapshots, "place"),
    "list": (look.listing, "place key --rev"),
    "show": (look.show, "place key --rev --show-sensitive ref"),
    "pull": (look.pull, "place key [rev]"),
    "diff": (look.diff, "place key --show-sensitive before after"),
    "push": (change.push, "place key lock --expected file"),
    "rollback": (change.rollback, "place key lock rev"),
    "unlock": (change.unlock, "place --id"),
    "force-unlock": (change.force_unlock, "place --yes"),
    "lock": (change.lock, "place lock --check program"),
    "gc": (bulk.gc, "place lock --keep --older-than --pin --grace --dry-run"),
    "copy": (bulk.copy, "place key to-place to-key lock"),
    "reencrypt": (bulk.reencrypt, "place key to-key lock"),
    "doctor": (doctor.doctor, "place key --read-only"),
    "policy": (doctor.policy, "place key --mode"),
    "demo": (demo.demo, "place"),
}


@cache
def parser() -> settings.Parser:
    """The whole command line."""
    made = settings.Parser(prog="unobin-s3", **settings.manual())
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (run, words) in _COMMANDS.items():
        settings.command(commands, name, run, words)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Raises SystemExit for --help, --version, usage errors and SIGTERM."""
    options = parser().parse_args(sys.argv[1:] if argv is None else list(argv))
    screen.start(verbose=options.verbose, utf8=options.json or options.command == "pull")
    try:
        code: int = options.run(options) or options.code
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read stdout went away, as `head` does. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UnobinS3Error, KeyboardInterrupt) as error:
        screen.failure(options, error)
        return change.code_of(error)
    return code
