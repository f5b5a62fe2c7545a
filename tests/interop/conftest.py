# SPDX-License-Identifier: MIT
"""Fixtures of the tests against Go: the program, built once, and the servers that both sides talk to."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.go_driver import GoMissing, GoProgram, build
from tests.interop.sides import Pairing
from tests.servers.launch import Site

KEY_VARIABLE = "INTEROP_KEY"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
_numbers = itertools.count()


@pytest.fixture(scope="session")
def go_binary() -> Path:
    """Without Go these tests are skipped, loudly; where no skip is allowed that is a failure."""
    try:
        return build()
    except GoMissing as reason:
        pytest.skip(f"GO MISSING, nothing was compared with Go: {reason}")


@pytest.fixture(scope="session")
def go(go_binary: Path) -> Iterator[GoProgram]:
    """One program for all tests that do not wait in it."""
    with GoProgram(go_binary, {KEY_VARIABLE: KEY}) as program:
        yield program


@pytest.fixture(params=["testing", "ministack"])
def site(request: pytest.FixtureRequest, servers: Callable[[str], Site]) -> Site:
    return servers(request.param)


@pytest.fixture
def pair(go: GoProgram) -> Iterator[Pairing]:
    """`pair(site, stack)` gives both sides of one stack."""
    with ExitStack() as closed_at_end:
        yield Pairing(go, closed_at_end)


@pytest.fixture
def stack() -> str:
    """A stack name that no other test of this run uses, so that one bucket serves them all."""
    return f"stack-{next(_numbers)}"


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a variable that holds the same key on both sides."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    return KEY_VARIABLE
