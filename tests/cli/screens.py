# SPDX-License-Identifier: MIT
"""Prints the screens that the README shows, as commands really print them: `python tests/cli/screens.py`."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.cli.conftest import KEYS, snapshot, variables
from unobin_s3 import Binding, Credentials, EnvKey, FactoryInfo, S3Client, Snapshot, Store, StoreReport
from unobin_s3.cli.main import main
from unobin_s3.state.revision import make_revision
from unobin_s3.testing import S3Server

COMMANDS = ("status", "list", "lock-info", "gc --keep 3 --older-than 2d --dry-run", "doctor")


def history(server: S3Server, store: Store, snap: Snapshot) -> None:
    """Six snapshots of the last days, the last but one current."""
    now, start = time.time(), store.place.layout.snapshots
    for days in (9, 6, 4, 2, 1, 0.02):
        then = now - days * 86400
        rev = store.write(snap)
        body = server.objects()[f"{start}{rev}.json.enc"]
        server.delete(f"{start}{rev}.json.enc")
        server.now = lambda then=then: then  # type: ignore[misc]
        server.put(f"{start}{make_revision(int(then * 1e9))}.json.enc", body)
        server.now = time.time
    store.set_current(store.list()[-2])


def run() -> None:
    """A stack with a history and a live holder, and the five screens."""
    os.environ.update(KEYS)
    with S3Server(bucket="my-state") as server:
        env = variables(server.url, server.access_key, server.secret_key, "my-state")
        os.environ.update(env | {"UNOBIN_S3_FACTORY": "network"})
        client = S3Client(
            endpoint_url=server.url, region=server.region, credentials=Credentials(server.access_key, server.secret_key)
        )
        report = StoreReport(host=client.settings.endpoint.host, bucket="my-state", exclusive=True, leases=True)
        names = {"bucket": "my-state", "factory": "network", "stack": "prod"}
        store = Store(client, **names, encrypter=EnvKey("UB_STATE_KEY"), store_report=report)  # type: ignore[arg-type]
        entry = (snapshot().entries or [])[0]
        vpc = replace(entry, address="resource.vpc", binding=Binding(alias="aws", kind="vpc"))
        snap = snapshot(factory=FactoryInfo(name="network", version="1.2.3"), entries=[entry, vpc])
        history(server, store, snap)
        with store.lock(lease=60, who="ann@ci-runner-7"):
            for command in COMMANDS:
                print(f"$ unobin-s3 {command}")
                main(command.split())
                print()


if __name__ == "__main__":
    run()
