# SPDX-License-Identifier: MIT
"""The testing server answer by answer: signatures, conditions, lists, dates, rights."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.testing_server_wire import exchange, send, signed
from unobin_s3.testing import S3Server


@pytest.fixture
def server() -> Iterator[S3Server]:
    with S3Server() as running:
        yield running


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"secret_access_key": "wrong"}, 403, "SignatureDoesNotMatch"),
        ({"access_key_id": "AKIDNOBODY"}, 403, "InvalidAccessKeyId"),
        ({"region": "eu-west-1"}, 400, "AuthorizationHeaderMalformed"),
        ({"service": "sts", "headers": {"x-amz-content-sha256": "e"}}, 400, "AuthorizationHeaderMalformed"),
        ({"payload_hash": "0" * 64}, 400, "XAmzContentSHA256Mismatch"),
        ({"session_token": "unasked"}, 400, "InvalidToken"),
    ],
)
def test_bad_signatures(server: S3Server, changes: dict[str, Any], status: int, code: str) -> None:
    reply = send(server, "PUT", "k", b"x", **changes)
    assert (reply.status, reply.code) == (status, code)
    assert server.objects() == {}


def test_unsigned_and_tampered_requests(server: S3Server) -> None:
    target, headers = signed(server, "PUT", "k", b"x")
    assert exchange(server, "PUT", target, b"x", {"host": headers["host"]}).code == "AccessDenied"
    assert exchange(server, "PUT", target + "2", b"x", headers).code == "SignatureDoesNotMatch"
    assert exchange(server, "PUT", target, b"y", headers).code == "XAmzContentSHA256Mismatch"
    assert exchange(server, "PUT", target, b"x", {**headers, "x-amz-meta-a": "b"}).code == "AccessDenied"
    assert exchange(server, "PUT", target, b"x", {**headers, "authorization": "AWS x:y"}).status == 400
    assert server.objects() == {}
    assert exchange(server, "PUT", target, b"x", headers).status == 200
    assert [record.access_key for record in server.requests] == ["", "", "", "", "", server.access_key]


def test_a_bare_plus_in_the_path_is_a_blank(server: S3Server) -> None:
    target, headers = signed(server, "PUT", "a b", b"x")
    assert exchange(server, "PUT", target.replace("%20", "+"), b"x", headers).status == 200
    assert server.objects() == {"a b": b"x"}


def test_clock_skew() -> None:
    with S3Server(now=lambda: 1_800_000_000.9) as server:
        assert send(server, "PUT", "k", b"", now=1_800_000_000 + 900).status == 200
        for now in (1_800_000_000 - 901, 1_800_000_000 + 902):
            reply = send(server, "GET", "k", now=now)
            assert (reply.status, reply.code) == (403, "RequestTimeTooSkewed")
            assert b"<ServerTime>2027-01-15T08:00:00Z</ServerTime>" in reply.body
        head = send(server, "HEAD", "k", now=1_800_000_000)
        assert head.headers["date"] == head.headers["last-modified"] == "Fri, 15 Jan 2027 08:00:00 GMT"
        target, headers = signed(server, "GET", "k")
        assert exchange(server, "GET", target, b"", {**headers, "x-amz-date": "soon"}).code == "RequestTimeTooSkewed"


def test_session_tokens() -> None:
    with S3Server(session_token="token+/=") as server:
        assert send(server, "GET", "k").code == "NoSuchKey"
        assert send(server, "GET", "k", session_token=None).code == "InvalidToken"
        assert send(server, "GET", "k", session_token="old").code == "InvalidToken"
        server.add_user(server.access_key, "rotated", session_token="new")
        assert send(server, "GET", "k").code == "InvalidToken"
        assert send(server, "GET", "k", session_token="new", secret_access_key="rotated").code == "NoSuchKey"


def test_rights(server: S3Server) -> None:
    server.put("k", b"x")

    def code(method: str, key: str) -> str:
        user: dict[str, Any] = {"access_key_id": "AKLIMITED", "secret_access_key": "s"}
        return send(server, method, key, query={} if key else {"list-type": "2"}, **user).code

    server.add_user("AKLIMITED", "s", deny={"s3:DeleteObject", "s3:ListBucket"})
    assert [code("GET", "k"), code("PUT", "k")] == ["", ""]
    assert [code("DELETE", "k"), code("GET", "")] == ["AccessDenied"] * 2
    server.add_user("AKLIMITED", "s", deny={"s3:GetObject"})
    assert [code("GET", "k"), code("PUT", "k"), code("DELETE", "k")] == ["AccessDenied", "", ""]


def test_conditions(server: S3Server) -> None:
    etag = send(server, "PUT", "k", b"x", headers={"if-none-match": "*"}).headers["etag"]
    assert etag == '"9dd4e461268c8034f5c8564e155c67a6"'
    wrong = {"if-match": '"0"'}
    answers = {
        ("PUT", "k", "if-none-match", "*"): (412, "PreconditionFailed"),
        ("PUT", "k", "if-none-match", etag): (501, "NotImplemented"),
        ("PUT", "k", "if-match", '"0"'): (412, "PreconditionFailed"),
        ("PUT", "missing", "if-match", etag): (404, "NoSuchKey"),
        ("DELETE", "k", "if-match", '"0"'): (412, "PreconditionFailed"),
        ("DELETE", "missing", "if-match", etag): (404, "NoSuchKey"),
        ("GET", "k", "if-match", '"0"'): (412, "PreconditionFailed"),
    }
    for (method, key, name, value), expected in answers.items():
        reply = send(server, method, key, b"", headers={name: value})
        assert (reply.status, reply.code) == expected, (method, key, name, value)
    assert server.objects() == {"k": b"x"}
    assert send(server, "GET", "k", headers={"if-match": etag}).body == b"x"
    assert send(server, "PUT", "k", b"y", headers={"if-match": etag.strip('"')}).status == 200
    assert send(server, "DELETE", "k", headers=wrong).status == 412
    assert send(server, "DELETE", "k", headers={"if-match": f'"{hashlib.md5(b"y").hexdigest()}"'}).status == 204
    assert server.objects() == {}


def test_opaque_etags_differ_for_each_write() -> None:
    with S3Server(opaque_etags=True) as server:
        etags = {send(server, "PUT", "k", b"x").headers["etag"] for _ in range(3)}
        assert len(etags) == 3
        assert all(re.fullmatch('"[0-9a-f]{32}"', etag) for etag in etags)


def test_dates_and_request_ids(server: S3Server) -> None:
    replies = [send(server, "PUT", "k", b"x"), send(server, "GET", "k"), send(server, "GET", "no")]
    assert len({reply.headers["x-amz-request-id"] for reply in replies}) == 3
    modified, date = replies[1].headers["last-modified"], replies[1].headers["date"]
    assert 0 <= (parsedate_to_datetime(date) - parsedate_to_datetime(modified)).total_seconds() < 60


def test_what_is_not_spoken_is_refused(server: S3Server) -> None:
    for method, key, query in (("GET", "", "lifecycle"), ("POST", "k", "uploads"), ("GET", "k", "versionId")):
        assert send(server, method, key, query={query: ""}).code == "NotImplemented"
    assert send(server, "PUT", "k", headers={"x-amz-copy-source": "/state/j"}).code == "NotImplemented"
    assert send(server, "GET", "", query={"list-type": "2", "delimiter": "/"}).code == "NotImplemented"
    assert server.objects() == {}


def stream(body: bytes, checksum: bytes) -> tuple[bytes, dict[str, str]]:
    """An aws-chunked body in two chunks with a trailing checksum, as SDKs send it over TLS."""
    trailer = b"x-amz-checksum-sha256:" + base64.b64encode(checksum)
    chunks = b"3\r\n" + body[:3] + b"\r\n%x;chunk-signature=0\r\n" % (len(body) - 3) + body[3:]
    headers = {
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(len(body)),
        "x-amz-trailer": "x-amz-checksum-sha256",
    }
    return chunks + b"\r\n0\r\n" + trailer + b"\r\n\r\n", headers


@pytest.mark.parametrize("te", [False, True])
def test_streamed_uploads_with_trailers(server: S3Server, te: bool) -> None:
    digest = hashlib.sha256(b"content").digest()
    body, headers = stream(b"content", digest)
    target, sent = signed(server, "PUT", "k", body, headers, payload_hash="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    sent |= {"transfer-encoding": "chunked"} if te else {}
    assert exchange(server, "PUT", target, body, sent, te=te).status == 200
    assert server.objects() == {"k": b"content"}
    got = send(server, "GET", "k")
    assert got.headers["x-amz-checksum-sha256"] == base64.b64encode(digest).decode()
    assert "content-encoding" not in got.headers


def test_broken_streams_are_refused(server: S3Server) -> None:
    body, headers = stream(b"content", b"")
    for changed in (body[:20], body.replace(b"3\r\n", b"4\r\n", 1), body.replace(b"0\r\n", b"z\r\n")):
        target, sent = signed(server, "PUT", "k", changed, headers, payload_hash="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        assert exchange(server, "PUT", target, changed, sent).status == 400
    assert server.objects() == {}


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pages_are_in_the_order_of_utf8(server: S3Server, size: int) -> None:
    keys = ["a", "a/", "a/b", "a/c/d", "a0", "b/c", "b<&>", "c", "é/x", "\U0001f511", "\uff5e"]
    for key in keys:
        server.put(key, b"")

    def walk(prefix: str) -> list[str]:
        query, found = {"list-type": "2", "prefix": prefix, "max-keys": str(size), "delimiter": ""}, list[str]()
        while True:
            page = ElementTree.fromstring(send(server, "GET", "", query=query).body)
            found += [key.text or "" for key in page.iterfind("{*}Contents/{*}Key")]
            token = page.findtext("{*}NextContinuationToken")
            assert page.findtext("{*}IsTruncated") == str(bool(token)).lower()
            if not token:
                return found
            query["continuation-token"] = token

    assert walk("") == sorted(keys, key=str.encode)
    assert walk("a/") == ["a/", "a/b", "a/c/d"]


def test_list_arguments(server: S3Server) -> None:
    for number in range(1001):
        server.put(f"{number:04}", b"")

    def listed(**query: str) -> tuple[int, int]:
        named = {name.replace("_", "-"): value for name, value in query.items()}
        reply = send(server, "GET", "", query={"list-type": "2", **named})
        return reply.status, reply.body.count(b"<Key>")

    assert listed(max_keys="5000") == (200, 1000)
    assert listed(max_keys="0") == (200, 0)
    assert listed(start_after="0998") == (200, 2)
