# SPDX-License-Identifier: MIT
"""Finding a bucket's right region from a refusal, and remembering it. Only Amazon's own endpoints are ever left."""

from __future__ import annotations

import logging
import re
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, UnobinS3Error
from .caller import Call
from .endpoint import Endpoint, checked_region
from .transport import Response
from .xml import ErrorDocument

if TYPE_CHECKING:
    from .settings import Settings

_logger = logging.getLogger(__name__)

_WRONG_REGION = frozenset(
    {
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "TemporaryRedirect",
    }
)


class Regions:
    """The endpoint of each bucket: the client's own, or the one its first refusal pointed to. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        # Weak: a client that is dropped is freed at once, and its sockets with it, only if no cycle holds it.
        self._settings = weakref.ref(settings)
        self._known: dict[str, Endpoint] = {}
        self._lock = threading.Lock()

    def endpoint(self, bucket: str) -> Endpoint:
        with self._lock:
            known = self._known.get(bucket)
        return known or self._owner().endpoint

    def correct(self, call: Call, response: Response, document: ErrorDocument | None, deadline: float) -> Call | None:
        """The same call for the right region, or None when this refusal is not about the region.

        A refusal that names no region is followed by one HEAD of the bucket. The name is checked and must differ from
        the one used: answers are not to be trusted (botocore#3644).
        """
        if not call.bucket or not _about_region(response, document):
            return None  # of KMS and STS as well, whose callers outlive their settings
        endpoint = self._owner().endpoint
        if endpoint.configured:
            return None
        if response.status == 307:
            return _redirected(call, response)
        named = response.headers.get("x-amz-bucket-region") or (document.region if document else "")
        region = checked_region(named or self._ask(call, deadline))
        if region is None or region == call.region:
            return None
        try:
            moved = endpoint.with_region(region)
        except ConfigurationError:
            return None  # in another partition; the refusal itself says more
        seen = (call.bucket, region, call.region)
        _logger.warning("bucket %s is in region %s, not %s; set region to save a request", *seen)
        with self._lock:
            self._known[call.bucket] = moved
        address = moved.locate(call.bucket, call.key)
        return replace(call, scheme=address.scheme, host=address.host, path=address.path, region=region)

    def _ask(self, call: Call, deadline: float) -> str:
        path = self._owner().endpoint.locate(call.bucket).path
        head = Call(
            operation="HeadBucket", service="s3", region=call.region, method="HEAD", scheme=call.scheme,
            host=call.host, path=path, bucket=call.bucket,
        )  # fmt: skip
        try:
            return self._owner().caller.probe(head, deadline=deadline).headers.get("x-amz-bucket-region", "")
        except UnobinS3Error:
            return ""

    def _owner(self) -> Settings:
        settings = self._settings()
        if settings is None:
            raise ConfigurationError("the client was dropped while it was in use")
        return settings


def _about_region(response: Response, document: ErrorDocument | None) -> bool:
    if document is not None and document.code:
        return document.code in _WRONG_REGION
    # HEAD has no document: S3 answers a bare 400 or 301 for a wrong region.
    return response.status in (301, 307, 400)


def _redirected(call: Call, response: Response) -> Call | None:
    """A 307 (a new bucket's name is still spreading): same path, signed anew, Amazon's own domain only."""
    scheme, _, rest = response.headers.get("location", "").partition("://")
    host = re.split(r"[/?]", rest, maxsplit=1)[0].lower()
    suffix = ".amazonaws.com.cn" if call.host.endswith(".cn") else ".amazonaws.com"
    # Only letters, digits, dots and hyphens: "bucket.evil.example#.amazonaws.com" ends rightly and is somebody else's.
    known = re.fullmatch(rf"{re.escape(call.bucket)}\.[a-z0-9.-]+{re.escape(suffix)}", host)
    return replace(call, host=host) if known and scheme == call.scheme and host != call.host else None
