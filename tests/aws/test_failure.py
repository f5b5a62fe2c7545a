# SPDX-License-Identifier: MIT
"""From a refusal to an exception: its class, its facts, and a message that says what to do next."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest

from tests.aws.scripted import START
from unobin_s3 import AccessDenied, Conflict, NotFound, PreconditionFailed, ServiceError, Throttled
from unobin_s3.aws import failure
from unobin_s3.aws.failure import error_class, http_date, service_error
from unobin_s3.aws.transport import Response
from unobin_s3.aws.xml import ErrorDocument


def made(
    status: int, code: str = "", message: str = "", *, headers: dict[str, str] | None = None, **more: Any
) -> ServiceError:
    fields = {name: more.pop(name) for name in ("region", "request_id", "header", "server_time") if name in more}
    usual: dict[str, Any] = {
        "operation": "PutObject", "bucket": "b", "key": "k", "method": "PUT", "region": "eu-west-1", "now": START,
        "response": Response(status, headers or {}, b""), "document": ErrorDocument(code, message, **fields),
    }  # fmt: skip
    if not code:
        usual["document"] = None
    if "asked" in more:
        usual["region"] = more.pop("asked")
    return service_error(**(usual | more))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (412, "PreconditionFailed", PreconditionFailed),
        (412, "", PreconditionFailed),
        (200, "PreconditionFailed", PreconditionFailed),  # a refusal under 200 (aws-sdk-java-v2#6023)
        (409, "ConditionalRequestConflict", Conflict),
        (409, "OperationAborted", Conflict),
        (503, "SlowDown", Throttled),
        (503, "ServiceUnavailable", Throttled),
        (429, "", Throttled),
        (400, "ThrottlingException", Throttled),
        (503, "", ServiceError),
        (403, "AccessDenied", AccessDenied),
        (403, "", AccessDenied),
        (401, "", AccessDenied),
        (400, "ExpiredToken", AccessDenied),
        (400, "InvalidToken", AccessDenied),
        (404, "NoSuchKey", NotFound),
        (404, "NoSuchBucket", NotFound),
        (404, "", ServiceError),  # S3 did not write it
        (404, "InvalidResponse", ServiceError),
        (301, "PermanentRedirect", ServiceError),
        (400, "AuthorizationHeaderMalformed", ServiceError),
        (500, "InternalError", ServiceError),
        (501, "NotImplemented", ServiceError),
    ],
)
def test_class(status: int, code: str, kind: type[ServiceError]) -> None:
    assert error_class(status, code) is kind


def test_message_and_facts() -> None:
    error = made(404, "NoSuchBucket", "The specified bucket does not exist", request_id="4442587FB7D0A2F9")
    assert str(error) == (
        "PutObject s3://b/k: 404 NoSuchBucket: The specified bucket does not exist [request 4442587FB7D0A2F9]; "
        "create the bucket, or check its name, the region and the endpoint"
    )
    facts = (error.operation, error.bucket, error.key, error.status, error.code, error.request_id)
    assert facts == ("PutObject", "b", "k", 404, "NoSuchBucket", "4442587FB7D0A2F9")
    assert not error.maybe_applied


@pytest.mark.parametrize("code", sorted(failure._HINTS))
def test_every_hint_is_said(code: str) -> None:
    assert str(made(400, code)).endswith(f"; {failure._HINTS[code]}")


@pytest.mark.parametrize("header", ["x-amz-request-id", "x-amzn-requestid"])
def test_request_id_of_a_header(header: str) -> None:
    assert made(500, headers={header: "R1"}).request_id == "R1"
    assert made(500, "InternalError", request_id="R2", headers={header: "R1"}).request_id == "R2"


def test_the_header_that_is_not_implemented() -> None:
    assert "(header If-None-Match)" in str(made(501, "NotImplemented", "A header", header="If-None-Match"))


def test_what_is_no_document() -> None:
    error = made(502, headers={"content-type": "text/html; charset=utf-8" + "x" * 100})
    assert "502: the answer is no error document (text/html; charset=utf-8x" in str(error) and len(str(error)) < 150
    assert "(no content type)" in str(made(502))
    assert made(200).code == "InvalidResponse" and "perhaps a proxy" in str(made(200))
    assert "does not mean that the object is absent" in str(made(404))


def test_head_has_no_document() -> None:
    error = made(404, method="HEAD", operation="HeadObject")
    assert isinstance(error, NotFound) and str(error) == "HeadObject s3://b/k: 404 NotFound"
    assert str(made(500, method="HEAD", operation="HeadObject")) == "HeadObject s3://b/k: 500"


@pytest.mark.parametrize("operation", ["GetObject", "HeadObject"])
@pytest.mark.parametrize("code", ["", "AccessDenied"])
def test_a_403_to_reading_may_mean_absent(operation: str, code: str) -> None:
    assert "s3:ListBucket" in str(made(403, code, operation=operation))
    assert "s3:ListBucket" not in str(made(403, "InvalidAccessKeyId", operation=operation))
    assert "s3:ListBucket" not in str(made(403, code))


def test_where() -> None:
    assert str(made(500, key="")).startswith("PutObject s3://b: 500")
    assert str(made(500, key="", bucket="", operation="Decrypt")).startswith("Decrypt: 500")


# Regions


def test_the_right_region_is_named() -> None:
    said = "the bucket is in region us-west-2, and eu-west-1 was asked"
    assert said in str(made(301, headers={"x-amz-bucket-region": "us-west-2"}, method="HEAD"))
    assert said in str(made(400, "AuthorizationHeaderMalformed", region="us-west-2"))
    assert "the bucket is in" not in str(made(403, headers={"x-amz-bucket-region": "eu-west-1"}))
    assert "the bucket is in" not in str(made(301, headers={"x-amz-bucket-region": "us-west-2\nevil"}))


# Clocks

THEIRS = formatdate(START + 1200, usegmt=True)


@pytest.mark.parametrize("code", ["", *sorted(failure.MAYBE_SKEWED)])
def test_both_clocks_are_named(code: str) -> None:
    both = (
        "this machine's clock says 2026-11-18T11:06:40Z, and the service's 2026-11-18T11:26:40Z: "
        "set this machine's clock"
    )
    assert both in str(made(403, code, headers={"date": THEIRS}))
    assert both in str(made(403, code or "AccessDenied", server_time="2026-11-18T11:26:40Z"))


def test_clocks_that_do_not_matter() -> None:
    assert "clock" not in str(made(403, "AccessDenied", headers={"date": formatdate(START + 200, usegmt=True)}))
    assert "clock" not in str(made(403, "InvalidAccessKeyId", headers={"date": THEIRS}))
    assert "clock" not in str(made(500, headers={"date": THEIRS}))
    assert "clock" not in str(made(403, headers={"date": "yesterday"}))


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 -0000", "Sun, 06 Nov 1994 25:00:00 GMT",
        "Sun, 06 Nov 99999999999999999999 08:49:37 GMT", "Sun, 99999999999999999999 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +99999999999999", "\x00", "٠٦ Nov 1994 08:49:37 GMT",
    ],
)  # fmt: skip
def test_dates_that_are_none(text: str) -> None:
    found = http_date(text)
    assert found is None or found.tzinfo is not None
    assert "clock" not in str(made(403, headers={"date": text})) or found is not None


def test_a_date() -> None:
    found = http_date("Sun, 06 Nov 1994 08:49:37 GMT")
    assert found is not None and found.timestamp() == 784111777


@pytest.mark.parametrize("text", ["2026-11-18T10:46:40", "never", "9999999-01-01T00:00:00Z"])
def test_a_server_time_that_is_none(text: str) -> None:
    response = Response(403, {"date": THEIRS}, b"")
    theirs = failure.server_time(response, ErrorDocument("RequestTimeTooSkewed", "", server_time=text))
    assert theirs in (None, START + 1200)
