# SPDX-License-Identifier: MIT
"""The main job, shown: lock, write, point, read back, list, release, and a second writer kept out."""

from __future__ import annotations

import base64
import secrets
import sys
from contextlib import ExitStack, redirect_stdout
from typing import Any

from .. import environ
from ..aws.credentials import Credentials
from ..aws.s3 import S3Client
from ..encrypters import EnvKey
from ..errors import LockHeld, NoCurrentSnapshot
from ..state.snapshot import Binding, Entry, FactoryInfo, Snapshot
from ..store import Store
from . import screen, settings

_KEY_VARIABLE = "UNOBIN_DEMO_KEY"


def demo(options: Any) -> None:
    """Choose a server and a key, and tell the story."""
    with ExitStack() as stack:
        if options.json:  # the story goes to stderr, the document to stdout
            stack.enter_context(redirect_stdout(sys.stderr))
        if options.bucket:
            client, bucket = settings.client(options), options.bucket
        else:
            from ..testing import S3Server

            server = stack.enter_context(S3Server(bucket="state"))
            keys = Credentials(server.access_key, server.secret_key)
            client, bucket = S3Client(endpoint_url=server.url, region=server.region, credentials=keys), server.bucket
            print(f"a server of our own is on {server.url}; it checks every signature")
        # A key for this run only. Real keys come from a secret store and stay in the environment.
        environ.put(_KEY_VARIABLE, base64.b64encode(secrets.token_bytes(32)).decode())
        options.factory, options.stack = "demo", "prod"
        names = {"bucket": bucket, "prefix": options.prefix or "", "factory": "demo", "stack": "prod"}
        store, other = (Store(client, **names, encrypter=EnvKey(_KEY_VARIABLE)) for _ in range(2))
        rev = _main_job(store, other)
    screen.document(options, "state-demo-result", {"ok": True, "state-rev": rev})


def _main_job(store: Store, other: Store) -> str:
    client, bucket, layout = store.place.client, store.place.bucket, store.place.layout
    print(f"\n1. take the lock of {store.place}")
    with store.lock(timeout=10) as lock:
        _show(client.get_object(bucket, layout.lock).body)
        print("2. a second writer is kept out")
        try:
            other.lock(timeout=0)
        except LockHeld as error:
            print(f"   LockHeld: {error}")
        print("3. read the current snapshot")
        try:
            print(f"   {store.current_rev()}")
        except NoCurrentSnapshot as error:
            print(f"   NoCurrentSnapshot: {error}")
        rev = store.write(_snapshot())
        print(f"4. write a new one, sealed with AES-256-GCM\n   {rev}")
        _show(client.get_object(bucket, layout.snapshot(rev)).body)
        print("5. point `current` at it, by compare-and-swap")
        store.set_current(rev)
        entry = store.current().find("resource.bucket")
        print(f"6. read it back: resource.bucket has {dict(entry.outputs) if entry else {}}")
        print(f"7. list: {store.list()}")
        print(f"8. release the lock {lock.info.id}")
    print("9. what is in the bucket now")
    for item in client.list_objects_v2(bucket, layout.directory + "/"):
        print(f"   {item.size:6d}  {item.key}")
    return rev


def _show(body: bytes) -> None:
    for line in body.decode().rstrip().splitlines():
        print(f"   {line if len(line) < 120 else line[:64] + '...'}")


def _snapshot() -> Snapshot:
    outputs = {"name": "my-bucket", "url": "https://my-bucket.example/?a=1&b=2"}
    binding = Binding(alias="aws", kind="bucket")
    entry = Entry(address="resource.bucket", entry_kind="leaf", category="resource", binding=binding, outputs=outputs)
    factory = FactoryInfo(name="demo", version="1.0.0", content_revision="0")
    return Snapshot(factory=factory, stack="prod", entries=[entry])
