# SPDX-License-Identifier: MIT
"""How a failed answer becomes an exception: its class by meaning, its message with what to do next. Pure."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import (
    AccessDenied,
    Conflict,
    NotFound,
    PreconditionFailed,
    ServiceError,
    Throttled,
)
from .endpoint import checked_region
from .transport import Response
from .xml import ErrorDocument

if TYPE_CHECKING:
    from datetime import datetime

# Services allow 15 minutes; a difference of less than four is not the reason of a refusal.
MIN_SKEW = 240.0  # seconds
# Most are said for other reasons too, so only a difference between the clocks makes them one of time.
MAYBE_SKEWED = frozenset(
    {
        "RequestTimeTooSkewed", "RequestInTheFuture", "RequestExpired", "InvalidSignatureException",
        "SignatureDoesNotMatch", "AccessDenied",
    }
)  # fmt: skip

# AWS: "List of error codes" (API/ErrorResponses.html), and what other stores were seen to send.
_HINTS = {
    "NoSuchBucket": "create the bucket, or check its name, the region and the endpoint",
    "InvalidBucketName": "check the bucket name",
    "AccessDenied": "the credentials lack a right for this, or a bucket policy denies it",
    "AllAccessDisabled": "the account or bucket is disabled",
    "InvalidAccessKeyId": "the service does not know this access key: check the credentials and the endpoint",
    "SignatureDoesNotMatch": "check the secret access key and the region, and that no proxy rewrites Host or the path",
    "InvalidToken": "the session token does not belong to this access key; use a set from one place",
    "ExpiredToken": "the session has ended; get new credentials",
    "TokenRefreshRequired": "the session has ended; get new credentials",
    "AuthorizationHeaderMalformed": "the region is wrong for this bucket; set region or AWS_REGION",
    "PermanentRedirect": "the bucket is in another region or needs another endpoint",
    "IllegalLocationConstraintException": "the region is wrong for this bucket; set region or AWS_REGION",
    "NotImplemented": "this store does not support a header or call that is needed here",
    "XAmzContentSHA256Mismatch": "the body was changed on the way",
    "BadDigest": "the body was changed on the way",
    "EntityTooLarge": "the object is over the store's limit",
    "InvalidResponse": "what answered is perhaps a proxy or another service: check the endpoint URL",
    "ResponseTooLarge": "this is not an object that this library wrote",
    "KMS.DisabledException": "the bucket's KMS key is disabled; enable it or set another kms_key_id",
    "KMS.NotFoundException": "the bucket's KMS key does not exist in this region; check kms_key_id",
    "InvalidObjectState": "the object is archived; restore it first",
}

# S3, STS and KMS send these with 400 as well.
_DENIED = frozenset(
    {
        "AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature",
        "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidSignatureException", "InvalidToken",
        "MissingAuthenticationTokenException", "SignatureDoesNotMatch", "UnrecognizedClientException",
    }
)  # fmt: skip


def error_class(status: int, code: str) -> type[ServiceError]:
    """The class for this answer. A 404 counts as NotFound only when the service itself said so."""
    if status == 412 or code == "PreconditionFailed":
        return PreconditionFailed
    if code in ("SlowDown", "ServiceUnavailable") or status == 429 or code.startswith("Throttl"):
        return Throttled
    if status == 409:
        return Conflict
    if status in (401, 403) or code in _DENIED:
        return AccessDenied
    if status == 404 and code not in ("", "InvalidResponse"):
        return NotFound
    return ServiceError


def service_error(
    *,
    operation: str,
    bucket: str,
    key: str,
    method: str,
    region: str,
    response: Response,
    document: ErrorDocument | None,
    now: float,
) -> ServiceError:
    """The exception for one answer to a request that was signed for `region`; `now` is our clock, in unix seconds."""
    status, headers = response.status, response.headers
    if method == "HEAD" and status == 404 and document is None:
        # HEAD answers carry no document, so this one cannot be told from a proxy's; callers treat it as "not there".
        document = ErrorDocument("NotFound", "")
    code = document.code if document else ("" if status >= 300 else "InvalidResponse")
    text = document.message if document else ""
    if document is None and method != "HEAD":
        text = f"the answer is no error document ({headers.get('content-type', 'no content type')[:60]})"
    if document and document.header:
        text = f"{text} (header {document.header})"
    request_id = headers.get("x-amz-request-id", headers.get("x-amzn-requestid", ""))
    request_id = (document.request_id if document else "") or request_id
    where = f" s3://{bucket}/{key}".rstrip("/") if bucket else ""
    message = f"{operation}{where}: {status} {code}".rstrip()
    message += f": {text}" if text else ""
    message += f" [request {request_id}]" if request_id else ""
    for hint in (
        _hint(status, code, operation),
        _elsewhere(region, response, document),
        _clocks(response, code, document, now),
    ):
        message += f"; {hint}" if hint else ""
    return error_class(status, code)(
        message, operation=operation, bucket=bucket, key=key, status=status, code=code, request_id=request_id
    )


def _hint(status: int, code: str, operation: str) -> str:
    if status == 403 and operation in ("GetObject", "HeadObject") and code in ("AccessDenied", ""):
        return "no right to read it, or it is not there and the s3:ListBucket right that would tell is missing"
    if status == 404 and not code:
        return "S3 did not write this answer, so it does not mean that the object is absent: check the endpoint URL"
    return _HINTS.get(code, "")


def _elsewhere(region: str, response: Response, document: ErrorDocument | None) -> str:
    """Which region the answer names, when it is not the one that was asked."""
    named = response.headers.get("x-amz-bucket-region") or (document.region if document else "")
    right = checked_region(named)
    return f"the bucket is in region {right}, and {region} was asked" if right and right != region else ""


def _clocks(response: Response, code: str, document: ErrorDocument | None, now: float) -> str:
    """Both clocks, when the refusal may come of the difference between them."""
    theirs = server_time(response, document) if response.status in (400, 403) else None
    if theirs is None or abs(theirs - now) < MIN_SKEW or (code and code not in MAYBE_SKEWED):
        return ""
    ours, there = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) for moment in (now, theirs))
    return f"this machine's clock says {ours}, and the service's {there}: set this machine's clock"


def server_time(response: Response, document: ErrorDocument | None) -> float | None:
    """The service's clock in unix seconds, from the document or else the Date header."""
    from datetime import datetime

    found = http_date(response.headers.get("date", ""))
    if document is not None and document.server_time:
        with suppress(ValueError):
            found = datetime.fromisoformat(document.server_time)
    return found.timestamp() if found is not None and found.tzinfo is not None else None


def http_date(text: str) -> datetime | None:
    """A date of HTTP (RFC 9110 section 5.6.7), or None."""
    # Loaded as soon as httpx is; importing this package alone should not load it.
    from email.utils import parsedate_to_datetime

    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else None
