# SPDX-License-Identifier: MIT
"""Coverage-guided fuzzing (atheris) of every reader of foreign bytes, for as long as it is told.

Shows that no input makes them raise anything but the package's own errors, take over ten seconds, or 2 GB.
Inputs that do are kept in the folder given, and named. atheris has wheels for some Python versions only:
`pip install atheris`; without it this says so and ends with 2.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def main(arguments: list[str]) -> int:
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: atheris is not installed here, and nothing was fuzzed: pip install atheris", file=sys.stderr)
        return 2
    if arguments[:1] == ["--one"]:
        return _fuzz_one(arguments[1], arguments[2:])
    from tests.fuzzing import SEEDS, TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.long fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together")
    parser.add_argument("--found", type=Path, help="a folder for inputs that fail")
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args(arguments)
    names = told.targets or list(TARGETS)
    failed = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            for number, seed in enumerate(SEEDS[name]):
                (Path(folder) / f"seed-{number}").write_bytes(seed)
            found = told.found or Path(folder)
            limits = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=65536", f"-seed={told.seed}"]
            limits += [f"-max_total_time={max(1, told.seconds // len(names))}", f"-artifact_prefix={found}/{name}-"]
            command = [sys.executable, "-m", "tests.long", "fuzz", "--one", name, folder, *limits]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        lines = done.stderr.splitlines()
        last = next((line for line in reversed(lines) if line.startswith("#") or "Done" in line), "")
        print(f"{'passed' if done.returncode == 0 else 'FAILED'}: {name}: {last}", flush=True)
        if done.returncode:
            failed.append(name)
            print("\n".join(lines[-60:]), flush=True)
    return int(bool(failed))


def _fuzz_one(name: str, arguments: list[str]) -> int:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["unobin_s3"]):
        from tests.fuzzing import TARGETS
    logging.disable(logging.CRITICAL)
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()
    return 0
