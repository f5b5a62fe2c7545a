# SPDX-License-Identifier: MIT
"""The lower bounds of the dependencies are true. Every other pair of versions: `python -m tests.long versions`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import copies
from tests.long import versions
from tests.servers.processes import StartFailed


def test_the_whole_api_with_the_oldest_dependencies(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    wheel = copies.build(tmp_path / "source", tmp_path)
    try:
        python = versions.environment(tmp_path / "venv", sys.executable, str(wheel), *versions.dependencies("oldest"))
    except StartFailed as error:
        pytest.skip(f"OLDEST DEPENDENCIES NOT TESTED: {error}")
    assert versions.installed(python, "httpx", "cryptography") == "httpx 0.27.0, cryptography 42.0.0"
    assert versions.use_every_name(python) == "as documented"


def test_this_python_is_among_those_found() -> None:
    found = versions.pythons()
    assert sys.executable in [python.path for python in found]
    assert len({python.version.rpartition(".")[0] for python in found}) == len(found)
