# SPDX-License-Identifier: MIT
"""Signed requests by http.client, so that a test sees the very answer and not what a client library makes of it."""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import boto3
import minio
import obstore.store
from botocore.config import Config

from unobin_s3.aws import sigv4
from unobin_s3.testing import S3Server


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def code(self) -> str:
        return self.body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()


def signed(
    server: S3Server,
    method: str,
    key: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    **changes: Any,
) -> tuple[str, dict[str, str]]:
    """Target and headers of one request to the server's bucket. `changes` go to `sigv4.sign`."""
    path = "/" + quote(f"{server.bucket}/{key}" if key else server.bucket, safe="/")
    coded = urlencode(sorted((query or {}).items()), quote_via=quote)
    sent = {"host": server.url.removeprefix("http://"), **(headers or {})}
    arguments: dict[str, Any] = {
        "payload_hash": hashlib.sha256(body).hexdigest(),
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
        "session_token": server.session_token or None,
        "region": server.region,
        "service": "s3",
        "now": time.time(),
        "path": path,
    }
    arguments |= changes
    sent |= sigv4.sign(method=method, host=sent["host"], query=coded, headers=sent, **arguments)
    return arguments["path"] + ("?" + coded if coded else ""), sent


def exchange(
    server: S3Server, method: str, target: str, body: bytes, headers: Mapping[str, str], *, te: bool = False
) -> Reply:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, target, [body] if te else body, dict(headers), encode_chunked=te)
        answer = connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def send(server: S3Server, method: str, key: str, body: bytes = b"", **more: Any) -> Reply:
    """One signed request; `more` as in `signed`."""
    target, headers = signed(server, method, key, body, **more)
    return exchange(server, method, target, body, headers)


def boto3_client(server: S3Server, **changes: Any) -> Any:
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    keys = {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key}
    more: dict[str, Any] = {"endpoint_url": server.url, "region_name": server.region, "config": config, **keys}
    return boto3.client("s3", **{**more, **changes})


def minio_client(server: S3Server, secret: str = "") -> minio.Minio:
    place = server.url.removeprefix("http://")
    secret_key = secret or server.secret_key
    return minio.Minio(place, access_key=server.access_key, secret_key=secret_key, secure=False, region=server.region)


def obstore_client(server: S3Server, secret: str = "") -> Any:
    return obstore.store.S3Store(
        server.bucket,
        endpoint=server.url,
        access_key_id=server.access_key,
        secret_access_key=secret or server.secret_key,
        region=server.region,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
