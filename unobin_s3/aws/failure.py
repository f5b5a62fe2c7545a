# SPDX-License-Identifier: MIT
"""How a failed answer becomes an exception: its class by meaning, its message with what to do next. Pure."""

from __future__ import annotations

from ..errors import (
    AccessDenied,
    Conflict,
    NotFound,
    PreconditionFailed,
    ServiceError,
    Throttled,
)
from .xml import ErrorDocument

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
    status: int,
    document: ErrorDocument | None,
    request_id: str,
    seen: str,
) -> ServiceError:
    """The exception for one answer. `seen` says what came instead when there is no error document."""
    code = document.code if document else ("" if status >= 300 else "InvalidResponse")
    text = document.message if document and document.message else seen
    if document and document.header:
        text = f"{text} (header {document.header})"
    request_id = (document.request_id if document else "") or request_id
    where = f" s3://{bucket}/{key}".rstrip("/") if bucket else ""
    hint = _HINTS.get(code, "")
    if status == 403 and key and operation in ("GetObject", "HeadObject") and code in ("AccessDenied", ""):
        hint = "no right to read it, or it is not there and the s3:ListBucket right that would tell is missing"
    if status == 404 and not code:
        hint = "S3 did not write this answer, so it does not mean that the object is absent: check the endpoint URL"
    message = f"{operation}{where}: {status} {code}".rstrip()
    message += f": {text}" if text else ""
    message += f" [request {request_id}]" if request_id else ""
    message += f"; {hint}" if hint else ""
    return error_class(status, code)(
        message, operation=operation, bucket=bucket, key=key, status=status, code=code, request_id=request_id
    )
