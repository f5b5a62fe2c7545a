# SPDX-License-Identifier: MIT
"""The main job, shown: lock, write, point, read back, list, release, and a second writer kept out."""

from __future__ import annotations

import argparse
import base64
import json
import os
from contextlib import ExitStack
from typing import Any

from ..aws.credentials import Credentials
from ..aws.s3 import S3Client
from ..encrypters import EnvKey
from ..errors import LockHeld, NoCurrentSnapshot
from ..state.snapshot import Binding, Entry, FactoryInfo, Snapshot
from ..store import Store

_KEY_VARIABLE = "UNOBIN_DEMO_KEY"


def add_parser(commands: Any) -> None:
    """Add `demo` to the command line."""
    parser = commands.add_parser(
        "demo",
        help="run the main job against a server on this machine, or a real bucket",
        description="Runs lock, write, set-current, read back, list and release with a sealed snapshot, and shows each "
        "step. Without --bucket it starts an S3 server on loopback; with it, the bucket is used.",
        epilog="example: unobin-s3 demo --endpoint-url http://127.0.0.1:9000 --bucket scratch --prefix demo",
    )
    parser.add_argument("--endpoint-url", help="an S3-compatible store; Amazon's when left out")
    parser.add_argument("--bucket", help="a bucket you may write to; without it a server on loopback is started")
    parser.add_argument("--prefix", default="", help="goes before the demo's keys")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """The demo; returns 0 or raises what went wrong."""
    with ExitStack() as stack:
        if options.bucket:
            client, bucket = S3Client(endpoint_url=options.endpoint_url), options.bucket
        else:
            from ..testing import S3Server

            server = stack.enter_context(S3Server(bucket="state"))
            keys = Credentials(server.access_key, server.secret_key)
            client, bucket = S3Client(endpoint_url=server.url, region=server.region, credentials=keys), server.bucket
            print(f"a server of our own is on {server.url}; it checks every signature")
        # A key for this run only. Real keys come from a secret store and stay in the environment.
        import secrets

        os.environ[_KEY_VARIABLE] = base64.b64encode(secrets.token_bytes(32)).decode()
        _main_job(client, bucket, options.prefix)
    return 0


def _store(client: S3Client, bucket: str, prefix: str) -> Store:
    return Store(
        client, bucket=bucket, prefix=prefix, factory="demo", stack="prod", encrypter=EnvKey(_KEY_VARIABLE)
    )


def _main_job(client: S3Client, bucket: str, prefix: str) -> None:
    store = _store(client, bucket, prefix)
    print(f"\n1. take the lock of {store.place}")
    with store.lock(timeout=10) as lock:
        _show(client.get_object(bucket, store.place.layout.lock).body)
        print("2. a second writer is kept out")
        try:
            _store(client, bucket, prefix).lock(timeout=0)
        except LockHeld as error:
            print(f"   LockHeld: {error}")
        print("3. read the current snapshot")
        try:
            print(f"   {store.current_rev()}")
        except NoCurrentSnapshot as error:
            print(f"   NoCurrentSnapshot: {error}")
        print("4. write a new one, sealed with AES-256-GCM")
        rev = store.write(_snapshot())
        print(f"   {rev}")
        _show(client.get_object(bucket, store.place.layout.snapshot(rev)).body)
        print("5. point `current` at it, by compare-and-swap")
        store.set_current(rev)
        entry = store.current().find("resource.bucket")
        print(f"6. read it back: resource.bucket has {dict(entry.outputs) if entry else {}}")
        print(f"7. list: {store.list()}")
        print(f"8. release the lock {lock.info.id}")
    print("9. what is in the bucket now")
    for item in client.list_objects_v2(bucket, store.place.layout.directory + "/"):
        print(f"   {item.size:6d}  {item.key}")


def _show(body: bytes) -> None:
    text = body.decode()
    if text.startswith("{\n"):
        sealed = json.loads(text)
        sealed["ciphertext"] = sealed["ciphertext"][:44] + "..."
        text = json.dumps(sealed, indent=2)
    print("   " + text.rstrip().replace("\n", "\n   "))


def _snapshot() -> Snapshot:
    entry = Entry(
        address="resource.bucket",
        entry_kind="leaf",
        category="resource",
        binding=Binding(alias="aws", kind="bucket"),
        outputs={"name": "my-bucket", "url": "https://my-bucket.example/?a=1&b=2"},
    )
    return Snapshot(
        factory=FactoryInfo(name="demo", version="1.0.0", content_revision="0"), stack="prod", entries=[entry]
    )
