# SPDX-License-Identifier: MIT
"""The command line: which command was asked for, and what its end means as an exit code."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence

from .. import __version__
from ..errors import (
    ConditionalWritesUnsupported,
    ConfigurationError,
    DecryptionError,
    LeaseUnsupported,
    LockHeld,
    LockLost,
    NoCurrentSnapshot,
    NotFound,
    PointerInvalid,
    PointerMissing,
    UnobinS3Error,
)
from . import screen, settings

_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (ConfigurationError, 2),
    (LockHeld, 3),
    (LockLost, 4),
    (NotFound, 5),
    (NoCurrentSnapshot, 5),
    (PointerMissing, 5),
    (PointerInvalid, 5),
    (DecryptionError, 6),
    (ConditionalWritesUnsupported, 7),
    (LeaseUnsupported, 7),
    (KeyboardInterrupt, 130),
)
_ABOUT = """\
Look at, lock and repair state snapshots in S3: who holds the lock and are they alive, what is current, what changed,
how to go back, what may be deleted, whether this store can be trusted, which rights are missing.

A stack lives at s3://BUCKET/[PREFIX/]FACTORY/STACK. Every flag that says where has a variable: UNOBIN_S3_BUCKET,
UNOBIN_S3_PREFIX, UNOBIN_S3_FACTORY, UNOBIN_S3_STACK, UNOBIN_S3_ENDPOINT_URL, UNOBIN_S3_REGION, UNOBIN_S3_PROFILE,
UNOBIN_S3_KMS_KEY_ID; and so has the key: UNOBIN_S3_ENCRYPTER. AWS credentials are found as the AWS SDKs find them.
With --json there is one JSON document on stdout; logs, questions and progress are on stderr. NO_COLOR is honoured."""


def code_of(error: BaseException) -> int:
    """The exit code that an error stands for."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if getattr(error, "operation", "") == "Decrypt":  # KMS refused to open a data key
        return 6
    return next((code for kind, code in _CODES if isinstance(error, kind)), 1)


def parser() -> settings.Parser:
    """The whole command line."""
    from . import bulk, change, demo, difference, doctor, gc, hold, look, policy

    made = settings.Parser(
        prog="unobin-s3",
        description=_ABOUT,
        epilog="example:\n  unobin-s3 status --bucket my-state --factory network --stack prod\n\n"
        + textwrap.fill(settings.CODES, 100),
    )
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (look, difference, change, hold, gc, bulk, doctor, policy, demo):
        module.add(commands)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Raises SystemExit for --help, --version and usage errors."""
    options = parser().parse_args(sys.argv[1:] if argv is None else list(argv))
    screen.start(verbose=options.verbose)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read stdout went away, as `head` does. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UnobinS3Error, KeyboardInterrupt) as error:
        screen.failure(options, error)
        return code_of(error)
    return code
