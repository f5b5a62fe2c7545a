# SPDX-License-Identifier: MIT
"""The command line: which command was asked for, and what its end means as an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import UnobinS3Error
from . import bulk, change, demo, difference, doctor, gc, hold, look, policy, screen, settings


def parser() -> settings.Parser:
    """The whole command line."""
    made = settings.Parser(prog="unobin-s3", **settings.manual())
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (look, difference, change, hold, gc, bulk, doctor, policy, demo):
        module.add(commands)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Raises SystemExit for --help, --version, usage errors and SIGTERM."""
    options = parser().parse_args(sys.argv[1:] if argv is None else list(argv))
    screen.start(verbose=options.verbose, utf8=options.json or options.command == "pull")
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read stdout went away, as `head` does. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UnobinS3Error, KeyboardInterrupt) as error:
        screen.failure(options, error)
        return change.code_of(error)
    return code
