# SPDX-License-Identifier: MIT
"""One stack seen from both sides: a Go store and a Python Store with the same bucket, names and key."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from tests.interop.go_driver import GoProgram, GoStore
from tests.servers.launch import Site
from unobin_s3 import Credentials, S3Client, Store, decode_snapshot, encode_snapshot
from unobin_s3.aws.caller import Clock
from unobin_s3.encrypters import Encrypter, Noop

FACTORY = "factory"


@dataclass(frozen=True)
class Sides:
    """`python` and `go` keep the same stack; the methods work on snapshots as stored bytes."""

    site: Site
    stack: str
    go: GoStore
    python: Store

    def write(self, side: str, snapshot: bytes) -> str:
        if side == "go":
            return self.go.write(snapshot)
        return self.python.write(decode_snapshot(snapshot))

    def get(self, side: str, rev: str) -> bytes:
        return self.go.get(rev) if side == "go" else encode_snapshot(self.python.get(rev))

    def key(self, name: str) -> str:
        return f"{FACTORY}/{self.stack}/{name}"

    def raw(self, name: str) -> bytes:
        """An object of the stack as it lies in the bucket, fetched by neither side."""
        with closing(self.site.boto3()) as second:
            return bytes(second.get_object(Bucket=self.site.bucket, Key=self.key(name))["Body"].read())

    def put_raw(self, name: str, body: bytes) -> None:
        with closing(self.site.boto3()) as second:
            second.put_object(Bucket=self.site.bucket, Key=self.key(name), Body=body)


class Pairing:
    """Makes Sides, and closes their clients at the end: the fixture `pair`."""

    def __init__(self, go: GoProgram, closed_at_end: ExitStack) -> None:
        self._go = go
        self._closed_at_end = closed_at_end

    def client(self, site: Site, clock: Clock | None = None) -> S3Client:
        keys = Credentials(site.access_key, site.secret_key)
        made = S3Client(
            region=site.region, credentials=keys, endpoint_url=site.url, path_style=True, clock=clock, env={}
        )
        return self._closed_at_end.enter_context(closing(made))

    def __call__(
        self,
        site: Site,
        stack: str,
        encrypter: Encrypter | None = None,
        go_encrypter: dict[str, object] | None = None,
        clock: Clock | None = None,
        **store: Any,
    ) -> Sides:
        """Both under Noop unless both encrypters are given. `store`: further arguments of Store."""
        keys = (site.access_key, site.secret_key)
        go_store = self._go.open(
            site.url, site.bucket, factory=FACTORY, stack=stack, encrypter=go_encrypter,
            kms_endpoint=site.url, keys=keys, poll=0.02,
        )  # fmt: skip
        python = Store(
            self.client(site, clock), bucket=site.bucket, factory=FACTORY, stack=stack, encrypter=encrypter or Noop(),
            **store,
        )  # fmt: skip
        return Sides(site, stack, go_store, python)


def snapshot(stack: str, number: int = 0) -> bytes:
    """A small valid one, as stored."""
    text = (
        '{"format-version":1,"factory":{"name":"%s","version":"v1","content-revision":"c"},"stack":"%s",'
        '"generated-at":"2026-05-01T10:00:00Z","entries":[],"outputs":{"number":%d}}'
    )
    return encode_snapshot(decode_snapshot((text % (FACTORY, stack, number)).encode()))
