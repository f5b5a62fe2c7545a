# SPDX-License-Identifier: MIT
"""The command line: which command was asked for, and what its end means as an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import UnobinS3Error
from . import demo


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="unobin-s3", description="State snapshots in S3: look, lock, repair.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo.add_parser(commands)
    options = parser.parse_args(argv)
    try:
        code: int = options.run(options)
    except UnobinS3Error as error:
        print(f"unobin-s3: {error}", file=sys.stderr)
        return 1
    return code
