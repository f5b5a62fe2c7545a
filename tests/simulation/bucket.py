# SPDX-License-Identifier: MIT
"""A bucket as S3 documents it, applied in one step per request: conditions, ETags, whole-second dates, error documents.

`Manners` says where a store differs. What a request did is told to a watcher, before anybody gets an answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from unobin_s3.aws.transport import Request, Response

from .world import EPOCH

BUCKET = "state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How a store behaves beyond the common ground."""

    opaque: bool = False  # ETags that are no digests, new at every write
    absent: int = 404  # what a conditional DELETE of nothing answers: S3's pages give both 404 and 412
    refuses_quotes: bool = False  # Ceph: a right ETag in quotes is 412
    ignores_delete_condition: bool = False  # Ceph
    no_if_match: bool = False  # LocalStack: 501
    clock: float = 0.0  # seconds that the store's clock is off


@dataclass(slots=True)
class Stored:
    body: bytes
    etag: str
    modified: int


@dataclass(slots=True)
class Effect:
    """What one request changed: `before` and `after` of its key, None for absent."""

    method: str
    key: str
    before: Stored | None
    after: Stored | None


@dataclass(slots=True)
class SimBucket:
    manners: Manners
    now: Callable[[], float]
    objects: dict[str, Stored] = field(default_factory=dict)
    writes: int = 0

    def apply(self, request: Request) -> tuple[Response, Effect | None]:
        """The answer, and what changed (None: nothing)."""
        key, query = locate(request)
        if "list-type" in query:
            return self._list(query["prefix"][0], int(query.get("max-keys", ["1000"])[0])), None
        found = self.objects.get(key)
        if request.method in ("GET", "HEAD"):
            return self._read(request.method, found), None
        refusal = self._refusal(request, found)
        if refusal is not None:
            return refusal, None
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return self.answer(204), Effect("DELETE", key, found, None)
        self.writes += 1
        text = f"{self.writes:x}-opaque" if self.manners.opaque else hashlib.md5(request.body).hexdigest()
        stored = self.objects[key] = Stored(request.body, f'"{text}"', self._seconds())
        return self.answer(200, {"etag": stored.etag}), Effect("PUT", key, found, stored)

    def _refusal(self, request: Request, found: Stored | None) -> Response | None:
        match, manners = request.headers.get("if-match"), self.manners
        if request.headers.get("if-none-match") == "*" and found is not None:
            return self.error(412, "PreconditionFailed")
        if match is None or (request.method == "DELETE" and manners.ignores_delete_condition):
            return None
        if manners.no_if_match:
            return self.error(501, "NotImplemented")
        if found is None:
            gone = request.method == "PUT" or manners.absent == 404
            return self.error(404, "NoSuchKey") if gone else self.error(412, "PreconditionFailed")
        quoted = match.startswith('"')
        if (quoted and manners.refuses_quotes) or match.strip('"') != found.etag.strip('"'):
            return self.error(412, "PreconditionFailed")
        return None

    def _read(self, method: str, found: Stored | None) -> Response:
        if found is None:
            return self.error(404, "NoSuchKey") if method == "GET" else self.answer(404)
        headers = {"etag": found.etag, "last-modified": _http_date(found.modified)}
        return self.answer(200, headers, found.body if method == "GET" else b"")

    def _list(self, prefix: str, most: int) -> Response:
        keys = sorted(key for key in self.objects if key.startswith(prefix))
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2027-01-15T08:00:00.000Z</LastModified>"
            f"<ETag>&quot;0&quot;</ETag><Size>{len(self.objects[key].body)}</Size></Contents>"
            for key in keys[:most]
        )
        cut = len(keys) > most
        token = f"<NextContinuationToken>{escape(keys[most])}</NextContinuationToken>" if cut else ""
        body = f"<ListBucketResult><IsTruncated>{str(cut).lower()}</IsTruncated>{token}{entries}</ListBucketResult>"
        return self.answer(200, {"content-type": "application/xml"}, body.encode())

    def error(self, status: int, code: str) -> Response:
        body = f"<Error><Code>{code}</Code><Message>simulated</Message></Error>"
        return self.answer(status, {"content-type": "application/xml"}, body.encode())

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Response:
        return Response(status, {"date": _http_date(self._seconds()), **(headers or {})}, body)

    def _seconds(self) -> int:
        return int(EPOCH + self.now() + self.manners.clock)


@lru_cache
def _http_date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def locate(request: Request) -> tuple[str, dict[str, list[str]]]:
    """Key and query of a request in either addressing style."""
    return _located(request.host, request.target)


@lru_cache
def _located(host: str, target: str) -> tuple[str, dict[str, list[str]]]:
    path, _, query = target.partition("?")
    key = unquote(path).removeprefix("/")
    if not host.startswith(f"{BUCKET}."):
        key = key.removeprefix(BUCKET).removeprefix("/")
    return key, parse_qs(query, keep_blank_values=True)
