# SPDX-License-Identifier: MIT
"""Every server, every guarantee: what happened must be what capabilities.py says of that server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.servers import matrix
from tests.servers.capabilities import BUILT_FROM_GO, GUARANTEES, SITES, expected
from tests.servers.checks import CHECKS
from tests.servers.launch import Site, fresh_bucket
from tests.servers.subject import Subject, under_test

ON_DEMAND = list(BUILT_FROM_GO) if os.environ.get("UNOBIN_S3_GO_SERVERS") == "1" else []
LEFT_OUT = os.environ.get("UNOBIN_S3_WITHOUT", "none")
CHOSEN = [name for name in [*SITES, *ON_DEMAND] if name.partition("-")[0] != LEFT_OUT]


@pytest.fixture(scope="module", params=CHOSEN)
def subject(request: pytest.FixtureRequest, servers: Callable[[str], Site]) -> Iterator[Subject]:
    """A bucket of its own on the server; `-versioned` names one with versioning on."""
    server, _, versioned = str(request.param).partition("-")
    site = fresh_bucket(servers(server), f"conformance{versioned}", versioning=bool(versioned))
    with under_test(Site(request.param, site.url, site.access_key, site.secret_key, site.bucket)) as subject:
        yield subject


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_guarantee(subject: Subject, guarantee: str) -> None:
    seen = CHECKS[guarantee](subject)
    matrix.SEEN[subject.site.name, guarantee] = seen
    assert seen == expected(subject.site.name, guarantee)


def test_every_guarantee_is_checked() -> None:
    assert set(CHECKS) == set(GUARANTEES)


def test_committed_matrix_is_what_servers_are_held_to() -> None:
    """With test_guarantee, this makes the committed file the result of this run, for each server that ran."""
    assert matrix.PATH.read_text() == matrix.rendered(expected)
