# SPDX-License-Identifier: MIT
"""The client's calls against the testing server: what is sent, byte for byte, and what comes back."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.aws.scripted import OK, Scripted, amazon
from unobin_s3 import (
    AccessDenied,
    ConfigurationError,
    Credentials,
    Limits,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    S3Client,
    ServiceError,
)
from unobin_s3.aws.caller import Clock
from unobin_s3.aws.s3 import ObjectInfo
from unobin_s3.aws.transport import Response
from unobin_s3.testing import Fault, S3Server

NASTY = [
    "a b", "a+b", "a%2Fb", "a%20b", "100%", "a//b", "/a", "a/", "//", "ä/ö", "\u65e5\u672c", "e\u0301", "\U0001f512",
    "a?b=c", "a#b", "a&b=c", "a;b", "a:b", "a@b", "a=b", "a,b", "a'b", 'a"b', "a(b)*!", "a~b", "a\\b", "a|b", "^`{}[]",
    "<a>&amp;", "...", "a/...b", "tab\tx", "line\nx", "cr\rx", "\x7f", "k" * 1024, "?", "%", "+", " ", "~", "\u2028",
]  # fmt: skip


@pytest.fixture
def server() -> Iterator[S3Server]:
    with S3Server(bucket="state") as running:
        running.put("there", b"body")
        yield running


@pytest.fixture
def client(server: S3Server) -> Iterator[S3Client]:
    made = client_of(server)
    yield made
    made.close()


def client_of(server: S3Server, **more: Any) -> S3Client:
    keys = Credentials(server.access_key, server.secret_key)
    usual: dict[str, Any] = {"endpoint_url": server.url, "region": server.region, "credentials": keys, "env": {}}
    return S3Client(**(usual | {"clock": Hasty()} | more))


class Hasty(Clock):
    """Waits for nothing between repetitions."""

    def sleep(self, seconds: float, cancel: object = None) -> None: ...


def last(server: S3Server) -> Any:
    return server.requests[-1]


# Objects


def test_put_and_get(server: S3Server, client: S3Client) -> None:
    etag = client.put_object("state", "k", b"x" * 100, metadata={"Who": "me", "n": ""})
    assert etag == f'"{hashlib.md5(b"x" * 100).hexdigest()}"'
    found = client.get_object("state", "k")
    assert (found.body, found.etag, found.metadata) == (b"x" * 100, etag, {"who": "me", "n": ""})
    assert found.last_modified is not None and found.date is not None
    assert abs((found.date - found.last_modified).total_seconds()) < 60


@pytest.mark.parametrize("body", [b"", b"\x00\xff", bytes(range(256)) * 5000])
def test_bodies_of_all_sizes(client: S3Client, body: bytes) -> None:
    client.put_object("state", "k", body)
    assert client.get_object("state", "k").body == body


def test_head(server: S3Server, client: S3Client) -> None:
    found = client.head_object("state", "there")
    assert found.body == b"" and found.headers["content-length"] == "4"
    with pytest.raises(NotFound, match="HeadObject s3://state/absent: 404 NotFound"):
        client.head_object("state", "absent")


def test_absent(client: S3Client) -> None:
    with pytest.raises(NotFound, match="GetObject s3://state/absent: 404 NoSuchKey") as caught:
        client.get_object("state", "absent")
    assert (caught.value.bucket, caught.value.key, caught.value.code) == ("state", "absent", "NoSuchKey")
    with pytest.raises(NotFound, match=r"NoSuchBucket.*create the bucket") as caught:
        client.get_object("nowhere", "k")
    assert caught.value.code == "NoSuchBucket"


def test_conditions(server: S3Server, client: S3Client) -> None:
    first = client.put_object("state", "k", b"1", if_none_match=True)
    assert last(server).headers["if-none-match"] == "*"
    with pytest.raises(PreconditionFailed):
        client.put_object("state", "k", b"2", if_none_match=True)
    second = client.put_object("state", "k", b"2", if_match=first)
    assert last(server).headers["if-match"] == first and "if-none-match" not in last(server).headers
    with pytest.raises(PreconditionFailed):
        client.put_object("state", "k", b"3", if_match=first)
    with pytest.raises(NotFound):
        client.put_object("state", "absent", b"3", if_match=first)
    with pytest.raises(PreconditionFailed):
        client.delete_object("state", "k", if_match=first)
    client.delete_object("state", "k", if_match=second)
    assert server.objects() == {"there": b"body"}


def test_conditions_that_make_no_sense(server: S3Server, client: S3Client) -> None:
    for bad in ("", '""', '" "', " "):
        with pytest.raises(ConfigurationError, match="empty ETag"):
            client.put_object("state", "k", b"", if_match=bad)
        with pytest.raises(ConfigurationError, match="empty ETag"):
            client.delete_object("state", "k", if_match=bad)
    with pytest.raises(ConfigurationError, match="not both"):
        client.put_object("state", "k", b"", if_match='"e"', if_none_match=True)
    assert not server.requests


def test_unquoted_etags(server: S3Server, client: S3Client) -> None:
    client.unquoted_etags = True
    etag = client.head_object("state", "there").etag
    client.put_object("state", "there", b"new", if_match=etag)
    assert last(server).headers["if-match"] == etag.strip('"')


def test_an_etag_is_echoed_not_computed() -> None:
    with S3Server(bucket="state", opaque_etags=True) as server:
        client = client_of(server)
        first = client.put_object("state", "k", b"same")
        second = client.put_object("state", "k", b"same")
        assert first != second == client.get_object("state", "k").etag
        client.put_object("state", "k", b"new", if_match=second)
        client.close()


def test_delete(server: S3Server, client: S3Client) -> None:
    client.delete_object("state", "there")
    client.delete_object("state", "there")
    assert not server.objects()


# What goes over the wire


def test_the_headers_of_every_call(server: S3Server, client: S3Client) -> None:
    etag = client.put_object("state", "k", b"x", if_none_match=True)
    client.put_object("state", "k", b"x", if_match=etag, kms_key_id="alias/a", metadata={"n": "v"})
    client.get_object("state", "k", verify=True)
    client.head_object("state", "k")
    client.delete_object("state", "k", if_match=client.head_object("state", "k").etag)
    client.delete_objects("state", ["k"])
    list(client.list_objects_v2("state"))
    client.get_bucket_versioning("state")
    client.head_bucket("state")
    always = {"host", "x-amz-date", "x-amz-content-sha256", "authorization"}
    more = {
        "PutObject": {"content-length", "if-none-match"},
        "DeleteObject": {"if-match"},
        "DeleteObjects": {"content-length", "content-md5", "content-type"},
    }
    sse = {"x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"}
    for record in server.requests:
        expected = always | more.get(record.operation, set())
        if record.headers.get("if-match") and record.operation == "PutObject":
            expected = always | sse | {"content-length", "if-match", "x-amz-meta-n"}
        assert set(record.headers) == expected, record
        assert set(record.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")) == (
            expected - {"authorization", "content-length"}
        )
    second = server.requests[1].headers
    assert second["x-amz-server-side-encryption"] == "aws:kms"
    assert second["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/a"


def test_only_whole_bodies_with_a_length(server: S3Server, client: S3Client) -> None:
    client.put_object("state", "k", b"")
    assert last(server).headers["content-length"] == "0"
    client.put_object("state", "k", b"x" * 700_000)
    assert last(server).headers["content-length"] == "700000"
    assert last(server).headers["x-amz-content-sha256"] == hashlib.sha256(b"x" * 700_000).hexdigest()


@pytest.mark.parametrize("key", NASTY, ids=ascii)
def test_nasty_keys(server: S3Server, client: S3Client, key: str) -> None:
    client.put_object("state", key, b"x", if_none_match=True)
    assert key in server.objects()
    assert client.get_object("state", key).body == b"x"
    assert client.head_object("state", key).etag
    assert [item.key for item in client.list_objects_v2("state", key)] == [key]
    client.delete_object("state", key)
    assert key not in server.objects()


@pytest.mark.parametrize(
    "key", ["", ".", "..", "a/../b", "a/.", "./a", "a\0b", "k" * 1025, "\ud800", "a/.."], ids=ascii
)
def test_refused_keys(server: S3Server, client: S3Client, key: str) -> None:
    for call in (
        lambda: client.put_object("state", key, b""),
        lambda: client.get_object("state", key),
        lambda: client.head_object("state", key),
        lambda: client.delete_object("state", key),
    ):
        with pytest.raises(ConfigurationError):
            call()
    assert not server.requests


@pytest.mark.parametrize("bucket", ["", "..", "a/b", "state?x", "arn:aws:s3:::x", "x--x-s3", "a b", "."])
def test_refused_buckets(server: S3Server, client: S3Client, bucket: str) -> None:
    with pytest.raises(ConfigurationError):
        client.put_object(bucket, "k", b"")
    with pytest.raises(ConfigurationError):
        list(client.list_objects_v2(bucket))
    assert not server.requests


@pytest.mark.parametrize("name", ["a b", "a:b", "ä", "a\r\nb", "\ud800"], ids=ascii)
def test_refused_metadata_names(server: S3Server, client: S3Client, name: str) -> None:
    with pytest.raises(ConfigurationError, match="header"):
        client.put_object("state", "k", b"", metadata={name: "v"})
    assert not server.requests


# Checksums


def test_checksums_go_to_amazon_only() -> None:
    digest = base64.b64encode(hashlib.sha256(b"body").digest()).decode()
    for more, expected in [({}, digest), ({"checksum": False}, None), ({"checksum": True}, digest)]:
        service = Scripted(OK)
        client = amazon(service, **more)
        client.put_object("bucket", "k", b"body")
        assert service.sent[0].headers.get("x-amz-checksum-sha256") == expected
        assert client.sends_checksum == (expected is not None)
    service = Scripted(OK)
    client = amazon(service, endpoint_url="https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com")
    client.put_object("bucket", "k", b"body")
    assert service.sent[0].headers["x-amz-checksum-sha256"] == digest  # decided by the host, configured or not


def test_checksums_elsewhere_when_asked_for(server: S3Server) -> None:
    client = client_of(server, checksum=True)
    client.put_object("state", "k", b"body")
    assert client.get_object("state", "k", verify=True).body == b"body"
    assert last(server).headers["x-amz-checksum-mode"] == "ENABLED"
    client.get_object("state", "k")
    assert "x-amz-checksum-mode" not in last(server).headers
    server.fault("GetObject", Fault(body=b"BODY"))
    with pytest.raises(ServiceError, match="does not have the checksum it was stored with") as caught:
        client.get_object("state", "k", verify=True)
    assert caught.value.code == "BadDigest"
    server.fault("GetObject", Fault(body=b"BODY"))
    assert client.get_object("state", "k").body == b"BODY"
    # The sum of sums of a multipart object is not the body's own.
    server.fault("GetObject", Fault(headers={"x-amz-checksum-sha256": "AAAA-2"}))
    assert client.get_object("state", "k", verify=True).body == b"body"
    client.close()


def test_expected_bucket_owner(server: S3Server) -> None:
    client = client_of(server, expected_bucket_owner="111122223333")
    client.put_object("state", "k", b"")
    client.get_object("state", "k")
    client.head_object("state", "k")
    list(client.list_objects_v2("state"))
    client.delete_objects("state", ["k"])
    client.delete_object("state", "k")
    client.get_bucket_versioning("state")
    client.head_bucket("state")
    client.attempt("PUT", "state", "k", body=b"x")
    assert len(server.requests) == 9
    assert {record.headers["x-amz-expected-bucket-owner"] for record in server.requests} == {"111122223333"}
    client.close()


# A PUT that is not told its ETag


def test_an_etag_is_asked_for() -> None:
    service = Scripted(Response(200, {}, b""), OK)
    assert amazon(service).put_object("bucket", "k", b"body") == '"e"'
    assert [request.method for request in service.sent] == ["PUT", "HEAD"]


@pytest.mark.parametrize("second", [Response(404, {}, b""), Response(200, {}, b""), Response(403, {}, b"")], ids=str)
def test_stored_but_without_an_etag(second: Response) -> None:
    service = Scripted(Response(200, {}, b""), second)
    with pytest.raises(OutcomeUnknown, match=r"PutObject s3://bucket/k: stored, but its ETag.*read it") as caught:
        amazon(service).put_object("bucket", "k", b"body", if_none_match=True)
    assert caught.value.maybe_applied and sum(request.method == "PUT" for request in service.sent) == 1


# Answers that are something else


@pytest.mark.parametrize("code", ["PreconditionFailed", "InternalError", "NoSuchKey"])
def test_an_error_under_200_is_no_success(server: S3Server, client: S3Client, code: str) -> None:
    document = f"<Error><Code>{code}</Code></Error>".encode()
    server.fault("*", Fault(200, body=document), times=3)
    assert client.get_object("state", "there").body == b"body"
    server.fault("*", Fault(200, body=document), times=1)
    client.put_object("state", "k", b"x", if_none_match=True)
    server.fault("*", Fault(200, body=document), times=1)
    client.delete_object("state", "there")
    assert server.objects() == {"k": b"x"}
    assert [record.method for record in server.requests] == ["GET"] * 4 + ["PUT"] * 2 + ["DELETE"] * 2


def test_a_portal(server: S3Server) -> None:
    page = b"<html>Log in</html>"
    server.fault("*", Fault(302, headers={"location": "http://portal.example/"}, body=page), None)
    client = client_of(server, limits=Limits(total=0.5))
    with pytest.raises(ServiceError, match="302: the answer is no error document"):
        client.get_object("state", "there")
    assert len(server.requests) == 1  # no redirect is followed
    client.close()


def test_dates_of_a_cache(server: S3Server, client: S3Client) -> None:
    server.fault("GetObject", Fault(headers={"age": "0"}))
    found = client.get_object("state", "there")
    assert found.date is None and found.last_modified is not None
    assert ObjectInfo(b"", {"date": "now", "last-modified": ""}).date is None
    assert ObjectInfo(b"", {"date": "now", "last-modified": ""}).last_modified is None


def test_a_body_over_the_limit(server: S3Server, client: S3Client) -> None:
    assert client.get_object("state", "there", limit=4).body == b"body"
    with pytest.raises(ServiceError, match="ResponseTooLarge"):
        client.get_object("state", "there", limit=3)


def test_rights(server: S3Server) -> None:
    server.add_user("AKIDLIMITED", "secret", deny=["s3:GetObject", "s3:ListBucket"])
    client = client_of(server, credentials=Credentials("AKIDLIMITED", "secret"))
    with pytest.raises(AccessDenied, match=r"not authorized to perform.*the s3:ListBucket right that would tell"):
        client.get_object("state", "there")
    with pytest.raises(AccessDenied, match="s3:ListBucket right"):
        client.head_object("state", "there")
    with pytest.raises(AccessDenied, match=r"ListObjectsV2 s3://state: 403.*the credentials lack a right"):
        list(client.list_objects_v2("state"))
    client.close()


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        ({"credentials": Credentials("AKIDOTHER", "x")}, "does not know this access key"),
        ({"credentials": Credentials("AKIDTESTING", "wrong-planted")}, "check the secret access key"),
        ({"credentials": Credentials("AKIDTESTING", "wrong-planted", "token-planted")}, "does not belong to this acce"),
        ({"region": "eu-west-1"}, "the bucket is in region us-east-1, and eu-west-1 was asked"),
    ],
)
def test_hints(server: S3Server, more: dict[str, Any], hint: str) -> None:
    client = client_of(server, **more)
    with pytest.raises(ServiceError, match=hint) as caught:
        client.put_object("state", "k", b"")
    assert "planted" not in str(caught.value)
    client.close()


# Lists


def test_all_pages(server: S3Server, client: S3Client) -> None:
    keys = [f"p/{number:04}" for number in range(25)]
    for key in [*keys, "q", "o/x"]:
        server.put(key, b"x")
    found = list(client.list_objects_v2("state", "p/", max_keys=10))
    assert [item.key for item in found] == keys and found[0].size == 1 and found[0].etag.startswith('"')
    assert [record.query["max-keys"] for record in server.requests] == ["10"] * 3
    assert [record.query.get("continuation-token", "") != "" for record in server.requests] == [False, True, True]
    assert list(client.list_objects_v2("state", "absent/")) == []
    assert len(list(client.list_objects_v2("state"))) == 28


def test_a_list_is_read_as_it_is_asked_for(server: S3Server, client: S3Client) -> None:
    for number in range(4):
        server.put(f"p/{number}", b"")
    pages = client.list_objects_v2("state", "p/", max_keys=2)
    assert not server.requests
    assert next(pages).key == "p/0" and len(server.requests) == 1


def test_more_than_a_page_of_the_store(server: S3Server, client: S3Client) -> None:
    for number in range(1005):
        server.put(f"p/{number:05}", b"")
    assert len(list(client.list_objects_v2("state", "p/"))) == 1005
    assert len(server.requests) == 2


def page(*keys: str, token: str | None = None, truncated: str | None = None, prefix: str = "") -> Response:
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-05-01T10:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>"
        "<Size>1</Size></Contents>"
        for key in keys
    )
    more = truncated or ("true" if token is not None else "false")
    next_token = f"<NextContinuationToken>{token}</NextContinuationToken>" if token is not None else ""
    body = f"<ListBucketResult>{contents}<IsTruncated>{more}</IsTruncated>{next_token}</ListBucketResult>"
    return Response(200, {}, body.encode())


def listed(*answers: Response) -> tuple[list[str], Scripted]:
    service = Scripted(*answers)
    return [item.key for item in amazon(service).list_objects_v2("bucket", "p/")], service


def test_tokens_come_back_as_they_were() -> None:
    _, service = listed(page("p/a", token="a+b/c= &amp;%41é"), page())
    assert "continuation-token=a%2Bb%2Fc%3D%20%26%2541%C3%A9&" in service.sent[1].target


def test_an_empty_page_in_between() -> None:
    keys, service = listed(page("p/a", token="1"), page(token="2"), page("p/b"))
    assert keys == ["p/a", "p/b"] and len(service.sent) == 3


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ((page("p/a", truncated="true"),), "truncated and has no NextContinuationToken"),
        ((page("p/a", token=""),), "truncated and has no NextContinuationToken"),
        ((page("p/a", token="1"), page("p/b", token="1")), "same continuation token twice"),
        ((page("p/a", token="1"), page(token="2"), page(token="1")), "same continuation token twice"),
        ((page("p/a", token="1"), page("q/b")), "not under the prefix"),
        ((page("p/a", token="1"), Response(200, {}, b"")), "not the promised document"),
        ((page("p/a", token="1"), Response(200, {}, b"<html/>")), "not the promised document"),
    ],
)
def test_lists_that_end_wrongly_are_errors(answers: tuple[Response, ...], reason: str) -> None:
    """botocore and obstore give back a short list without a word, minio-py asks for ever."""
    with pytest.raises(ServiceError, match=reason):
        listed(*answers)


def test_a_page_in_the_middle_that_fails() -> None:
    service = Scripted(page("p/a", token="1"), Response(503, {}, b"<Error><Code>SlowDown</Code></Error>"), page("p/b"))
    assert [item.key for item in amazon(service).list_objects_v2("bucket", "p/")] == ["p/a", "p/b"]


def test_a_page_that_is_too_large() -> None:
    service = Scripted(Response(200, {}, b"<ListBucketResult>", truncated=True))
    with pytest.raises(ServiceError, match="ResponseTooLarge"):
        list(amazon(service).list_objects_v2("bucket"))
    assert service.limits[0]["limit"] == 8 * 2**20


# Deleting many


def test_delete_many(server: S3Server, client: S3Client) -> None:
    keys = [*(f"k{number}" for number in range(1500)), "a&<b>", "é", "tab\t", "line\n\r", "+ %"]
    for key in keys:
        server.put(key, b"")
    server.reset_requests()
    assert client.delete_objects("state", [*keys, "absent"]) == []
    assert server.objects() == {"there": b"body"}
    assert [record.operation for record in server.requests] == ["DeleteObjects", "DeleteObjects"]
    assert client.delete_objects("state", []) == [] and len(server.requests) == 2


def test_what_could_not_be_deleted(server: S3Server) -> None:
    server.add_user("AKIDLIMITED", "secret", deny=["s3:DeleteObject"])
    client = client_of(server, credentials=Credentials("AKIDLIMITED", "secret"))
    (failure,) = client.delete_objects("state", ["there"])
    assert (failure.key, failure.code) == ("there", "AccessDenied") and "not authorized" in failure.message
    client.close()


def test_keys_that_cannot_be_deleted_together(server: S3Server, client: S3Client) -> None:
    with pytest.raises(ConfigurationError, match="XML cannot hold"):
        client.delete_objects("state", ["a", "\x01"])
    with pytest.raises(ConfigurationError, match="several keys"):
        client.delete_objects("state", "there")
    assert not server.requests and server.objects()


# Others


def test_versioning(server: S3Server, client: S3Client) -> None:
    assert client.get_bucket_versioning("state") == ""
    body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    server.fault("GetBucketVersioning", Fault(body=body))
    assert client.get_bucket_versioning("state") == "Enabled"
    server.fault("GetBucketVersioning", Fault(body=body.replace(b"Enabled", b"Maybe")))
    with pytest.raises(ServiceError, match="neither Enabled nor Suspended"):
        client.get_bucket_versioning("state")


def test_head_bucket(server: S3Server, client: S3Client) -> None:
    assert client.head_bucket("state")["x-amz-bucket-region"] == "us-east-1"
    with pytest.raises(NotFound):
        client.head_bucket("nowhere")


def test_one_attempt(server: S3Server, client: S3Client) -> None:
    server.fault("PutObject", Fault(500, "InternalError"))
    assert client.attempt("PUT", "state", "k", body=b"x").status == 500
    seen: list[int] = []
    halfway = client.attempt("PUT", "state", "k", body=b"xy", halfway=lambda: seen.append(len(server.objects())))
    assert halfway.status == 200 and seen == [1] and server.objects()["k"] == b"xy"


def test_deadlines_reach_every_method(server: S3Server, client: S3Client) -> None:
    past = client.clock.monotonic() - 1
    for call in (
        lambda: client.put_object("state", "k", b"", deadline=past),
        lambda: client.get_object("state", "k", deadline=past),
        lambda: client.head_object("state", "k", deadline=past),
        lambda: client.delete_object("state", "k", deadline=past),
        lambda: client.delete_objects("state", ["k"], deadline=past),
        lambda: list(client.list_objects_v2("state", deadline=past)),
        lambda: client.get_bucket_versioning("state", deadline=past),
        lambda: client.head_bucket("state", deadline=past),
    ):
        with pytest.raises(Exception, match="time limit passed"):
            call()
    assert not server.requests


def test_is_amazon(client: S3Client) -> None:
    assert not client.is_amazon and amazon(Scripted(OK)).is_amazon
