# SPDX-License-Identifier: MIT
"""Is this request signed as AWS Signature Version 4 asks? Pure: keys, region and time are arguments.

The canonical request is made anew from the decoded target, so a client with an encoding of its own is
found out.
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

from ..aws import sigv4
from .messages import Refusal, RequestRecord

_SKEW = 15 * 60  # seconds, as on AWS
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=(?P<key>[^,]+)/(?P<date>\d{8})/(?P<region>[^/,]+)/(?P<service>[^/,]+)"
    r"/aws4_request, *SignedHeaders=(?P<signed>[^,]+), *Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class User:
    secret_key: str
    session_token: str = ""
    deny: frozenset[str] = frozenset()  # IAM actions it lacks


def verify(record: RequestRecord, body: bytes, users: Mapping[str, User], region: str, now: float) -> str:
    """The access key that signed, in time, for this region and this body. Raises Refusal with S3's codes."""
    headers = record.headers
    if "authorization" not in headers:
        raise Refusal(403, "AccessDenied", "Access Denied")
    found = _AUTHORIZATION.fullmatch(headers["authorization"])
    if found is None or found["service"] != "s3":
        raise Refusal(400, "AuthorizationHeaderMalformed", "The authorization header is malformed")
    if found["region"] != region:
        wrong = f"the region '{found['region']}' is wrong; expecting '{region}'"
        message = f"The authorization header is malformed; {wrong}"
        raise Refusal(400, "AuthorizationHeaderMalformed", message, Region=region)
    if found["key"] not in users:
        message = "The AWS Access Key Id you provided does not exist in our records."
        raise Refusal(403, "InvalidAccessKeyId", message, AWSAccessKeyId=found["key"])
    user = users[found["key"]]
    if headers.get("x-amz-security-token", "") != user.session_token:
        raise Refusal(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
    _check_clock(headers.get("x-amz-date", ""), now)
    _check_signature(record, found, user.secret_key)
    _check_payload(headers.get("x-amz-content-sha256", ""), body)
    return found["key"]


def _check_clock(stamp: str, now: float) -> None:
    try:
        requested = calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        message = "AWS authentication requires a valid Date or x-amz-date header"
        raise Refusal(403, "AccessDenied", message) from None
    if abs(now - requested) > _SKEW:
        message = "The difference between the request time and the current time is too large."
        server_time = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        fields = {
            "RequestTime": stamp,
            "ServerTime": server_time,
            "MaxAllowedSkewMilliseconds": f"{_SKEW}000",
        }
        raise Refusal(403, "RequestTimeTooSkewed", message, **fields)


def _check_signature(record: RequestRecord, found: re.Match[str], secret: str) -> None:
    signed = {name: record.headers.get(name, "") for name in found["signed"].split(";")}
    if "host" not in signed or any(name.startswith("x-amz-") and name not in signed for name in record.headers):
        raise Refusal(403, "AccessDenied", "There were headers present in the request which were not signed")
    path = sigv4.quote(unquote_plus(record.target.partition("?")[0]), "/")
    query, payload = sigv4.canonical_query(record.query.items()), signed.get("x-amz-content-sha256", "")
    canonical, _ = sigv4.canonical_request(record.method, path, query, signed, payload)
    scope = f"{found['date']}/{found['region']}/s3/aws4_request"
    to_sign = sigv4.string_to_sign(record.headers["x-amz-date"], scope, canonical)
    key = sigv4.signing_key(secret, found["date"], found["region"], "s3")
    if not hmac.compare_digest(sigv4.signature(key, to_sign), found["signature"]):
        message = "The request signature we calculated does not match the signature you provided."
        fields = {"AWSAccessKeyId": found["key"], "StringToSign": to_sign, "CanonicalRequest": canonical}
        raise Refusal(403, "SignatureDoesNotMatch", message, **fields)


def _check_payload(declared: str, body: bytes) -> None:
    if declared == "UNSIGNED-PAYLOAD" or declared.startswith("STREAMING-"):
        return  # the chunk signatures of a streamed body are not verified
    actual = hashlib.sha256(body).hexdigest()
    if declared != actual:
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        fields = {"ClientComputedContentSHA256": declared, "S3ComputedContentSHA256": actual}
        raise Refusal(400, "XAmzContentSHA256Mismatch", message, **fields)
