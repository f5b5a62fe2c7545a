# SPDX-License-Identifier: MIT
"""What S3 does with a request: buckets, objects, conditions, lists. No socket, and time is an argument.

Every write is decided and applied in one step. No multipart, copies or presigned URLs, and no older versions:
a bucket with versioning gives out version ids and delete markers, and keeps the latest. Conditions, codes and
statuses follow the Amazon S3 API reference.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import struct
import threading
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

from .listing import Stored, list_objects
from .messages import Answer, Refusal, RequestRecord, answer_xml, parse_xml, tags
from .signature import User, verify

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SUMS: dict[str, Callable[[bytes], bytes]] = {
    "content-md5": lambda body: hashlib.md5(body, usedforsecurity=False).digest(),
    "x-amz-checksum-crc32": lambda body: struct.pack(">I", zlib.crc32(body)),
    "x-amz-checksum-sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
}
_CHECKSUM = re.compile("x-amz-checksum-(?:sha|crc).+")
_SSE = "x-amz-server-side-encryption(?:-aws-kms-key-id|-bucket-key-enabled)?"
_ECHOED = re.compile(f"{_SSE}|{_CHECKSUM.pattern}|x-amz-version-id")
_CONTENT = "content-(?:type|encoding|language|disposition)|cache-control"
_KEPT = re.compile(f"x-amz-meta-.+|{_CONTENT}|{_SSE}|{_CHECKSUM.pattern}")
# IAM actions whose name is not the operation's.
_ACTIONS = {"HeadObject": "GetObject", "HeadBucket": "ListBucket", "ListObjectsV2": "ListBucket"}


class _Bucket:
    """Objects of one bucket, in memory and (with a folder) one file each; guarded by the simulator's lock."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.versioning, self.objects = folder, "", dict[str, Stored]()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("object-*"):
                head, _, body = path.read_bytes().partition(b"\n")
                key, etag, modified, headers = json.loads(head)
                self.objects[key] = Stored(body, etag, modified, headers)
            if (folder / "versioning").exists():
                self.versioning = (folder / "versioning").read_text()

    def save(self, name: str, data: bytes) -> None:
        if self.folder is not None:  # a file appears whole or not at all, even if the process is killed
            (self.folder / "unfinished").write_bytes(data)
            (self.folder / "unfinished").replace(self.folder / name)

    def put(self, key: str, new: Stored) -> None:
        head = json.dumps([key, new.etag, new.modified, new.headers])
        self.save(_file_name(key), head.encode() + b"\n" + new.body)
        self.objects[key] = new

    def remove(self, key: str) -> None:
        if key in self.objects and self.folder is not None:
            (self.folder / _file_name(key)).unlink()
        self.objects.pop(key, None)


class Simulator:
    """Buckets and access keys of one region; `S3Server` says what the arguments mean."""

    def __init__(
        self, bucket: str, region: str, directory: Path | None, opaque: bool, now: Callable[[], float]
    ) -> None:
        self.bucket, self.region, self.now, self._opaque = bucket, region, now, opaque
        self.lock = threading.RLock()  # makes every write decide and apply as one step
        self._users: dict[str, User] = {}
        self._folder = directory
        kept = [path.name for path in self._folder.glob("*")] if self._folder else []
        self._buckets = {name: self._open(name) for name in (bucket, *filter(_BUCKET.fullmatch, kept))}

    def add_user(self, access_key: str, secret_key: str, *, session_token: str = "", deny: Iterable[str] = ()) -> None:
        """Accept one more access key, or change one. `deny`: IAM actions such as "s3:DeleteObject"."""
        self._users[access_key] = User(secret_key, session_token, frozenset(deny))

    def objects(self, bucket: str | None = None) -> dict[str, bytes]:
        """What the bucket holds now, by key."""
        with self.lock:
            return {key: found.body for key, found in self._buckets[bucket or self.bucket].objects.items()}

    def put(self, key: str, body: bytes, bucket: str | None = None) -> str:
        """Plant an object without a request; returns its ETag."""
        with self.lock:
            return self._store(self._buckets[bucket or self.bucket], key, body, {})["etag"]

    def delete(self, key: str, bucket: str | None = None) -> None:
        """Remove an object without a request, if it is there."""
        with self.lock:
            self._buckets[bucket or self.bucket].remove(key)

    def verify(self, record: RequestRecord, body: bytes) -> None:
        """Raise Refusal unless one of the users signed the request."""
        record.access_key = verify(record, body, self._users, self.region, self.now())

    def perform(self, record: RequestRecord, body: bytes, ignore: Collection[str] = ()) -> Answer:
        """Do what is asked, or raise Refusal with nothing changed. `ignore`: headers to take no notice of."""
        headers = {name: value for name, value in record.headers.items() if name not in ignore}
        if not record.operation or "x-amz-copy-source" in headers:
            raise Refusal(501, "NotImplemented", "The testing server does not speak this operation.")
        self._demand(record, _ACTIONS.get(record.operation, record.operation))
        if record.operation in ("PutObject", "DeleteObject") and "if-match" in headers:
            self._demand(record, "GetObject")
        operation: Callable[[RequestRecord, bytes], Answer] = getattr(self, f"_do_{record.operation}")
        return operation(replace(record, headers=headers), body)

    def error(self, record: RequestRecord, refusal: Refusal) -> Answer:
        request_id = secrets.token_hex(8).upper()
        place = {"BucketName": record.bucket, "Key": record.key, "RequestId": request_id}
        fields = refusal.fields | {name: text for name, text in place.items() if text}
        answer = answer_xml("Error", tags(**fields), refusal.status)
        return replace(answer, headers={**answer.headers, "x-amz-request-id": request_id})

    def _demand(self, record: RequestRecord, action: str) -> None:
        if f"s3:{action}" in self._users[record.access_key].deny:
            where = f"arn:aws:s3:::{record.bucket}/{record.key}".rstrip("/")
            what = f"is not authorized to perform: s3:{action} on resource: {where}"
            raise Refusal(403, "AccessDenied", f"User: {record.access_key} {what}")

    def _open(self, name: str) -> _Bucket:
        if not _BUCKET.fullmatch(name):
            raise Refusal(400, "InvalidBucketName", "The specified bucket is not valid.")
        return _Bucket(self._folder / name if self._folder else None)

    def _find(self, record: RequestRecord) -> _Bucket:
        if record.bucket not in self._buckets:
            raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist")
        return self._buckets[record.bucket]

    def _store(self, bucket: _Bucket, key: str, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in headers.items() if _KEPT.fullmatch(name)}
        kept |= {"x-amz-version-id": secrets.token_hex(16)} if bucket.versioning == "Enabled" else {}
        # An SSE-KMS ETag is no digest of the content on AWS either.
        own = self._opaque or headers.get("x-amz-server-side-encryption", "") == "aws:kms"
        digest = secrets.token_hex(16) if own else _SUMS["content-md5"](body).hex()
        bucket.put(key, Stored(body, f'"{digest}"', int(self.now()), kept))
        echoed = {name: value for name, value in kept.items() if _ECHOED.fullmatch(name)}
        return {"etag": f'"{digest}"', **echoed}

    def _do_PutObject(self, record: RequestRecord, body: bytes) -> Answer:
        headers = record.headers
        if len(record.key.encode()) > 1024:
            raise Refusal(400, "KeyTooLongError", "Your key is too long")
        if headers.get("if-none-match", "*") != "*":
            raise Refusal(501, "NotImplemented", "If-None-Match is implemented for * only")
        _check_sums(headers, body)
        with self.lock:
            bucket = self._find(record)
            if "if-none-match" in headers and record.key in bucket.objects:
                raise _failed("If-None-Match")
            _check_match(bucket, record.key, headers.get("if-match"))
            return Answer(200, self._store(bucket, record.key, body, headers))

    def _do_GetObject(self, record: RequestRecord, _body: bytes) -> Answer:
        wanted = record.headers
        with self.lock:
            found = self._find(record).objects.get(record.key)
        if found is None:
            self._demand(record, "ListBucket")  # without that right S3 does not tell that a key is absent
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.")
        if "if-match" in wanted and not _same(wanted["if-match"], found.etag):
            raise _failed("If-Match")
        modified = formatdate(found.modified, usegmt=True)
        about = {"etag": found.etag, "last-modified": modified, "accept-ranges": "bytes"}
        if "if-none-match" in wanted and _same(wanted["if-none-match"], found.etag):
            return Answer(304, about)
        summed = wanted.get("x-amz-checksum-mode", "").upper() == "ENABLED" and "range" not in wanted
        stored = found.headers.items()
        about |= {name: value for name, value in stored if summed or not _CHECKSUM.fullmatch(name)}
        about.setdefault("content-type", "binary/octet-stream")
        span = _span(wanted.get("range", ""), len(found.body))
        if span is None:
            return Answer(200, about, found.body)
        about["content-range"] = f"bytes {span.start}-{span.stop - 1}/{len(found.body)}"
        return Answer(206, about, found.body[span.start : span.stop])

    _do_HeadObject = _do_GetObject

    def _do_DeleteObject(self, record: RequestRecord, _body: bytes) -> Answer:
        with self.lock:
            bucket = self._find(record)
            _check_match(bucket, record.key, record.headers.get("if-match"))
            bucket.remove(record.key)
            marker = {"x-amz-delete-marker": "true", "x-amz-version-id": secrets.token_hex(16)}
            return Answer(204, marker if bucket.versioning == "Enabled" else {})

    def _do_DeleteObjects(self, record: RequestRecord, body: bytes) -> Answer:
        if not _check_sums(record.headers, body):
            message = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
            raise Refusal(400, "InvalidRequest", message)
        document = parse_xml(body)
        items = document.findall("{*}Object")
        named = [(item.findtext("{*}Key", ""), item.findtext("{*}ETag")) for item in items]
        if not 0 < len(named) <= 1000:
            raise Refusal(400, "MalformedXML", "Between 1 and 1000 keys can be deleted at a time")
        quiet, results = document.findtext("{*}Quiet") == "true", ""
        for key, etag in named:
            one = replace(record, key=key, headers={"if-match": etag} if etag else {})
            try:
                self._demand(one, "DeleteObject")
                self._do_DeleteObject(one, b"")
                results += "" if quiet else f"<Deleted>{tags(Key=one.key)}</Deleted>"
            except Refusal as refusal:
                results += f"<Error>{tags(Key=one.key, **refusal.fields)}</Error>"
        return answer_xml("DeleteResult", results)

    def _do_ListObjectsV2(self, record: RequestRecord, _body: bytes) -> Answer:
        with self.lock:
            objects = dict(self._find(record).objects)
        return list_objects(record.bucket, objects, record.query)

    def _do_CreateBucket(self, record: RequestRecord, _body: bytes) -> Answer:
        with self.lock:
            if record.bucket not in self._buckets:
                self._buckets[record.bucket] = self._open(record.bucket)
        return Answer(200, {"location": f"/{record.bucket}"})

    def _do_HeadBucket(self, record: RequestRecord, _body: bytes) -> Answer:
        self._find(record)
        return Answer(200, {"x-amz-bucket-region": self.region})

    def _do_DeleteBucket(self, record: RequestRecord, _body: bytes) -> Answer:
        with self.lock:
            if self._find(record).objects:
                raise Refusal(409, "BucketNotEmpty", "The bucket you tried to delete is not empty")
            folder = self._buckets.pop(record.bucket).folder
            for path in [*folder.iterdir()] if folder else []:
                path.unlink()
            if folder:
                folder.rmdir()
        return Answer(204)

    def _do_GetBucketLocation(self, record: RequestRecord, _body: bytes) -> Answer:
        self._find(record)
        region = "" if self.region == "us-east-1" else self.region  # S3 answers null for its first region
        return answer_xml("LocationConstraint", region)

    def _do_GetBucketVersioning(self, record: RequestRecord, _body: bytes) -> Answer:
        state = self._find(record).versioning
        return answer_xml("VersioningConfiguration", tags(Status=state) if state else "")

    def _do_PutBucketVersioning(self, record: RequestRecord, body: bytes) -> Answer:
        state = parse_xml(body).findtext("{*}Status") or ""
        if state not in ("Enabled", "Suspended"):
            raise Refusal(400, "MalformedXML", "The XML you provided was not well-formed")
        with self.lock:
            bucket = self._find(record)
            bucket.save("versioning", state.encode())
            bucket.versioning = state
        return Answer()


def _file_name(key: str) -> str:
    return "object-" + hashlib.sha256(key.encode()).hexdigest()  # fit for every file system, whatever the key


def _failed(condition: str) -> Refusal:
    message = "At least one of the pre-conditions you specified did not hold"
    return Refusal(412, "PreconditionFailed", message, Condition=condition)


def _same(wanted: str, etag: str) -> bool:
    return wanted.strip() == "*" or etag.strip('"') in [one.strip().strip('"') for one in wanted.split(",")]


def _check_match(bucket: _Bucket, key: str, wanted: str | None) -> None:
    if wanted is not None:
        if key not in bucket.objects:
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.")
        if not _same(wanted, bucket.objects[key].etag):
            raise _failed("If-Match")


def _check_sums(headers: Mapping[str, str], body: bytes) -> bool:
    """Raise Refusal for a checksum that is wrong; tell whether there was one."""
    given = [name for name in headers if name == "content-md5" or _CHECKSUM.fullmatch(name)]
    for name in given:
        if name in _SUMS and base64.b64encode(_SUMS[name](body)).decode() != headers[name]:
            raise Refusal(400, "BadDigest", f"The {name} you specified did not match what we received.")
    return bool(given)


def _span(wanted: str, size: int) -> range | None:
    """The bytes a Range header asks for (RFC 9110, section 14); None for all, and for other units."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
    if found is None or found[0] == "bytes=-":
        return None
    first = int(found[1]) if found[1] else max(size - int(found[2]), 0)
    last = min(int(found[2]), size - 1) if found[1] and found[2] else size - 1
    if not first <= last:
        raise Refusal(416, "InvalidRange", "The requested range is not satisfiable")
    return range(first, last + 1)
