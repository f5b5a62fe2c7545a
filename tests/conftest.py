# SPDX-License-Identifier: MIT
"""What holds for every test: loopback only, nobody's credentials, and no quiet skip in the gate.

The fixture `servers` runs real ones: `servers("ministack")` starts it once per run and gives its Site.
UNOBIN_S3_REQUIRE_SERVERS=1, which .ci/run sets, turns every skip into a failure.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from tests.servers import launch, processes

NO_SKIPS = os.environ.get("UNOBIN_S3_REQUIRE_SERVERS") == "1"


def pytest_configure() -> None:
    """Take away what this machine could lend a test: credentials, profiles, proxies, other networks."""
    processes.STARTED_WITH.setdefault("PATH", os.defpath)
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    sys.addaudithook(_loopback_only)


def _loopback_only(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo" and not _is_local(arguments[0]):
        raise socket.gaierror(socket.EAI_NONAME, f"tests have no name service: {arguments[0]!r}")
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if isinstance(address, tuple) and not _is_local(address[0]):
            raise OSError(f"tests reach loopback only, not {address!r}")


def _is_local(host: str | bytes | None) -> bool:
    text = host.decode() if isinstance(host, bytes) else host or ""
    if text.startswith("127.") and text.replace(".", "").isdigit():
        return True
    return text in ("", "localhost", "::1") or text.endswith(".localhost")


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], launch.Site]]:
    """Start a server by name, once per run. One that this machine cannot run skips the test and says why."""
    with ExitStack() as running:

        @cache
        def start(name: str) -> launch.Site | str:
            try:
                return running.enter_context(launch.started(name))
            except launch.Unavailable as reason:
                return str(reason)

        def site(name: str) -> launch.Site:
            found = start(name)
            if isinstance(found, str):
                pytest.skip(f"SERVER MISSING: {name}: {found}")
            return found

        yield site


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    return _no_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Any:
    return _no_skip((yield))


def _no_skip(report: Any) -> Any:
    if NO_SKIPS and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"the gate allows no skip: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Skipped servers are said loudly, once each, also under -q."""
    for reason in sorted({str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])}):
        terminalreporter.write_line(f"NOT TESTED: {reason}", yellow=True, bold=True)


def pytest_unconfigure() -> None:
    """Locks that tests left on servers which are gone by now need no release."""
    from unobin_s3 import lock

    lock._held.clear()
