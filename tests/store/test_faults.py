# SPDX-License-Identifier: MIT
"""Every operation against every fault, over a real socket. What must come of it stands in faults.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.store.conftest import KEY, JumpingClock, client_of, snapshot, vouched
from unobin_s3 import (
    Credentials,
    EnvKey,
    Limits,
    Lock,
    OutcomeUnknown,
    Store,
    UnobinS3Error,
)
from unobin_s3.testing import Fault, S3Server

ERROR = b"<Error><Code>InternalError</Code><Message>We failed.</Message></Error>"
HTML = b"<html><body>Bad gateway</body></html>"

FAULTS: dict[str, Fault] = {
    "reset before": Fault(reset=True),
    "reset after": Fault(reset=True, applied=True),
    "cut body": Fault(cut=3),
    "wrong length": Fault(extra=5),
    "slow": Fault(delay=0.6, applied=True),
    "409": Fault(409, "OperationAborted"),
    "412": Fault(412, "PreconditionFailed"),
    "500 applied": Fault(500, "InternalError", applied=True),
    "500": Fault(500, "InternalError"),
    "503": Fault(503, "SlowDown"),
    "403 expired": Fault(403, "ExpiredToken"),
    "502 html": Fault(502, body=HTML),
    "200 error": Fault(200, body=ERROR),
}


class RenewableSource:
    """Credentials that can be had anew as often as asked; the test counts how often."""

    def __init__(self, server: S3Server) -> None:
        self.renewals = 0
        self._keys = Credentials(server.access_key, server.secret_key)

    def get(self) -> Credentials:
        return self._keys

    def renew(self, rejected: Credentials) -> Credentials:
        self.renewals += 1
        return self._keys


class Subject:
    """One operation with what it needs beforehand; `run` is what meets the fault."""

    def __init__(self, server: S3Server) -> None:
        self.server = server
        self.source = RenewableSource(server)
        self.client = client_of(
            server, credentials=self.source, limits=Limits(connect=5, read=0.4, total=20), clock=JumpingClock()
        )
        self.store = Store(
            self.client, bucket="state", factory="net", stack="prod", encrypter=EnvKey("UB_STATE_KEY"),
            store_report=vouched(self.client),
        )  # fmt: skip
        self.etag = server.put("there", b"body")
        self.lock: Lock | None = None

    def prepare_current(self) -> None:
        self.store.set_current(self.store.write(snapshot()))

    def prepare_pointer(self) -> None:
        self.lock = self.store.lock(at_exit=False)
        self.store.set_current(self.store.write(snapshot("old")))
        self.rev = self.store.write(snapshot("new"))

    def prepare_lock(self) -> None:
        self.lock = self.store.lock(lease=3600, heartbeat=False, at_exit=False)

    def held(self) -> Lock:
        assert self.lock is not None
        return self.lock


Run = Callable[[Subject], object]
NOTHING: Run = lambda subject: None  # noqa: E731
# name: (which requests meet the fault, preparation, operation, how to see that it took effect)
OPERATIONS: dict[str, tuple[str, Run, Run, Run]] = {
    "get": ("GetObject", NOTHING, lambda s: s.client.get_object("state", "there").body == b"body", NOTHING),
    "head": ("HeadObject", NOTHING, lambda s: s.client.head_object("state", "there").etag == s.etag, NOTHING),
    "list": (
        "ListObjectsV2", NOTHING, lambda s: [i.key for i in s.client.list_objects_v2("state")] == ["there"], NOTHING,
    ),
    "put": (
        "PutObject", NOTHING, lambda s: s.client.put_object("state", "new", b"x"),
        lambda s: "new" in s.server.objects(),
    ),
    "create": (
        "PutObject", NOTHING, lambda s: s.client.put_object("state", "new", b"x", if_none_match=True),
        lambda s: "new" in s.server.objects(),
    ),
    "swap": (
        "PutObject", NOTHING, lambda s: s.client.put_object("state", "there", b"x", if_match=s.etag),
        lambda s: s.server.objects()["there"] == b"x",
    ),
    "delete": (
        "DeleteObject", NOTHING, lambda s: s.client.delete_object("state", "there"),
        lambda s: "there" not in s.server.objects(),
    ),
    "delete once": (
        "DeleteObject", NOTHING, lambda s: s.client.delete_object("state", "there", once=True),
        lambda s: "there" not in s.server.objects(),
    ),
    "delete many": (
        "DeleteObjects", NOTHING, lambda s: s.client.delete_objects("state", ["there"]),
        lambda s: "there" not in s.server.objects(),
    ),
    "store.lock": (
        "PutObject /lock", NOTHING, lambda s: setattr(s, "lock", s.store.lock(timeout=10, at_exit=False)),
        lambda s: "net/prod/lock" in s.server.objects(),
    ),
    "lock.renew": (
        "PutObject /lock", Subject.prepare_lock, lambda s: s.held().renew(),
        lambda s: b'"beat":0' not in s.server.objects()["net/prod/lock"],
    ),
    "lock.release": (
        "DeleteObject /lock", Subject.prepare_lock, lambda s: s.held().release(),
        lambda s: "net/prod/lock" not in s.server.objects(),
    ),
    "store.current": ("GetObject", Subject.prepare_current, lambda s: s.store.current() == snapshot(), NOTHING),
    "store.write": (
        "PutObject .json.enc", NOTHING, lambda s: s.store.write(snapshot()), lambda s: bool(s.store.list()),
    ),
    "store.set_current": (
        "PutObject /current", Subject.prepare_pointer, lambda s: s.store.set_current(s.rev),
        lambda s: s.server.objects()["net/prod/current"] == f"{s.rev}\n".encode(),
    ),
}  # fmt: skip


def outcome(operation: str, fault: str, times: int | None, server: S3Server) -> str:
    """What came of it: `done`, or the error's class; with `*` when a write that did not succeed took effect."""
    match, prepare, run, effective = OPERATIONS[operation]
    subject = Subject(server)
    try:
        prepare(subject)
        server.fault(match, FAULTS[fault], times)
        try:
            result = run(subject)
        except UnobinS3Error as error:
            word = type(error).__name__
            assert error.args[0] and server.secret_key not in str(error)
            if getattr(error, "maybe_applied", False) and not isinstance(error, OutcomeUnknown):
                word += "?"
            server.fault(match, Fault(), None)
            return word
        if result is False:
            return "unnoticed"
        if effective is not NOTHING:
            assert effective(subject), "said to be done, and is not"
        assert subject.source.renewals <= 1
        return "done"
    finally:
        subject.client.close()


def table() -> Iterator[tuple[str, str, str]]:
    lines = (Path(__file__).with_name("faults.md")).read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    for row in rows[2:]:
        for fault, cell in zip(rows[0][1:], row[1:], strict=True):
            yield row[0], fault, cell


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    monkeypatch.setenv("UB_STATE_KEY", KEY)
    with S3Server(bucket="state") as running:
        yield running


@pytest.mark.parametrize(("operation", "fault", "cell"), list(table()))
def test_fault(server: S3Server, operation: str, fault: str, cell: str) -> None:
    once, _, always = cell.partition(" / ")
    assert outcome(operation, fault, 1, server) == once
    with S3Server(bucket="state") as another:
        assert outcome(operation, fault, None, another) == always


def test_the_table_is_whole() -> None:
    assert {(operation, fault) for operation, fault, _ in table()} == {(o, f) for o in OPERATIONS for f in FAULTS}


def render() -> Iterator[str]:
    """The table as this run sees it, for looking at after a change."""
    yield "| operation | " + " | ".join(FAULTS) + " |"
    yield "|---" * (len(FAULTS) + 1) + "|"
    for operation in OPERATIONS:
        cells: list[Any] = []
        for fault in FAULTS:
            seen = []
            for times in (1, None):
                with S3Server(bucket="state") as server:
                    try:
                        seen.append(outcome(operation, fault, times, server))
                    except AssertionError as error:
                        seen.append(f"WRONG({error})")
            cells.append(" / ".join(seen))
        yield f"| {operation} | " + " | ".join(cells) + " |"
