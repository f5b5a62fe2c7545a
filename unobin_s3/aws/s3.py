# SPDX-License-Identifier: MIT
"""S3Client: the few S3 calls that keeping state needs, each as AWS's API reference gives it.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html and its neighbours. Nothing here knows of snapshots.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, OutcomeUnknown, ServiceError, TransportError
from . import xml
from .caller import Answer, Call, Caller, Clock
from .credentials import Credentials, CredentialSource
from .endpoint import check_key
from .failure import http_date
from .retry import Repeat
from .settings import Limits, Settings
from .sigv4 import canonical_query
from .transport import Response, Transport

if TYPE_CHECKING:
    from datetime import datetime

    import httpx
_LIST_LIMIT = xml.MAX_DOCUMENT
_DELETE_MAX = 1000  # keys in one DeleteObjects request


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object as GET or HEAD gave it; `body` is empty for HEAD. Headers have lower-case names."""

    body: bytes
    headers: Mapping[str, str]

    @property
    def etag(self) -> str:
        """As the store wrote it, quotes included; to be echoed, never computed (SSE-KMS ETags are no digests)."""
        return self.headers.get("etag", "")

    @property
    def last_modified(self) -> datetime | None:
        """When the store says it was written (whole seconds), or None."""
        return http_date(self.headers.get("last-modified", ""))

    @property
    def date(self) -> datetime | None:
        """The store's own clock at the answer, or None; None as well when a cache answered (an Age header)."""
        return None if "age" in self.headers else http_date(self.headers.get("date", ""))

    @property
    def metadata(self) -> dict[str, str]:
        """User metadata (`x-amz-meta-*`), names without the prefix."""
        start = "x-amz-meta-"
        return {name[len(start) :]: value for name, value in self.headers.items() if name.startswith(start)}


class S3Client:
    """A thin S3 client: signed by its own SigV4, bounded in time, safe to share between threads and after fork.

    What is left out is found as the AWS SDKs find it (environment, shared files, instance metadata), and nothing is
    sent before the first call. `transport` is a httpx.BaseTransport of your own (mTLS, tracing). `checksum`: whether
    PUT sends x-amz-checksum-sha256; None = only to Amazon's hosts, since other stores refuse or ignore it.
    `path_style`: None = path style for a configured endpoint, virtual-hosted on Amazon's.

    Every method takes `deadline`, a moment of `client.clock.monotonic()`; without it a call may take `limits.total`
    seconds (120) with all repetitions. All raise ServiceError and its children, TransportError, CredentialsError and
    ConfigurationError; writes also raise OutcomeUnknown, and a refusal that follows a lost answer has
    `maybe_applied=True`.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        credentials: Credentials | CredentialSource | None = None,
        endpoint_url: str | None = None,
        path_style: bool | None = None,
        transport: httpx.BaseTransport | Transport | None = None,
        checksum: bool | None = None,
        profile: str | None = None,
        ca_bundle: str | None = None,
        dualstack: bool | None = None,
        fips: bool | None = None,
        expected_bucket_owner: str | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.settings: Settings = Settings(
            "s3", region=region, credentials=credentials, endpoint_url=endpoint_url, profile=profile,
            transport=transport, ca_bundle=ca_bundle, path_style=path_style, dualstack=dualstack, fips=fips,
            limits=limits, clock=clock, env=env,
        )  # fmt: skip
        self._checksum = checksum
        self._owner = expected_bucket_owner
        # Set once a store was seen to refuse a right but quoted ETag (Ceph RGW 16 and 18).
        self.unquoted_etags = False

    @property
    def caller(self) -> Caller:
        return self.settings.caller

    @property
    def clock(self) -> Clock:
        return self.settings.caller.clock

    @property
    def is_amazon(self) -> bool:
        """Whether the host is Amazon's, by its name."""
        return self.settings.endpoint.is_amazon

    def close(self) -> None:
        """Close kept connections; the client can still be used and opens new ones."""
        self.settings.transport.close()

    def put_object(
        self,
        bucket: str,
        key: str,
        body: bytes,
        *,
        if_none_match: bool = False,
        if_match: str | None = None,
        kms_key_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> str:
        """Store `body` whole and atomically, and return its ETag (asked by a HEAD if the answer has none).

        `if_none_match`: only if the key is absent. `if_match`: only over the object with that ETag. Either raises
        PreconditionFailed (If-Match on an absent key: NotFound) and is repeated safely after a lost answer; without
        them a lost answer is repeated too, and the last writer wins. OutcomeUnknown also when that HEAD fails.
        """
        if if_none_match and if_match is not None:
            raise ConfigurationError("put_object takes if_none_match or if_match, not both")
        headers = {f"x-amz-meta-{name}".lower(): value for name, value in (metadata or {}).items()}
        if if_none_match:
            headers["if-none-match"] = "*"
        if if_match is not None:
            headers["if-match"] = self._quoted(if_match)
        if kms_key_id:
            headers["x-amz-server-side-encryption"] = "aws:kms"
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = kms_key_id
        conditional = if_none_match or if_match is not None
        repeat = Repeat.CONDITIONAL if conditional else Repeat.PLAIN
        response = self._send(
            "PutObject", "PUT", bucket, key, headers=headers, body=body, repeat=repeat, answer=Answer.NOTHING,
            checksum=self.sends_checksum, deadline=deadline,
        )  # fmt: skip
        return response.headers.get("etag") or self._etag_of(bucket, key, deadline)

    def get_object(
        self, bucket: str, key: str, *, verify: bool = False, limit: int | None = None, deadline: float | None = None
    ) -> ObjectInfo:
        """The object whole. `limit`: refuse bodies over so many bytes (ServiceError, code ResponseTooLarge).

        `verify` asks for the stored SHA-256 and checks it where the store gives one; a difference raises ServiceError.
        NotFound: its `code` is NoSuchKey or NoSuchBucket.
        """
        headers = {"x-amz-checksum-mode": "ENABLED"} if verify and self.sends_checksum else {}
        response = self._send(
            "GetObject", "GET", bucket, key, headers=headers, limit=limit, answer=Answer.OBJECT, deadline=deadline
        )
        wanted = response.headers.get("x-amz-checksum-sha256", "") if verify else ""
        # A multipart object's checksum has a part count behind a dash and is not the body's own.
        if wanted and "-" not in wanted and wanted != b64encode(hashlib.sha256(response.body).digest()).decode():
            raise ServiceError(
                f"GetObject s3://{bucket}/{key}: the body does not have the checksum it was stored with; "
                "it was damaged in the store or on the way",
                operation="GetObject", bucket=bucket, key=key, status=response.status, code="BadDigest",
            )  # fmt: skip
        return ObjectInfo(response.body, response.headers)

    def head_object(self, bucket: str, key: str, *, deadline: float | None = None) -> ObjectInfo:
        """Metadata of the object. NotFound here may also mean that the bucket is missing: HEAD has no error body."""
        response = self._send("HeadObject", "HEAD", bucket, key, answer=Answer.OBJECT, deadline=deadline)
        return ObjectInfo(b"", response.headers)

    def delete_object(
        self, bucket: str, key: str, *, if_match: str | None = None, once: bool = False, deadline: float | None = None
    ) -> None:
        """Delete the object; an absent one is success (with `if_match`: NotFound or PreconditionFailed on S3).

        `once`: never send it again after a lost answer (OutcomeUnknown instead), for keys that others create anew.
        """
        headers = {} if if_match is None else {"if-match": self._quoted(if_match)}
        self._send(
            "DeleteObject", "DELETE", bucket, key, headers=headers, answer=Answer.NOTHING, deadline=deadline,
            repeat=Repeat.ONCE if once else Repeat.PLAIN,
        )  # fmt: skip

    def delete_objects(
        self, bucket: str, keys: Iterable[str], *, deadline: float | None = None
    ) -> list[xml.DeleteFailure]:
        """Delete many, 1,000 a request; absent ones count as deleted. Returns those the store did not delete."""
        failures: list[xml.DeleteFailure] = []
        if isinstance(keys, str):
            raise ConfigurationError("delete_objects takes several keys; one text would be taken for its letters")
        chosen = list(keys)
        for start in range(0, len(chosen), _DELETE_MAX):
            body = xml.encode_delete(chosen[start : start + _DELETE_MAX])
            # The API demands a checksum of the list; Content-MD5 is the one every store takes.
            digest = b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
            response = self._send(
                "DeleteObjects", "POST", bucket, query=(("delete", ""),), body=body, repeat=Repeat.PLAIN,
                headers={"content-md5": digest, "content-type": "application/xml"},
                limit=_LIST_LIMIT, deadline=deadline,
            )  # fmt: skip
            failures += xml.parse_deleted(response.body)
        return failures

    def list_objects_v2(
        self, bucket: str, prefix: str = "", *, max_keys: int | None = None, deadline: float | None = None
    ) -> Iterator[xml.ListedObject]:
        """All objects below `prefix`, in byte order, page by page as they are asked for.

        `max_keys` is the size of a page, not of the list. A page that is cut short without saying how to go on, repeats
        its token, or lists what was not asked for is an error (ServiceError), never a short list.
        """
        token: str | None = None
        seen: set[str] = set()
        while True:
            query = [("encoding-type", "url"), ("list-type", "2"), ("prefix", prefix)]
            query += [("max-keys", str(max_keys))] if max_keys else []
            query += [("continuation-token", token)] if token else []
            response = self._send("ListObjectsV2", "GET", bucket, query=query, limit=_LIST_LIMIT, deadline=deadline)
            page = xml.parse_list(response.body, prefix)
            yield from page.objects
            token = page.next_token
            if token is None:
                return
            if token in seen:
                raise ServiceError(
                    f"ListObjectsV2 s3://{bucket}/{prefix}: the store gave the same continuation token twice",
                    operation="ListObjectsV2", bucket=bucket, key=prefix, status=200, code="InvalidResponse",
                )  # fmt: skip
            seen.add(token)

    def get_bucket_versioning(self, bucket: str, *, deadline: float | None = None) -> str:
        """ "Enabled", "Suspended", or "" for a bucket that never had it."""
        answer = self._send("GetBucketVersioning", "GET", bucket, query=(("versioning", ""),), deadline=deadline)
        return xml.parse_versioning(answer.body)

    def head_bucket(self, bucket: str, *, deadline: float | None = None) -> Mapping[str, str]:
        """The answer's headers."""
        return self._send("HeadBucket", "HEAD", bucket, deadline=deadline).headers

    @property
    def sends_checksum(self) -> bool:
        """Whether x-amz-checksum-sha256 goes with a PUT and is asked for with a verified GET."""
        return self.is_amazon if self._checksum is None else self._checksum

    def _etag_of(self, bucket: str, key: str, deadline: float | None) -> str:
        """Of what was just stored. Without it nothing can be built on that write, so a failure leaves it unknown."""
        try:
            return self.head_object(bucket, key, deadline=deadline).etag
        except (ServiceError, TransportError) as error:
            raise OutcomeUnknown(
                f"PutObject s3://{bucket}/{key}: stored, but its ETag could not be found out ({error}); read it",
                operation="PutObject", bucket=bucket, key=key, maybe_applied=True,
            ) from error  # fmt: skip

    def _quoted(self, etag: str) -> str:
        if not etag.strip('" '):
            raise ConfigurationError("if_match is an empty ETag, which some stores take for no condition at all")
        return etag.strip('"') if self.unquoted_etags else etag

    def _send(
        self,
        operation: str,
        method: str,
        bucket: str,
        key: str = "",
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        repeat: Repeat = Repeat.READ,
        limit: int | None = None,
        answer: Answer = Answer.DOCUMENT,
        checksum: bool = False,
        deadline: float | None = None,
    ) -> Response:
        call = self._call(operation, method, bucket, key, query, headers, body, repeat, limit, answer, checksum)
        return self.caller.send(call, deadline=deadline)

    def attempt(
        self,
        method: str,
        bucket: str,
        key: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        halfway: Callable[[], None] | None = None,
        seconds: float = 10.0,
    ) -> Response:
        """One signed request and its answer, whatever its status, nothing repeated: for probing a store.

        `halfway` is called when half of the body has been sent; the other half waits for it.
        """
        call = self._call(
            f"{method.title()}Object", method, bucket, key, (), headers, body, Repeat.ONCE, None, Answer.DOCUMENT
        )
        return self.caller.probe(call, deadline=self.caller.deadline(seconds), halfway=halfway)

    def _call(
        self, operation: str, method: str, bucket: str, key: str, query: Iterable[tuple[str, str]],
        headers: Mapping[str, str] | None, body: bytes, repeat: Repeat, limit: int | None, answer: Answer,
        checksum: bool = False,
    ) -> Call:  # fmt: skip
        if not key and operation.endswith("Object"):
            check_key(key)
        endpoint = self.settings.regions.endpoint(bucket)
        address = endpoint.locate(bucket, key)
        headers = dict(headers or {})
        if self._owner:
            headers["x-amz-expected-bucket-owner"] = self._owner
        return Call(
            operation=operation, service="s3", region=endpoint.region, method=method, scheme=address.scheme,
            host=address.host, path=address.path, query=canonical_query(query), headers=headers, body=body,
            repeat=repeat, bucket=bucket, key=key, limit=limit, answer=answer, checksum=checksum,
        )  # fmt: skip
