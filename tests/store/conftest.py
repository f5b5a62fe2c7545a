# SPDX-License-Identifier: MIT
"""One testing server a test, and stores on it. `vouched` skips the check before the first lock."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from unobin_s3 import Credentials, Entry, EnvKey, FactoryInfo, S3Client, Snapshot, Store, StoreReport
from unobin_s3.aws.caller import Clock
from unobin_s3.state.snapshot import Binding
from unobin_s3.testing import S3Server

KEY = base64.b64encode(bytes(range(32))).decode()


class QuickClock(Clock):
    """The real clock, but waiting between repetitions costs nothing; and time may stand still."""

    frozen_ns: int | None = None

    def sleep(self, seconds: float, cancel: Any = None) -> None:
        super().sleep(min(seconds, 0.01), cancel)

    def time_ns(self) -> int:
        return super().time_ns() if self.frozen_ns is None else self.frozen_ns


class JumpingClock(QuickClock):
    """Time that a test moves by hand; waiting moves it too."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def time_ns(self) -> int:
        return super().time_ns() + int(self.ahead * 1e9)

    def sleep(self, seconds: float, cancel: Any = None) -> None:
        self.ahead += seconds
        super().sleep(0, cancel)


def snapshot(value: str = "clear value", **members: Any) -> Snapshot:
    """A valid snapshot of the stack `net/prod` with one output."""
    entry = Entry(
        address="resource.a",
        entry_kind="leaf",
        category="resource",
        binding=Binding(alias="aws", kind="bucket"),
        outputs={"value": value},
    )
    return Snapshot(factory=FactoryInfo(name="net"), stack="prod", entries=[entry], **members)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    monkeypatch.setenv("UB_STATE_KEY", KEY)
    with S3Server(bucket="state") as running:
        yield running


@pytest.fixture
def client(server: S3Server) -> Iterator[S3Client]:
    made = client_of(server)
    yield made
    made.close()


def client_of(server: S3Server, **more: Any) -> S3Client:
    keys = Credentials(server.access_key, server.secret_key)
    usual: dict[str, Any] = {"endpoint_url": server.url, "region": server.region, "credentials": keys}
    return S3Client(**(usual | {"clock": QuickClock()} | more))


def vouched(client: S3Client) -> StoreReport:
    return StoreReport(host=client.settings.endpoint.host, bucket="state", exclusive=True, leases=True)


MakeStore = Callable[..., Store]


@pytest.fixture
def make(client: S3Client) -> MakeStore:
    """Stores of `net/prod` that trust the server's exclusion; arguments replace the usual ones."""

    def build(**more: Any) -> Store:
        usual: dict[str, Any] = {
            "bucket": "state",
            "factory": "net",
            "stack": "prod",
            "encrypter": EnvKey("UB_STATE_KEY"),
            "store_report": vouched(client),
        }
        arguments = usual | more
        return Store(arguments.pop("client", client), **arguments)

    return build


def operations(server: S3Server) -> list[str]:
    """What was asked since the last reset, such as `PUT lock`."""
    return [f"{record.method} {record.key.rpartition('/')[2] or 'LIST'}" for record in server.requests]
