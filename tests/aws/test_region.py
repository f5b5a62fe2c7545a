# SPDX-License-Identifier: MIT
"""A bucket in another region: found out once, checked, remembered, logged; and what is never followed."""

from __future__ import annotations

import logging

import pytest

from tests.aws.scripted import KEYS, OK, Renewing, Scripted, amazon, bare, error
from unobin_s3 import AccessDenied, NotFound, S3Client, ServiceError, TransportError
from unobin_s3.aws.transport import Response

HOME, THERE = "b1x.s3.eu-west-1.amazonaws.com", "b1x.s3.us-west-2.amazonaws.com"
PAGE = Response(200, {}, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")


def head(transport: Scripted, **more: object) -> S3Client:
    client = amazon(transport, **more)
    client.head_object("b1x", "k")
    return client


@pytest.mark.parametrize(
    "refusal",
    [
        error(301, "PermanentRedirect", {"x-amz-bucket-region": "us-west-2"}, Endpoint="evil.example"),
        error(400, "AuthorizationHeaderMalformed", Region="us-west-2"),
        error(400, "IllegalLocationConstraintException", {"x-amz-bucket-region": "us-west-2"}),
        bare(400, x_amz_bucket_region="us-west-2"),
        bare(301, x_amz_bucket_region="us-west-2", location="https://evil.example/"),
    ],
)
def test_corrected_once_and_remembered(refusal: Response, caplog: pytest.LogCaptureFixture) -> None:
    service = Scripted(refusal, OK)
    client = head(service)
    client.put_object("b1x", "k", b"body")
    assert service.hosts == [HOME, THERE, THERE]
    assert service.scopes == ["eu-west-1", "us-west-2", "us-west-2"]
    assert service.sent[1].target == "/k" and not service.clock.slept
    assert "bucket b1x is in region us-west-2, not eu-west-1; set region to save a request" in caplog.text
    client.head_object("b2x", "k")  # another bucket is asked where the client is
    assert service.hosts[-1] == "b2x.s3.eu-west-1.amazonaws.com"


def test_a_write_is_sent_again_with_its_body_and_conditions() -> None:
    service = Scripted(error(301, "PermanentRedirect", {"x-amz-bucket-region": "us-west-2"}), OK)
    amazon(service).put_object("b1x", "a b", b"body", if_none_match=True)
    again = service.sent[1]
    assert (again.method, again.target, again.body, again.headers["if-none-match"]) == ("PUT", "/a%20b", b"body", "*")


@pytest.mark.parametrize("bucket", ["b.1x", "b1x"])
def test_path_style_and_lists(bucket: str) -> None:
    service = Scripted(error(400, "AuthorizationHeaderMalformed", Region="us-west-2"), PAGE)
    assert list(amazon(service, path_style=True).list_objects_v2(bucket, "p/")) == []
    assert service.hosts == ["s3.eu-west-1.amazonaws.com", "s3.us-west-2.amazonaws.com"]
    assert {request.target for request in service.sent} == {
        f"/{bucket}?encoding-type=url&list-type=2&prefix=p%2F",
    }


def test_dual_stack_and_fips_are_kept() -> None:
    service = Scripted(bare(400, x_amz_bucket_region="us-west-2"), OK)
    head(service, dualstack=True, fips=True)
    assert service.hosts[1] == "b1x.s3-fips.dualstack.us-west-2.amazonaws.com"


def test_a_301_that_names_nothing_asks_one_head() -> None:
    service = Scripted(error(301, "PermanentRedirect"), bare(301, x_amz_bucket_region="us-west-2"), OK)
    amazon(service).put_object("b1x", "k", b"body")
    assert [(request.method, request.host, request.target) for request in service.sent] == [
        ("PUT", HOME, "/k"), ("HEAD", HOME, "/"), ("PUT", THERE, "/k"),
    ]  # fmt: skip


@pytest.mark.parametrize("first", [error(301, "PermanentRedirect"), bare(400)], ids=["301", "400"])
def test_and_gives_up_after_it(first: Response) -> None:
    """botocore sends 81 requests here."""
    service = Scripted(first, bare(301))
    with pytest.raises(
        ServiceError, match=r"^PutObject s3://b1x/k: (301 PermanentRedirect; the bucket is in another|400)"
    ):
        amazon(service).put_object("b1x", "k", b"body")
    assert [request.method for request in service.sent] == ["PUT", "HEAD"]


@pytest.mark.parametrize("answer", [TransportError("reset"), bare(403), bare(500)], ids=str)
def test_a_head_that_fails_changes_nothing(answer: Response | Exception) -> None:
    service = Scripted(error(301, "PermanentRedirect"), answer)
    with pytest.raises(ServiceError, match="PermanentRedirect"):
        head(service)
    assert len(service.sent) == 2


def test_wrong_again() -> None:
    service = Scripted(
        error(301, "PermanentRedirect", {"x-amz-bucket-region": "us-west-2"}),
        error(301, "PermanentRedirect", {"x-amz-bucket-region": "eu-west-1"}),
    )
    with pytest.raises(ServiceError, match="the bucket is in region eu-west-1, and us-west-2 was asked"):
        head(service)
    assert len(service.sent) == 2


@pytest.mark.parametrize(
    "name",
    [
        "us-west-2\n", "us-west-2\nx", "evil.example/", "evil.example", "us-west-2@evil", "US-WEST-2", "a" * 64, "../x",
        "us west", "us-west-2#", "us-west-2?", "eu-west-1", "aws-global", "fips-us-west-2", "cn-north-1",
        "us-gov-west-1", "us-west-2\x00", "\u0131s-west-2", "*",
    ],
)  # fmt: skip
def test_names_that_are_not_to_be_trusted(name: str) -> None:
    """botocore#3644: what the answer names goes into a host; a line break passed its check."""
    service = Scripted(bare(400, x_amz_bucket_region=name), OK)
    with pytest.raises(ServiceError, match=r"HeadObject s3://b1x/k: 400"):
        head(service)
    assert service.hosts == [HOME]


def test_a_400_that_is_not_about_the_region() -> None:
    for refusal in (error(400, "InvalidArgument", Region="us-west-2"), error(403, "AccessDenied", Region="us-west-2")):
        service = Scripted(refusal, OK)
        with pytest.raises(ServiceError):
            head(service)
        assert len(service.sent) == 1


def test_a_missing_object_is_no_question_of_region() -> None:
    service = Scripted(Response(404, {"x-amz-bucket-region": "us-west-2"}, b""), OK)
    with pytest.raises(NotFound):
        head(service)
    assert len(service.sent) == 1


@pytest.mark.parametrize("url", ["https://s3.eu-west-1.amazonaws.com", "http://127.0.0.1:9"])
@pytest.mark.parametrize(
    "refusal",
    [
        bare(400, x_amz_bucket_region="us-west-2"),
        error(301, "PermanentRedirect", {"x-amz-bucket-region": "us-west-2"}),
        error(307, "TemporaryRedirect", {"location": f"https://{THERE}/k"}),
    ],
)
def test_a_configured_endpoint_is_never_left(url: str, refusal: Response) -> None:
    service = Scripted(refusal, OK)
    client = S3Client(region="eu-west-1", credentials=KEYS, endpoint_url=url, transport=service, env={})
    with pytest.raises(ServiceError) as caught:
        client.get_object("b1x", "k")
    assert len(service.sent) == 1
    if refusal.status != 307:
        assert "the bucket is in region us-west-2, and eu-west-1 was asked" in str(caught.value)


# 307: the name of a new bucket is still spreading


def moved(location: str) -> Response:
    return error(307, "TemporaryRedirect", {"location": location})


def test_a_307_is_signed_anew_and_not_remembered() -> None:
    service = Scripted(moved(f"https://{THERE}/k?ignored=1"), OK)
    client = amazon(service)
    client.put_object("b1x", "k", b"body", if_none_match=True)
    client.put_object("b1x", "k", b"body")
    assert service.hosts == [HOME, THERE, HOME]
    first, second = service.sent[:2]
    assert (second.target, second.body, second.headers["if-none-match"]) == ("/k", b"body", "*")
    assert first.headers["authorization"] != second.headers["authorization"]


@pytest.mark.parametrize(
    "location",
    [
        "", "/k", f"http://{THERE}/k", "https://evil.example/k", "https://b1x.evil.example/k",
        "https://b1x.evil.example#.amazonaws.com", "https://b1x.evil.example?.amazonaws.com",
        "https://b1x.x:y@evil.amazonaws.com/k", "https://b1x.evil\\.amazonaws.com/k", "https://b1x.amazonaws.com.evil/k",
        "https://b1x.evilamazonaws.com/k", "https://other.s3.us-west-2.amazonaws.com/k", f"https://{HOME}/k",
        f"https://{THERE}:8443/k", "https://b1x.s3.cn-north-1.amazonaws.com.cn/k", f"https://{THERE}\r\nx: y/k",
        "ftp://b1x.s3.amazonaws.com/k", "https://[::1]/k",
    ],
)  # fmt: skip
def test_a_307_to_elsewhere_is_not_followed(location: str) -> None:
    service = Scripted(moved(location), OK)
    with pytest.raises(ServiceError, match="TemporaryRedirect"):
        amazon(service).put_object("b1x", "k", b"body")
    assert service.hosts == [HOME]


def test_a_307_once() -> None:
    service = Scripted(moved(f"https://{THERE}/k"), moved("https://b1x.s3.us-east-1.amazonaws.com/k"))
    with pytest.raises(ServiceError, match="TemporaryRedirect"):
        amazon(service).put_object("b1x", "k", b"body")
    assert len(service.sent) == 2


# With the other corrections


def test_a_region_found_after_an_expired_session(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    service = Scripted(error(400, "ExpiredToken"), bare(400, x_amz_bucket_region="us-west-2"), bare(403))
    with pytest.raises(AccessDenied):
        head(service, credentials=Renewing())
    assert service.hosts == [HOME, HOME, THERE]
    assert "planted" not in caplog.text
