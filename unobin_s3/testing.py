# SPDX-License-Identifier: MIT
"""An S3 server on loopback, for trying things out and for tests. Only commands of the package import it.

    with S3Server() as server:
        server.fault("PutObject /lock", Fault(reset=True, applied=True))    # the next such answer gets lost

Run as a module (`python -m`), it serves until interrupted. It binds 127.0.0.1 only. Conditions and codes follow the S3
API reference; no TLS, virtual hosts, multipart, copies, ranges, versions, delimiters, presigned URLs or checksums.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import secrets
import shlex
import socket
import struct
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate, parsedate_to_datetime
from http.client import parse_headers
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote_plus, unquote_plus
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from .aws import sigv4

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([^,]+)/(\d{8})/([^/,]+)/s3/aws4_request, *SignedHeaders=([^,]+), *Signature=(\w+)"
)
# Method and sub-resource -> the API's name of the operation, on an object and on the bucket itself
_LEAF = {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}
_ROOT = {"PUT": "CreateBucket", "HEAD": "HeadBucket", "GET list-type": "ListObjectsV2", "POST delete": "DeleteObjects"}
_ROOT["GET versioning"] = "GetBucketVersioning"
_PLAIN = re.compile("prefix|delimiter|start-after|continuation-token|max-keys|encoding-type|fetch-owner|x-id")
_ACTIONS = {"HeadObject": "GetObject", "ListObjectsV2": "ListBucket", "HeadBucket": "ListBucket"}  # of IAM
_KEPT = re.compile("x-amz-(meta-|server-side-encryption|checksum-(sha|crc)).*|content-(type|encoding)|cache-control")
_Answer = tuple[int, dict[str, str], bytes]  # status, headers, body
_Object = tuple[dict[str, str], bytes]  # what a GET gives back


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request whose signature is right."""

    status: int = 0  # answer this; from 300 on as an error document, and with no effect unless `applied`
    code: str = ""
    applied: bool = False  # the effect comes before `reset`, `delay` and `call`, not after them
    reset: bool = False  # reset the connection; when `applied`, the answer gets lost
    delay: float = 0.0  # seconds
    call: Callable[[], object] | None = None  # waits for an event, or writes in between
    cut: int | None = None  # declare the whole body, send so many bytes of it, close
    extra: int = 0  # declare a length that is off by so much, close
    ignore: Collection[str] = ()  # take no notice of these headers, as some stores do
    body: bytes | None = None  # answer this body
    headers: Mapping[str, str] = field(default_factory=dict)  # added to the answer's, or in their place


@dataclass(slots=True)
class RequestRecord:
    """One request as it arrived. `status` is 0 until it is answered, and stays 0 when the answer is lost."""

    method: str
    headers: dict[str, str]  # names in lower case
    body: bytes  # without any chunks
    path: str  # decoded
    bucket: str
    key: str
    query: dict[str, str]  # decoded
    operation: str  # the API's name, such as "PutObject"; "" for what is not spoken here
    access_key: str = ""  # set once the signature was verified
    status: int = 0


class _Refusal(Exception):
    """An S3 error: its status and the elements of its document."""


def _require(held: object, status: int, code: str, message: str = "", **fields: str) -> None:
    if not held:
        raise _Refusal(status, {"Code": code, "Message": message or code, **fields})


@dataclass(eq=False, repr=False)
class S3Server:
    """S3 on a free port of 127.0.0.1, from `with` to its end. Every method may be called from any thread.

    `url`, `bucket`, `access_key`, `secret_key`, `session_token` and `region` are what a client needs; the bucket
    exists. `directory` keeps the objects across restarts, even after a kill. `opaque_etags`: no MD5 of the content, but
    another at each write. `now` (unix seconds) dates objects and judges clocks. `requests`: the latest 5,000, in order.
    """

    bucket: str = "state"
    access_key: str = "AKIDTESTING"
    secret_key: str = "testing-secret-key"  # noqa: S105 - guards nothing but this server
    session_token: str = ""
    region: str = "us-east-1"
    directory: str | Path | None = None
    opaque_etags: bool = False
    now: Callable[[], float] = time.time
    port: int = 0

    def __post_init__(self) -> None:
        self.url, self.requests = "", list[RequestRecord]()
        self._lock = threading.RLock()  # makes every write decide and apply as one step
        self._users: dict[str, tuple[str, str, Collection[str]]] = {}
        self.add_user(self.access_key, self.secret_key, self.session_token)
        self._faults: list[tuple[str | Callable[[RequestRecord], bool], Fault, list[int]]] = []
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._buckets: dict[str, dict[str, _Object]] = {self.bucket: {}}
        for path in Path(self.directory).glob("*/*.object") if self.directory else ():
            head, _, body = path.read_bytes().partition(b"\n")
            key, kept = json.loads(head)
            self._buckets.setdefault(path.parent.name, {})[key] = kept, body

    def __enter__(self) -> S3Server:
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self._listener.getsockname()[1]  # entered again, it serves the same address
        self.url = f"http://127.0.0.1:{self.port}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close every connection. What is being applied is applied; its answer may be lost."""
        self._closing.set()
        socket.create_connection(("127.0.0.1", self.port)).close()  # wakes `accept` on every system
        self._acceptor.join()
        self._listener.close()
        for thread, connection in list(self._connections.items()):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(5)

    def reset_requests(self) -> None:
        self.requests = []

    def fault(self, match: str | Callable[[RequestRecord], bool], fault: Fault, times: int | None = 1) -> None:
        """Let `fault` happen to the next `times` (None: all) matching requests; earlier plans come first. `match`:

        "PutObject", "PUT" or "*", with or without an end of the key ("PUT /lock"); or a predicate.
        """
        with self._lock:
            self._faults.append((match, fault, [-1 if times is None else times]))

    def add_user(self, access_key: str, secret_key: str, session_token: str = "", deny: Collection[str] = ()) -> None:
        """Accept one more access key, or change one. `deny`: IAM actions such as "s3:DeleteObject"."""
        self._users[access_key] = (secret_key, session_token, deny)

    def objects(self, bucket: str | None = None) -> dict[str, bytes]:
        """What the bucket holds now, by key."""
        with self._lock:
            return {key: body for key, (_, body) in self._buckets[bucket or self.bucket].items()}

    def put(self, key: str, body: bytes, bucket: str | None = None) -> str:
        """Plant an object without a request; returns its ETag."""
        with self._lock:
            return self._store(bucket or self.bucket, key, body, {})

    def delete(self, key: str, bucket: str | None = None) -> None:
        """Remove an object without a request, if it is there."""
        with self._lock:
            if self._buckets[bucket or self.bucket].pop(key, None) and self.directory:
                self._file(bucket or self.bucket, key).unlink()

    def _accept(self) -> None:
        while not self._closing.is_set():
            connection, _ = self._listener.accept()
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._connections[thread] = connection
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            _Handler(connection, None, self)  # type: ignore[arg-type]  # nobody asks for a socketserver
        del self._connections[threading.current_thread()]

    def answer(self, record: RequestRecord) -> tuple[Fault, _Answer]:
        """Verify and perform the request, and let happen what was planned for it."""
        self.requests.append(record)
        del self.requests[:-5000]
        fault, answer = Fault(), (200, dict[str, str](), b"")
        try:
            self._verify(record)
            fault = self._planned(record)
            self._pause(fault, not fault.applied)
            if fault.applied or not (fault.status or fault.reset):
                heeded = {name: value for name, value in record.headers.items() if name not in fault.ignore}
                answer = self._perform(replace(record, headers=heeded) if fault.ignore else record)
        except _Refusal as refusal:
            answer = _document("Error", *refusal.args)
        except Exception as error:
            answer = _document("Error", 500, {"Code": "InternalError", "Message": repr(error)})
        self._pause(fault, fault.applied)
        if fault.status >= 300:
            answer = _document("Error", fault.status, {"Code": fault.code, "Message": fault.code})
        status, headers, body = answer
        return fault, (fault.status or status, {**headers, **fault.headers}, body if fault.body is None else fault.body)

    def _planned(self, record: RequestRecord) -> Fault:
        with self._lock:
            for match, fault, left in self._faults:
                what, _, ending = (record.method, "", "") if callable(match) else match.partition(" ")
                meant = what in ("*", record.method, record.operation) and record.key.endswith(ending)
                if left[0] and meant and (isinstance(match, str) or match(record)):
                    left[0] -= 1
                    return fault
        return Fault()

    def _pause(self, fault: Fault, here: bool) -> None:
        if here and fault.call is not None:
            fault.call()
        if here and fault.delay:
            self._closing.wait(fault.delay)

    def _verify(self, record: RequestRecord) -> None:
        """Refuse what no user signed, in time. Made anew from the decoded target: odd encodings are found out."""
        headers = record.headers
        _require("authorization" in headers, 403, "AccessDenied")
        found = _AUTHORIZATION.fullmatch(headers["authorization"])
        user, date, region, names, proof = found.groups() if found else [""] * 5
        _require(region == self.region, 400, "AuthorizationHeaderMalformed", Region=self.region)
        _require(user in self._users, 403, "InvalidAccessKeyId")
        secret, token, _ = self._users[user]
        _require(headers.get("x-amz-security-token", "") == token, 400, "InvalidToken")
        stamp, now = headers.get("x-amz-date", ""), self.now()  # stamps sort as their times do
        first, last = (time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now + skew)) for skew in (-900, 900))
        server_time = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        _require(first <= stamp <= last, 403, "RequestTimeTooSkewed", ServerTime=server_time)
        signed = {name: headers.get(name, "") for name in names.split(";")}
        known = {*signed, headers.get("x-amz-trailer")}
        unsigned = [name for name in headers if name.startswith(("host", "x-amz-")) and name not in known]
        _require(not unsigned, 403, "AccessDenied", f"Not signed: {unsigned}")
        query, payload = sigv4.canonical_query(record.query.items()), signed.get("x-amz-content-sha256", "")
        canonical, _ = sigv4.canonical_request(record.method, sigv4.quote(record.path, "/"), query, signed, payload)
        to_sign = sigv4.string_to_sign(stamp, f"{date}/{region}/s3/aws4_request", canonical)
        expected = sigv4.signature(sigv4.signing_key(secret, date, region, "s3"), to_sign)
        _require(secrets.compare_digest(expected, proof), 403, "SignatureDoesNotMatch", StringToSign=to_sign)
        if not payload.startswith(("UNSIGNED-PAYLOAD", "STREAMING-")):  # signatures of chunks go unchecked
            _require(payload == hashlib.sha256(record.body).hexdigest(), 400, "XAmzContentSHA256Mismatch")
        record.access_key = user

    def _perform(self, record: RequestRecord) -> _Answer:
        """Do what is asked, as one step, or raise with nothing changed."""
        bucket, key, body, headers = record.bucket, record.key, record.body, record.headers
        action = f"s3:{_ACTIONS.get(record.operation, record.operation)}"
        denied = self._users[record.access_key][2]
        _require(action not in denied, 403, "AccessDenied", f"The user is not authorized to perform: {action}")
        with self._lock:
            _require(bucket in self._buckets or record.operation == "CreateBucket", 404, "NoSuchBucket")
            found = self._buckets.get(bucket, {}).get(key)
            if "if-match" in headers:
                _require(found, 404, "NoSuchKey")
                same = found and headers["if-match"].strip('"') in ("*", found[0]["etag"].strip('"'))
                _require(same, 412, "PreconditionFailed", Condition="If-Match")
            match record.operation:
                case "PutObject" if "x-amz-copy-source" not in headers and headers.get("if-none-match", "*") == "*":
                    taken = found and "if-none-match" in headers
                    _require(not taken, 412, "PreconditionFailed", Condition="If-None-Match")
                    return 200, {"etag": self._store(bucket, key, body, headers)}, b""
                case "GetObject" | "HeadObject":
                    # Without that right S3 does not tell that a key is absent.
                    _require(found or "s3:ListBucket" not in denied, 403, "AccessDenied")
                    _require(found, 404, "NoSuchKey", "The specified key does not exist.")
                    return 200, *(found or ({}, b""))
                case "DeleteObject":
                    self.delete(key, bucket)
                    return 204, {}, b""
                case "DeleteObjects":
                    return self._delete_objects(bucket, body, "s3:DeleteObject" not in denied)
                case "ListObjectsV2" if not record.query.get("delimiter"):
                    return self._list_objects(bucket, record.query)
                case "CreateBucket":
                    _require(re.fullmatch("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket), 400, "InvalidBucketName")
                    self._buckets.setdefault(bucket, {})
                    return 200, {}, b""
                case "HeadBucket" | "GetBucketVersioning":
                    return 200, {"x-amz-bucket-region": self.region}, _document("VersioningConfiguration", 200, {})[2]
        raise _Refusal(501, {"Code": "NotImplemented", "Message": "The testing server does not speak this."})

    def _delete_objects(self, bucket: str, body: bytes, allowed: bool) -> _Answer:
        named = ElementTree.fromstring(body).iterfind("{*}Object/{*}Key")  # noqa: S314 - its sender has the secret key
        keys = [element.text or "" for element in named]
        if not allowed:
            why = {"Code": "AccessDenied", "Message": "The user is not authorized to perform: s3:DeleteObject"}
            return _document("DeleteResult", 200, {"Error": [{"Key": key, **why} for key in keys]})
        for key in keys:
            self.delete(key, bucket)
        return _document("DeleteResult", 200, {"Deleted": [{"Key": key} for key in keys]})

    def _list_objects(self, bucket: str, query: Mapping[str, str]) -> _Answer:
        prefix, token, start = (query.get(name, "") for name in ("prefix", "continuation-token", "start-after"))
        after, limit = base64.b64decode(token).decode() or start, min(int(query.get("max-keys", "1000")), 1000)
        # Code points sort as their UTF-8 does, which is S3's order.
        keys = sorted(key for key in self._buckets[bucket] if key.startswith(prefix) and key > after)
        more, keys = 0 < limit < len(keys), keys[:limit]
        shown = quote_plus if query.get("encoding-type") == "url" else str
        page: dict[str, Any] = {"Name": bucket, "Prefix": shown(prefix), "MaxKeys": limit, "IsTruncated": "false"}
        if more:  # base64 with its +, / and =, as on AWS: a token has to be encoded to come back
            page |= {"IsTruncated": "true", "NextContinuationToken": base64.b64encode(keys[-1].encode()).decode()}
        entries: list[dict[str, object]] = []
        for key in keys:
            headers, body = self._buckets[bucket][key]
            modified = parsedate_to_datetime(headers["last-modified"]).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            entries.append({"Key": shown(key), "LastModified": modified, "ETag": headers["etag"], "Size": len(body)})
        page["EncodingType"] = query.get("encoding-type", "")
        return _document("ListBucketResult", 200, page | {"Contents": entries})

    def _store(self, bucket: str, key: str, body: bytes, headers: Mapping[str, str]) -> str:
        own = self.opaque_etags or headers.get("x-amz-server-side-encryption") == "aws:kms"  # as on AWS
        etag = secrets.token_hex(16) if own else hashlib.md5(body, usedforsecurity=False).hexdigest()
        kept = {name: value for name, value in headers.items() if _KEPT.fullmatch(name) and value != "aws-chunked"}
        kept |= {"etag": f'"{etag}"', "last-modified": formatdate(int(self.now()), usegmt=True)}
        if self.directory:  # a file appears whole or not at all, even if the process is killed
            path = self._file(bucket, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".new").write_bytes(json.dumps([key, kept]).encode() + b"\n" + body)
            path.with_suffix(".new").replace(path)
        self._buckets[bucket][key] = kept, body
        return kept["etag"]

    def _file(self, bucket: str, key: str) -> Path:
        return Path(self.directory or ".", bucket, hashlib.sha256(key.encode()).hexdigest() + ".object")


class _Handler(BaseHTTPRequestHandler):
    """One connection: HTTP/1.1 by the standard library, and the bodies it does not read."""

    server: Any  # the S3Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # small answers must not wait for the client's delayed acknowledgement (40 ms)

    def _respond(self) -> None:
        try:
            record = self._read()
        except ValueError:
            self.send_error(400)
            return
        fault, (status, headers, body) = self.server.answer(record)
        self.close_connection |= fault.reset or fault.cut is not None or fault.extra != 0
        if fault.reset:  # a close that does not linger sends RST
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        record.status, date = status, formatdate(int(self.server.now()), usegmt=True)
        length = {} if status in (204, 304) else {"content-length": len(body) + fault.extra}
        headers = {"date": date, "x-amz-request-id": secrets.token_hex(8), **length, **headers}
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"HTTP/1.1 {status} {self.responses.get(status, ' ')[0]}\r\n{lines}\r\n".encode()
        self.wfile.write(head if self.command == "HEAD" else head + body[: fault.cut])  # one packet

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _respond

    def _read(self) -> RequestRecord:
        """Raises ValueError for what is no request to S3. A bare `+` is a blank there, in the path too."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        target, _, search = self.path.partition("?")
        path, size = unquote_plus(target, errors="strict"), headers.get("content-length", "0")
        if not (size.isdecimal() and int(size) < 2**27 and path.startswith("/")):
            raise ValueError(self.path)
        body = _read_chunks(self.rfile, headers) if "transfer-encoding" in headers else self.rfile.read(int(size))
        if headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
            body = _read_chunks(BytesIO(body), headers)  # boto3 puts these into chunks of HTTP
        bucket, _, key = path[1:].partition("/")
        query = dict(parse_qsl(search, keep_blank_values=True, errors="strict"))
        named = " ".join([self.command, *(name for name in query if not _PLAIN.fullmatch(name))])
        operation = (_LEAF if key else _ROOT).get(named, "")
        return RequestRecord(self.command, headers, body, path, bucket, key, query, operation)

    def log_message(self, *_arguments: object) -> None:
        """Nothing to standard error."""


def _read_chunks(stream: BufferedIOBase, headers: dict[str, str]) -> bytes:
    """A body of chunks, HTTP's (RFC 9112, section 7.1) or aws-chunked; its trailers are added to the headers."""
    body = b""
    while size := int(stream.readline().partition(b";")[0], 16):
        body += stream.read(size + 2)[:-2]
    headers |= {name.lower(): value for name, value in parse_headers(stream).items()}
    return body


def _xml(tag: str, value: object) -> str:
    """A dict becomes elements inside, a list becomes several of them, all else is text."""
    if isinstance(value, list):
        return "".join([_xml(tag, one) for one in value])
    inner = "".join([_xml(*item) for item in value.items()]) if isinstance(value, dict) else escape(str(value))
    return f"<{tag}>{inner}</{tag}>"


def _document(root: str, status: int, value: dict[str, Any]) -> _Answer:
    document = f'<?xml version="1.0" encoding="UTF-8"?>\n{_xml(root, value)}'.encode()
    return status, {"content-type": "application/xml"}, document


def main() -> None:
    """Serve until interrupted. Prints the lines that point an AWS SDK, or this package, at the server."""
    parser = argparse.ArgumentParser(description="An S3 server on loopback, for trying out and for tests.")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    for name in ("bucket", "access-key", "secret-key", "region", "directory"):
        parser.add_argument(f"--{name}", default=getattr(S3Server, name.replace("-", "_")), help="(%(default)s)")
    with suppress(KeyboardInterrupt), S3Server(**vars(parser.parse_args())) as server:
        print(f"# serving the bucket {server.bucket}; interrupt to stop\nexport AWS_ENDPOINT_URL_S3={server.url}")
        print(f"export AWS_REGION={shlex.quote(server.region)}")
        print(f"export AWS_ACCESS_KEY_ID={shlex.quote(server.access_key)}")
        print(f"export AWS_SECRET_ACCESS_KEY={shlex.quote(server.secret_key)}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
