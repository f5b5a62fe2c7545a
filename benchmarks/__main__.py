# SPDX-License-Identifier: MIT
"""`python -m benchmarks [--quick] [--only GROUP ...] [--out FOLDER]`: measure, print, and write the results."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from . import report, venvs
from .peers import site
from .rows import GROUPS, Run
from .stats import Row


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="unobin_s3 beside other S3 clients")
    parser.add_argument("--quick", action="store_true", help="under two minutes, once the environments are there")
    parser.add_argument("--only", nargs="+", choices=GROUPS, metavar="GROUP", help="of " + ", ".join(GROUPS))
    parser.add_argument("--out", type=Path, help="folder for the results; with --quick or --only none by default")
    asked = parser.parse_args()
    wheel = venvs.set_up()
    begin = time.monotonic()
    rows: list[Row] = []
    with site() as running:
        for name in asked.only or GROUPS:
            start = time.monotonic()
            rows += GROUPS[name](Run(running, wheel, asked.quick))
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    command = "python -m benchmarks" + (" --quick" if asked.quick else "")
    command += " --only " + " ".join(asked.only) if asked.only else ""
    folder = asked.out or (None if asked.quick or asked.only else report.HERE)
    print(report.markdown(rows, command=command, seconds=time.monotonic() - begin))
    if folder is not None:
        report.write(rows, command=command, seconds=time.monotonic() - begin, folder=folder)


if __name__ == "__main__":
    main()
