# SPDX-License-Identifier: MIT
"""The testing server as clients that others wrote see it: boto3, minio and obstore."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import minio.deleteobjects
import minio.error
import obstore
import obstore.exceptions
import pytest
from botocore.exceptions import ClientError

from tests.testing_server_wire import boto3_client, minio_client, obstore_client
from unobin_s3.testing import S3Server

NASTY = (
    "a b", "a+b", "colon:x", "ünï/日本/🔑", "%2F%20", "tilde~", "(a)*'\"", "<&>", "q?x=1&y", "#frag", "back\\slash",
    "semi;comma,", "dollar$@=", "x" * 200, "[{^`|}]", ".hidden/..x/x.",
)  # fmt: skip
# Only boto3 sends these as they are; minio and obstore refuse or tidy them up.
NASTIER = ("trailing/", "double//slash", "/leading", "line\nbreak", "tab\tand\r", "dot/./segment", "dots/../up")


@pytest.fixture
def server() -> Iterator[S3Server]:
    with S3Server() as running:
        yield running


class Client(Protocol):
    def put(self, key: str, body: bytes) -> str: ...
    def create(self, key: str, body: bytes) -> bool: ...
    def replace(self, key: str, body: bytes, etag: str) -> bool: ...
    def get(self, key: str) -> bytes | None: ...
    def size(self, key: str) -> int: ...
    def delete(self, key: str) -> None: ...
    def list(self, prefix: str) -> list[str]: ...


class Boto3:
    def __init__(self, server: S3Server) -> None:
        self.client, self.bucket = boto3_client(server), server.bucket

    def put(self, key: str, body: bytes, **conditions: str) -> str:
        return str(self.client.put_object(Bucket=self.bucket, Key=key, Body=body, **conditions)["ETag"])

    def _try(self, key: str, body: bytes, **conditions: str) -> bool:
        try:
            return bool(self.put(key, body, **conditions))
        except ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed"
            assert error.response["ResponseMetadata"]["RequestId"]
            return False

    def create(self, key: str, body: bytes) -> bool:
        return self._try(key, body, IfNoneMatch="*")

    def replace(self, key: str, body: bytes, etag: str) -> bool:
        return self._try(key, body, IfMatch=etag)

    def get(self, key: str) -> bytes | None:
        try:
            return bytes(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        except self.client.exceptions.NoSuchKey:
            return None

    def size(self, key: str) -> int:
        return int(self.client.head_object(Bucket=self.bucket, Key=key)["ContentLength"])

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def list(self, prefix: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]


class Minio:
    def __init__(self, server: S3Server) -> None:
        self.client, self.bucket = minio_client(server), server.bucket

    def put(self, key: str, body: bytes) -> str:
        return str(self.client.put_object(self.bucket, key, io.BytesIO(body), len(body)).etag)

    def _try(self, key: str, body: bytes, headers: dict[str, str]) -> bool:
        # Its put_object has no conditions; its own request function signs and reads the error.
        try:
            return bool(self.client._execute("PUT", self.bucket, key, body=body, headers={**headers}))
        except minio.error.S3Error as error:
            assert error.code == "PreconditionFailed"
            return False

    def create(self, key: str, body: bytes) -> bool:
        return self._try(key, body, {"If-None-Match": "*"})

    def replace(self, key: str, body: bytes, etag: str) -> bool:
        return self._try(key, body, {"If-Match": f'"{etag}"'})

    def get(self, key: str) -> bytes | None:
        try:
            answer = self.client.get_object(self.bucket, key)
        except minio.error.S3Error as error:
            assert error.code == "NoSuchKey"
            return None
        try:
            return bytes(answer.data)
        finally:
            answer.close()
            answer.release_conn()

    def size(self, key: str) -> int:
        return int(self.client.stat_object(self.bucket, key).size or 0)

    def delete(self, key: str) -> None:
        self.client.remove_object(self.bucket, key)

    def list(self, prefix: str) -> list[str]:
        return [str(found.object_name) for found in self.client.list_objects(self.bucket, prefix, recursive=True)]


class Obstore:
    def __init__(self, server: S3Server) -> None:
        self.store = obstore_client(server)

    def put(self, key: str, body: bytes, mode: Any = "overwrite") -> str:
        return str(obstore.put(self.store, key, body, mode=mode)["e_tag"])

    def create(self, key: str, body: bytes) -> bool:
        try:
            return bool(self.put(key, body, "create"))
        except obstore.exceptions.AlreadyExistsError:
            return False

    def replace(self, key: str, body: bytes, etag: str) -> bool:
        try:
            return bool(self.put(key, body, {"e_tag": etag}))
        except obstore.exceptions.PreconditionError:
            return False

    def get(self, key: str) -> bytes | None:
        try:
            return bytes(obstore.get(self.store, key).bytes())
        except FileNotFoundError:
            return None

    def size(self, key: str) -> int:
        return int(obstore.head(self.store, key)["size"])

    def delete(self, key: str) -> None:
        obstore.delete(self.store, key)

    def list(self, prefix: str) -> list[str]:
        return [found["path"] for page in obstore.list(self.store, prefix) for found in page]


@pytest.fixture(params=[Boto3, Minio, Obstore])
def client(request: pytest.FixtureRequest, server: S3Server) -> Client:
    make: Callable[[S3Server], Client] = request.param
    return make(server)


def test_put_get_head_list_delete(client: Client, server: S3Server) -> None:
    client.put("p/one", b"first")
    client.put("p/two", b"")
    client.put("other", b"x")
    assert server.objects() == {"p/one": b"first", "p/two": b"", "other": b"x"}
    assert (client.get("p/one"), client.get("p/two"), client.get("p/three")) == (b"first", b"", None)
    assert (client.size("p/one"), client.size("p/two")) == (5, 0)
    assert client.list("p/") == ["p/one", "p/two"]
    client.delete("p/one")
    client.delete("p/one")
    assert (client.list("p/"), client.get("p/one")) == (["p/two"], None)


def test_conditional_put(client: Client, server: S3Server) -> None:
    assert client.create("lock", b"mine")
    assert not client.create("lock", b"theirs")
    assert server.objects() == {"lock": b"mine"}
    first = client.put("current", b"1")
    assert client.replace("current", b"2", first)
    assert not client.replace("current", b"3", first)
    assert server.objects()["current"] == b"2"


def test_a_megabyte_comes_back_whole(client: Client) -> None:
    body = bytes(range(256)) * 4096
    client.put("big", body)
    assert client.get("big") == body


def test_nasty_keys(client: Client, server: S3Server) -> None:
    keys = NASTY + (NASTIER if isinstance(client, Boto3) else ())
    for number, key in enumerate(keys):
        client.put(key, str(number).encode())
    assert server.objects() == {key: str(number).encode() for number, key in enumerate(keys)}
    assert [client.get(key) for key in keys] == [str(number).encode() for number in range(len(keys))]
    assert client.list("") == sorted(keys)
    for key in keys:
        client.delete(key)
    assert server.objects() == {}


def test_2500_keys_come_in_three_pages(client: Client, server: S3Server) -> None:
    keys = [f"s/{number:04}+ é" for number in range(2500)]
    for key in reversed(keys):
        server.put(key, b"")
    server.put("t", b"")
    assert client.list("s/") == keys
    assert [record.operation for record in server.requests] == ["ListObjectsV2"] * 3


def test_wrong_secret_is_refused(server: S3Server) -> None:
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        boto3_client(server, aws_secret_access_key="wrong").put_object(Bucket="state", Key="k", Body=b"")
    with pytest.raises(minio.error.S3Error, match="SignatureDoesNotMatch"):
        minio_client(server, "wrong").remove_object("state", "k")
    with pytest.raises(obstore.exceptions.BaseError, match="SignatureDoesNotMatch"):
        obstore.get(obstore_client(server, "wrong"), "k")
    assert [record.status for record in server.requests] == [403, 403, 403]


def test_delete_objects_with_boto3_and_minio(server: S3Server) -> None:
    for key in NASTY:
        server.put(key, b"")
    server.put("kept", b"x")
    half = len(NASTY) // 2
    client = boto3_client(server)
    removed = client.delete_objects(Bucket="state", Delete={"Objects": [{"Key": key} for key in NASTY[:half]]})
    assert [found["Key"] for found in removed["Deleted"]] == list(NASTY[:half])
    named = [minio.deleteobjects.DeleteObject(key) for key in NASTY[half:]]
    assert list(minio_client(server).remove_objects("state", named)) == []
    assert server.objects() == {"kept": b"x"}


def test_metadata_sse_and_checksum_come_back(server: S3Server) -> None:
    client = boto3_client(server)
    sse = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-1"}
    put = client.put_object(
        Bucket="state", Key="k", Body=b"x", Metadata={"Who": "me"}, ChecksumAlgorithm="SHA256", **sse
    )
    got = client.head_object(Bucket="state", Key="k", ChecksumMode="ENABLED")
    assert (got["ServerSideEncryption"], got["SSEKMSKeyId"]) == ("aws:kms", "key-1")
    assert got["ChecksumSHA256"] == "LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE="
    assert got["Metadata"] == {"who": "me"}
    assert put["ETag"] == got["ETag"] != '"9dd4e461268c8034f5c8564e155c67a6"'  # with SSE-KMS no MD5


def test_buckets_with_boto3_and_minio(server: S3Server) -> None:
    client = boto3_client(server)
    client.create_bucket(Bucket="second")
    client.put_object(Bucket="second", Key="k", Body=b"x")
    assert server.objects("second") == {"k": b"x"}
    assert server.objects() == {}
    assert minio_client(server).bucket_exists("second")
    assert not minio_client(server).bucket_exists("third")
    with pytest.raises(client.exceptions.NoSuchBucket):
        client.list_objects_v2(Bucket="third")
    assert client.head_bucket(Bucket="state")["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == "us-east-1"
