# SPDX-License-Identifier: MIT
"""Programs that need packages of their own: each in a virtual environment under .cache/, pinned."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .processes import STARTED_WITH, StartFailed, Unavailable, run

CACHE = Path(__file__).parents[2] / ".cache" / "venvs"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time inside the block, on this machine; the lock ends with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def environment(name: str, *requirements: str) -> Path:
    """The folder of programs (bin) of the environment with exactly these requirements."""
    wanted = "\n".join([sys.version, *requirements])
    home = CACHE / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    with locked(CACHE / f"{name}.lock"):
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            _make(home, requirements)
            (home / "complete").touch()
    return home / "bin"


def _make(home: Path, requirements: tuple[str, ...]) -> None:
    try:
        run([sys.executable, "-m", "venv", "--without-pip", home], env=STARTED_WITH)
        # The pip of this environment installs into the other one, which saves unpacking a second pip.
        pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python")]
        run([*pip, "install", "-q", "--disable-pip-version-check", *requirements], env=STARTED_WITH)
    except StartFailed as error:
        raise Unavailable(f"pip could not install {' '.join(requirements)}: {error}") from error
