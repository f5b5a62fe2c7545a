# SPDX-License-Identifier: MIT
"""The suite with the oldest and the newest httpx and cryptography on every CPython here; or in a renamed copy.

Each pair gets an environment of its own with the built wheel and no source beside it, runs every public name
(public_api.py), and then the tests of aws/, state/, the store and the encrypters. `--vendored` runs all tests that make
sense in a copied folder on this interpreter, real servers included, with the installed package hidden.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests import copies
from tests.servers.processes import STARTED_WITH, StartFailed, run

SUITE = ("tests/aws", "tests/state", "tests/store", "tests/test_encrypters_env.py", "tests/test_encrypters_kms.py")
TOOLS = ("pytest>=8", "hypothesis>=6.100", "boto3>=1.35.70", "awscrt>=0.23")
_ASK = (
    "import platform, sys; "
    "print(platform.python_implementation(), *sys.version_info[:2], platform.python_version(), sys.executable)"
)
_VERSIONS = "from importlib.metadata import version as v; print(*(f'{n} {v(n)}' for n in sys.argv[1:]), sep=', ')"


@dataclass(frozen=True, slots=True)
class Python:
    """One interpreter of this machine; `version` is such as 3.12.1."""

    version: str
    path: str


def dependencies(which: str) -> list[str]:
    """What the package requires at run time: "newest" as declared, "oldest" at the lower bounds."""
    declared: list[str] = tomllib.loads((copies.ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    if which == "newest":
        return declared
    return [requirement.replace(">=", "==").partition(",")[0] for requirement in declared]


def pythons() -> list[Python]:
    """This interpreter, and one CPython of each other minor version from 3.11 that can be found."""
    found: dict[tuple[str, str], Python] = {}
    for path in (sys.executable, *_candidates()):
        try:
            told = run([path, "-I", "-c", _ASK], env=STARTED_WITH, timeout=30).split(maxsplit=4)
        except (OSError, StartFailed, subprocess.TimeoutExpired):
            continue  # no such file, or pyenv's name for a version that is not chosen
        kind, major, minor, version, real = told
        if kind == "CPython" and (int(major), int(minor)) >= (3, 11):
            found.setdefault((major, minor), Python(version, real.strip()))
    return sorted(found.values(), key=lambda python: [int(part) for part in python.version.split(".")[:2]])


def _candidates() -> Iterator[str]:
    for folder in STARTED_WITH.get("PATH", os.defpath).split(os.pathsep):
        yield from (str(path) for path in sorted(Path(folder).glob("python3.[0-9][0-9]")))
    try:
        for version in run(["pyenv", "versions", "--bare"], env=STARTED_WITH, timeout=30).split():
            prefix = run(["pyenv", "prefix", version], env=STARTED_WITH, timeout=30).strip()
            yield str(Path(prefix) / "bin" / "python")
    except (OSError, StartFailed):
        return


def environment(home: Path, python: str, *requirements: str) -> str:
    """A new virtual environment with exactly these; its interpreter. Raises StartFailed when that cannot be made."""
    run([python, "-m", "venv", "--without-pip", home], env=STARTED_WITH)
    made = str(home / "bin" / "python")
    run([sys.executable, "-m", "pip", "--python", made, "install", "-q", *requirements], env=STARTED_WITH)
    return made


def installed(python: str, *names: str) -> str:
    """Names and versions, for the report."""
    return run([python, "-I", "-c", f"import sys; {_VERSIONS}", *names], env=STARTED_WITH).strip()


def use_every_name(python: str) -> str:
    """Run the program that uses the whole public API; what it prints. Any warning is an error."""
    program = copies.ROOT / "tests" / "public_api.py"
    return run([python, "-I", "-B", "-W", "error", program], env={"PATH": os.defpath}, timeout=120).strip()


def _pair(python: Python, which: str, wheel: Path, work: Path) -> bool:
    """One row of the report."""
    name, began = f"CPython {python.version}, {which}", time.monotonic()
    home = work / f"{python.version}-{which}"
    project = home / "project"
    project.mkdir(parents=True)
    try:
        made = environment(home / "venv", python.path, str(wheel), *dependencies(which), *TOOLS)
        name += f" ({installed(made, 'httpx', 'httpcore', 'cryptography')})"
        use_every_name(made)
        copies.copy_suite(project)
        # No real servers: roles at theirs are tested in the gate, and they would bring 50 packages and pip along.
        words = [made, "-P", "-m", "pytest", "-p", "no:cacheprovider", "-k", "not moto and not ministack", *SUITE]
        env = {"PATH": STARTED_WITH["PATH"], "HOME": str(home), "PYTHONPATH": str(project)}
        env["UNOBIN_S3_REQUIRE_SERVERS"] = "1"
        done = subprocess.run(words, cwd=project, env=env, capture_output=True, text=True, check=False)
        good, said = done.returncode == 0, done.stdout
    except StartFailed as error:
        good, said = False, str(error)
    count = copies.passed(said)
    verdict = f"{count} tests passed" if good else f"FAILED ({count} passed)\n{said[-4000:]}"
    print(f"{name}: {verdict} in {time.monotonic() - began:.0f} s", flush=True)
    return good and count > 2000


def _matrix(jobs: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "source").mkdir()
        wheel = copies.build(work / "source", work)
        pairs = [(python, which) for python in pythons() for which in ("oldest", "newest")]
        with ThreadPoolExecutor(jobs) as pool:
            return all(list(pool.map(lambda pair: _pair(pair[0], pair[1], wheel, work), pairs)))


def _vendored() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        copies.copy_package(project / copies.COPY.replace(".", "/"))
        copies.copy_suite(project, copies.COPY)
        log = project / "log"
        # One test compares the commands' schemas with the source tree.
        ended = copies.start_copied_suite(project, ["tests", "-rfE", "-k", "not every_kind_has_a_schema"], log).wait()
        said = log.read_text()
    if ended:
        print(said[-8000:])
    print(f"the copy as {copies.COPY}: {'' if not ended else 'FAILED; '}{copies.passed(said)} tests passed")
    return ended == 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.long versions", description=__doc__)
    parser.add_argument("--vendored", action="store_true", help="the renamed copy instead")
    parser.add_argument("--jobs", type=int, default=2, help="environments at a time")
    told = parser.parse_args(arguments)
    return 0 if (_vendored() if told.vendored else _matrix(told.jobs)) else 1
