# SPDX-License-Identifier: MIT
"""Each contender behind the same few calls. Imported inside the contenders' own environments, so by nobody at once."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from itertools import count
from typing import Any

ACCESS, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1"
CA = os.environ.get("BENCHMARK_CA", "")
_names: Iterator[int] = count(1)


def fresh_name() -> str:
    """A revision that no other run takes."""
    return f"2026-05-01T10:00:00.{os.getpid() % 1000:03}{next(_names):06}Z"


def snapshot_document(entries: int) -> dict[str, Any]:
    """A snapshot of about 700 bytes an entry."""
    return {
        "format-version": 1,
        "factory": {"name": "network", "version": "v1.2.3", "content-revision": "f" * 40},
        "stack": "prod",
        "generated-at": "2026-05-01T10:00:00.123456789Z",
        "entries": [_entry(n) for n in range(entries)],
        "outputs": {"vpc": "vpc-0a1b2c3d"},
    }


def _entry(n: int) -> dict[str, Any]:
    return {
        "address": f"network.subnet-{n}.instance",
        "entry-kind": "leaf",
        "category": "resource",
        "binding": {"alias": "aws", "library-path": "example.com/libraries/aws", "kind": "subnet"},
        "schema-version": 1,
        "inputs": {
            "cidr": f"10.{n // 256 % 256}.{n % 256}.0/24",
            "name": f"subnet-{n}",
            "public": n % 2 == 0,
            "tags": {"env": "prod", "owner": "platform", "cost-center": "4711"},
            "zones": ["eu-west-1a", "eu-west-1b"],
        },
        "outputs": {
            "arn": f"arn:aws:ec2:eu-west-1:123456789012:subnet/subnet-{n:017x}",
            "available": 251,
            "weight": n + 0.5,
            "description": "private subnet for the workers of the build farm",
        },
        "depends-on": [f"network.vpc-{n % 7}.instance"],
    }


class Unobin:
    """Ours, with everything on: retries, deadlines, strict answers. `cycle` seals with AES-256-GCM."""

    def __init__(self, url: str) -> None:
        from unobin_s3 import Credentials, S3Client

        self.client = S3Client(region=REGION, credentials=Credentials(ACCESS, SECRET), endpoint_url=url)

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.client.put_object(bucket, key, body)

    def get(self, bucket: str, key: str) -> bytes:
        return self.client.get_object(bucket, key).body

    def list(self, bucket: str, limit: int) -> int:
        found = 0
        for _ in self.client.list_objects_v2(bucket):
            found += 1
            if found == limit:
                break
        return found

    def prepare(self, bucket: str) -> None:
        from unobin_s3 import EnvKey, Store, StoreReport, decode_snapshot

        host = self.client.settings.endpoint.host
        self.store = Store(
            self.client,
            bucket=bucket,
            factory="network",
            stack="prod",
            encrypter=EnvKey("BENCHMARK_KEY"),
            store_report=StoreReport(host=host, bucket=bucket, exclusive=True, leases=True),
        )
        first = decode_snapshot(json.dumps(snapshot_document(6)).encode())
        self.store.set_current(self.store.write(first))

    def cycle(self, bucket: str) -> None:
        with self.store.lock():
            self.store.set_current(self.store.write(self.store.current()))


class Boto3:
    """`cycle` does the same six requests; it parses and writes JSON and does not seal."""

    def __init__(self, url: str) -> None:
        import boto3
        from botocore.config import Config

        self.client = boto3.client(
            "s3",
            region_name=REGION,
            endpoint_url=url,
            aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET,
            verify=CA or None,
            config=Config(s3={"addressing_style": "path"}),
        )

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=body)

    def get(self, bucket: str, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def list(self, bucket: str, limit: int) -> int:
        found = 0
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            found += len(page["Contents"])
            if found >= limit:
                break
        return found

    def prepare(self, bucket: str) -> None:
        self.put(bucket, "snapshots/first", json.dumps(snapshot_document(6)).encode())
        self.put(bucket, "current", b"first\n")

    def cycle(self, bucket: str) -> None:
        s3, rev = self.client, fresh_name()
        lock = s3.put_object(Bucket=bucket, Key="lock", Body=b'{"id":"me"}', IfNoneMatch="*")
        try:
            current = s3.get_object(Bucket=bucket, Key="current")
            old = current["Body"].read().decode().strip()
            state = json.loads(s3.get_object(Bucket=bucket, Key=f"snapshots/{old}")["Body"].read())
            body = json.dumps(state, sort_keys=True).encode()
            s3.put_object(Bucket=bucket, Key=f"snapshots/{rev}", Body=body, IfNoneMatch="*")
            s3.put_object(Bucket=bucket, Key="current", Body=f"{rev}\n".encode(), IfMatch=current["ETag"])
        finally:
            s3.delete_object(Bucket=bucket, Key="lock", IfMatch=lock["ETag"])


class Minio:
    """`cycle` as boto3's; conditional writes are in no public call of minio, so its private ones send them."""

    def __init__(self, url: str) -> None:
        from minio import Minio as Client

        scheme, _, host = url.partition("://")
        self.client = Client(host, access_key=ACCESS, secret_key=SECRET, secure=scheme == "https", region=REGION)

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.client.put_object(bucket, key, io.BytesIO(body), len(body), part_size=128 << 20)

    def get(self, bucket: str, key: str) -> bytes:
        answer = self.client.get_object(bucket, key)
        try:
            return bytes(answer.read())
        finally:
            answer.close()
            answer.release_conn()

    def list(self, bucket: str, limit: int) -> int:
        found = 0
        for _ in self.client.list_objects(bucket, recursive=True):
            found += 1
            if found == limit:
                break
        return found

    def prepare(self, bucket: str) -> None:
        self.put(bucket, "snapshots/first", json.dumps(snapshot_document(6)).encode())
        self.put(bucket, "current", b"first\n")

    def cycle(self, bucket: str) -> None:
        send, rev = self.client._execute, fresh_name()
        lock = send("PUT", bucket, "lock", body=b'{"id":"me"}', headers={"If-None-Match": "*"})
        try:
            current = send("GET", bucket, "current")
            state = json.loads(self.get(bucket, f"snapshots/{current.data.decode().strip()}"))
            body = json.dumps(state, sort_keys=True).encode()
            send("PUT", bucket, f"snapshots/{rev}", body=body, headers={"If-None-Match": "*"})
            send("PUT", bucket, "current", body=f"{rev}\n".encode(), headers={"If-Match": current.headers["etag"]})
        finally:
            send("DELETE", bucket, "lock", headers={"If-Match": lock.headers["etag"]})


class Obstore:
    def __init__(self, url: str) -> None:
        self._url = url
        self._stores: dict[str, Any] = {}

    def _store(self, bucket: str) -> Any:
        if bucket not in self._stores:
            from obstore.store import S3Store

            self._stores[bucket] = S3Store(
                bucket,
                endpoint=self._url,
                region=REGION,
                access_key_id=ACCESS,
                secret_access_key=SECRET,
                virtual_hosted_style_request=False,
                client_options={"allow_http": True},
            )
        return self._stores[bucket]

    def put(self, bucket: str, key: str, body: bytes) -> None:
        import obstore

        obstore.put(self._store(bucket), key, body, use_multipart=False)

    def get(self, bucket: str, key: str) -> bytes:
        import obstore

        return bytes(obstore.get(self._store(bucket), key).bytes())

    def list(self, bucket: str, limit: int) -> int:
        import obstore

        found = 0
        for page in obstore.list(self._store(bucket), chunk_size=1000):
            found += len(page)
            if found >= limit:
                break
        return found


class S3fs:
    def __init__(self, url: str) -> None:
        import s3fs  # type: ignore[import-not-found,unused-ignore]

        self.fs = s3fs.S3FileSystem(
            key=ACCESS,
            secret=SECRET,
            endpoint_url=url,
            client_kwargs={"region_name": REGION, "verify": CA or None},
            config_kwargs={"s3": {"addressing_style": "path"}},
            use_listings_cache=False,
        )

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.fs.pipe_file(f"{bucket}/{key}", body)

    def get(self, bucket: str, key: str) -> bytes:
        return bytes(self.fs.cat_file(f"{bucket}/{key}"))

    def list(self, bucket: str, limit: int) -> int:
        return len(self.fs.find(bucket))  # all of it: it has no other way


class Httpx:
    """Plain `httpx.Client`, unsigned: the baseline of everything that is built on it."""

    def __init__(self, url: str) -> None:
        import httpx

        self._url = url
        self.client = httpx.Client(verify=CA or True)

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.client.put(f"{self._url}/{bucket}/{key}", content=body).raise_for_status()

    def get(self, bucket: str, key: str) -> bytes:
        return self.client.get(f"{self._url}/{bucket}/{key}").raise_for_status().content


KINDS: dict[str, Any] = {
    "unobin_s3": Unobin,
    "boto3": Boto3,
    "minio": Minio,
    "obstore": Obstore,
    "s3fs": S3fs,
    "httpx.Client": Httpx,
}
