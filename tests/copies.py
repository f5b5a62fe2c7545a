# SPDX-License-Identifier: MIT
"""The package as others have it: built into a wheel, or its folder copied under another name, with its tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "unobin_s3"
COPY = "app._vendor.anything"

# What speaks of the distribution or the source tree itself, and so has no meaning in a copy.
OF_THE_TREE = (
    "test_architecture.py", "test_budget.py", "test_bundle.py", "test_packaging.py", "test_readme.py",
    "test_vendoring.py", "test_versions.py",
)  # fmt: skip

# The installed package, and every name that mentions it, cannot be imported in a process that begins like this.
HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if "unobin_s3" in name:
            raise ImportError(f"{name} is hidden")
sys.meta_path.insert(0, Hidden())
"""
_BUILD = "import sys; from flit_core import buildapi as b; b.build_wheel(sys.argv[1]); b.build_sdist(sys.argv[1])"


def copy_package(place: Path) -> None:
    shutil.copytree(PACKAGE, place, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


def build(source: Path, target: Path) -> Path:
    """Make wheel and sdist in `target` from a copy in `source` of what git would have; where the wheel is."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    copy_package(source / PACKAGE.name)
    subprocess.run([sys.executable, "-c", _BUILD, str(target)], cwd=source, check=True)
    return next(target.glob("*.whl"))


def copy_suite(project: Path, name: str = PACKAGE.name) -> None:
    """The tests and their settings, importing the package as `name`, without what speaks of the tree itself."""
    ignored = shutil.ignore_patterns("__pycache__", "interop", *OF_THE_TREE)
    shutil.copytree(ROOT / "tests", project / "tests", ignore=ignored)
    for path in (project / "tests").rglob("*.py") if name != PACKAGE.name else ():
        path.write_text(path.read_text().replace(PACKAGE.name, name))
    shutil.copy(ROOT / "pyproject.toml", project)
    cache = ROOT / ".cache"  # with the servers' own environments, which need not be made twice
    cache.mkdir(exist_ok=True)
    (project / ".cache").symlink_to(cache)


def start_copied_suite(project: Path, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """pytest in a copy's project, the installed package hidden; its output goes to `log`."""
    words = [sys.executable, "-P", "-c", f"{HIDE}import pytest; sys.exit(pytest.main(sys.argv[1:]))"]
    env = {"PYTHONPATH": str(project), "HOME": str(project), "PATH": os.environ["PATH"]}
    with log.open("wb") as output:
        return subprocess.Popen(
            [*words, "-p", "no:cacheprovider", *arguments], cwd=project, env=env, stdout=output, stderr=output
        )


def passed(log: str) -> int:
    """How many tests pytest says have passed; 0 when it did not come that far."""
    words = log.split(" passed")[0].split()
    return int(words[-1]) if " passed" in log and words[-1].isdigit() else 0
