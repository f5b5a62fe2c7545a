# SPDX-License-Identifier: MIT
"""One site under test: our client and store on it, and what has to be under way long before it is looked at."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from unobin_s3 import (
    Credentials,
    Lock,
    Noop,
    S3Client,
    Snapshot,
    Store,
    StoreReport,
    UnobinS3Error,
    decode_snapshot,
    probe_store,
)
from unobin_s3.aws.caller import Clock

from .capabilities import SHORTFALLS
from .launch import Site

FACTORY = "f"
LEASE = 10  # seconds; the shortest there is


def snapshot(stack: str, number: int) -> Snapshot:
    body = {
        "format-version": 1,
        "factory": {"name": FACTORY, "version": "1", "content-revision": ""},
        "stack": stack,
        "generated-at": "2026-05-01T10:00:00Z",
        "entries": [],
        "outputs": {"number": number},
    }
    return decode_snapshot(json.dumps(body).encode())


class Subject:
    """`site` with everything the checks share. `live` is a lease that its heartbeat has kept since `since`."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.since = time.monotonic()
        self.live: Lock | None = None
        self.closing = ExitStack()
        self.client = self.connect()
        self.report: StoreReport = probe_store(self.client, site.bucket)  # kept, as an operator would

    def connect(
        self, *, url: str | None = None, key: str | None = None, secret: str | None = None, clock: Clock | None = None
    ) -> S3Client:
        """One more client of this site, differing in what is given; closed at the end."""
        site = self.site
        credentials = Credentials(key or site.access_key, secret or site.secret_key)
        client = S3Client(
            region=site.region, credentials=credentials, endpoint_url=url or site.url, clock=clock, env={}
        )
        self.closing.callback(client.close)
        return client

    def store(self, stack: str, *, url: str | None = None) -> Store:
        """A store with a client of its own, as another process would have it; `url` goes through a proxy."""
        report = replace(self.report, host=urlsplit(url or self.site.url).netloc)
        return Store(
            self.connect(url=url), bucket=self.site.bucket, factory=FACTORY, stack=stack, encrypter=Noop(),
            store_report=report,
        )  # fmt: skip


@contextmanager
def under_test(site: Site) -> Iterator[Subject]:
    """Plants a holder that died and one that lives, where the store can hold leases, and gives time to pass."""
    subject = Subject(site)
    with subject.closing:
        if "lease" not in SHORTFALLS[site.name]:
            _plant(subject)
        yield subject


def _plant(subject: Subject) -> None:
    dead = {"id": "d" * 32, "who": "dead@host", "created": "2026-05-01T10:00:00Z", "lease": LEASE, "beat": 0}
    store = subject.store("dead")
    store.set_current(store.write(snapshot("dead", 1)))
    subject.client.put_object(subject.site.bucket, f"{FACTORY}/dead/lock", json.dumps(dead).encode())
    subject.live = subject.store("live").lock(lease=LEASE, timeout=5)
    subject.closing.enter_context(subject.live)


def named(error: UnobinS3Error) -> str:
    return f"refused: {type(error).__name__}"
