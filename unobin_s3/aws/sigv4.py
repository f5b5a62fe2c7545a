# SPDX-License-Identifier: MIT
"""AWS Signature Version 4 in headers: each step of the standard is a pure function, `sign` composes them.

Nothing here reads a clock, an environment or a socket, and nothing is escaped behind the caller's back: the
path and query that come in are the ones that are sent. No chunked, presigned or SigV4a signatures.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html and, for services other
than S3, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hmac
import time
import urllib.parse
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256

_ALGORITHM = "AWS4-HMAC-SHA256"

# Proxies and HTTP libraries add, drop and rewrite Accept-Encoding, User-Agent, Connection, Expect and trace
# headers on the way, and a changed signed header is a refused request. These, and x-amz-*, are what S3 acts
# upon.
_SIGNED = frozenset({"content-type", "content-md5", "if-match", "if-none-match", "range"})


def quote(text: str, safe: str = "") -> str:
    """Percent-encode the UTF-8 of `text`: all but `A-Za-z0-9-._~` and `safe`, upper-case hex (RFC 3986, 2.3).

    Raises UnicodeEncodeError for a lone surrogate.
    """
    return urllib.parse.quote(text, safe)


def canonical_query(pairs: Iterable[tuple[str, str]]) -> str:
    """The query string to sign and to send: names and values encoded, sorted by encoded name, then value."""
    encoded = sorted((quote(name), quote(value)) for name, value in pairs)
    return "&".join([f"{name}={value}" for name, value in encoded])


def canonical_request(
    method: str, path: str, query: str, headers: Mapping[str, str], payload_hash: str
) -> tuple[str, str]:
    """(canonical request, signed header names). Header names are lower-case; all that are given are signed.

    `path` and `query` are taken as they are. Values lose their outer blanks, and inner runs become one blank.
    """
    names = sorted(headers)
    lines = "".join([f"{name}:{headers[name]}\n" for name in names])
    if " " in lines or "\t" in lines:
        lines = "".join([f"{name}:{' '.join(headers[name].split())}\n" for name in names])
    signed = ";".join(names)
    return f"{method}\n{path}\n{query}\n{lines}\n{signed}\n{payload_hash}", signed


def string_to_sign(timestamp: str, scope: str, canonical: str) -> str:
    """`timestamp` is `YYYYMMDDThhmmssZ`; `scope` is `date/region/service/aws4_request`."""
    return f"{_ALGORITHM}\n{timestamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"


# One process rarely signs for more than S3, STS and KMS in a region or two. Few entries, so that rotated
# secrets do not pile up in memory. The key changes with the date, so yesterday's falls out by itself.
@lru_cache(maxsize=8)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The derived key of one day (`YYYYMMDD`), region and service. Cached, thread-safe."""
    key = ("AWS4" + secret).encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signature(key: bytes, to_sign: str) -> str:
    """The 64 lower-case hex digits that end the Authorization header."""
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


@lru_cache(maxsize=4)
def _timestamp(seconds: int) -> str:
    # Not strftime: that one follows the locale, and years below 1000 come out unpadded on some systems.
    year, month, day, hour, minute, second = time.gmtime(seconds)[:6]
    return f"{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z"


def _twice_encoded(path: str) -> str:
    # Services other than S3 sign the path without dot segments and empty segments, and encoded once more.
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    slash = "/" if kept and path.endswith("/") else ""
    return quote("/" + "/".join(kept) + slash, "/")


def sign(
    *,
    method: str,
    host: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    payload_hash: str,
    access_key_id: str,
    secret_access_key: str,
    session_token: str | None,
    region: str,
    service: str,
    now: float,
) -> dict[str, str]:
    """The headers to add: authorization, x-amz-date, x-amz-content-sha256 (S3), x-amz-security-token.

    `path` and `query` are exactly what is sent, encoded (`query` by `canonical_query`). `headers` has
    lower-case names; host, content-type, content-md5, if-match, if-none-match, range and x-amz-* are signed,
    others are not. `payload_hash` is the hex SHA-256 of the body. `now` is Unix seconds, UTC. Each attempt is
    to be signed anew.
    """
    timestamp = _timestamp(int(now))
    date = timestamp[:8]
    added = {"x-amz-date": timestamp}
    if service == "s3":
        added["x-amz-content-sha256"] = payload_hash
    else:
        path = _twice_encoded(path)
    if session_token:
        added["x-amz-security-token"] = session_token
    signed = {name: headers[name] for name in headers if name in _SIGNED or name[:6] == "x-amz-"}
    signed["host"] = host
    signed |= added
    canonical, names = canonical_request(method, path, query, signed, payload_hash)
    scope = f"{date}/{region}/{service}/aws4_request"
    key = signing_key(secret_access_key, date, region, service)
    proof = signature(key, string_to_sign(timestamp, scope, canonical))
    added["authorization"] = (
        f"{_ALGORITHM} Credential={access_key_id}/{scope}, SignedHeaders={names}, Signature={proof}"
    )
    return added
