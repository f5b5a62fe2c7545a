# SPDX-License-Identifier: MIT
"""A canned S3 on loopback that answers at once: objects in memory, conditions honoured, signatures not looked at.

Runs as a process of its own: prints its ports as JSON, serves until its standard input ends. Beside objects it has a
list of 100,000 keys in every bucket whose name begins with `list`, and `GET /-/counts`: requests by bucket so far.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections import Counter
from contextlib import suppress
from functools import lru_cache
from itertools import count
from urllib.parse import parse_qs, quote, unquote

PAGE, KEYS = 1000, 100_000
_DATE = b"Sun, 22 Nov 2026 12:00:00 GMT"
_HEAD = b"Server: canned\r\nx-amz-request-id: 0000000000000000\r\nDate: " + _DATE + b"\r\n"


class Objects:
    """What is stored, by `bucket/key`: (body, ETag). One lock makes conditional writes atomic."""

    def __init__(self) -> None:
        self.stored: dict[str, tuple[bytearray, str]] = {}
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._etags = count(1)

    def answer(
        self, method: str, target: str, headers: dict[bytes, bytes], body: bytearray
    ) -> tuple[bytes, bytes | bytearray]:
        """(head, body) of the answer."""
        path, _, query = target.partition("?")
        name = unquote(path[1:])
        bucket = name.partition("/")[0]
        if bucket == "-":
            return _answer(b"200 OK", json.dumps(self.counts).encode())
        with self._lock:
            self.counts[bucket] += 1
            if method == "PUT":
                return self._put(name, headers, body)
            if method == "DELETE":
                return self._delete(name, headers)
        if method == "GET" and "list-type=2" in query:
            asked = parse_qs(query, keep_blank_values=True)
            prefix, token = asked.get("prefix", [""])[0], asked.get("continuation-token", ["0"])[0]
            return _answer(b"200 OK", page(bucket, prefix, int(token), "encoding-type" in asked))
        if name.strip("/") == bucket:
            return _answer(b"200 OK", b"")
        found = self.stored.get(name)
        if found is None:
            return _error(b"404 Not Found", "NoSuchKey") if method == "GET" else _answer(b"404 Not Found", b"")
        content, etag = found
        extra = (
            f"ETag: {etag}\r\nContent-Type: application/octet-stream\r\nLast-Modified: {_DATE.decode()}\r\n".encode()
        )
        return _answer(b"200 OK", content, extra, head=method == "HEAD")

    def _refused(self, name: str, headers: dict[bytes, bytes]) -> bool:
        found = self.stored.get(name)
        match = headers.get(b"if-match", b"").decode()
        return bool((found and b"if-none-match" in headers) or (match and (not found or found[1] != match)))

    def _put(self, name: str, headers: dict[bytes, bytes], body: bytearray) -> tuple[bytes, bytes | bytearray]:
        if self._refused(name, headers):
            return _error(b"412 Precondition Failed", "PreconditionFailed")
        etag = f'"{next(self._etags):032x}"'
        self.stored[name] = (body, etag)
        return _answer(b"200 OK", b"", f"ETag: {etag}\r\n".encode())

    def _delete(self, name: str, headers: dict[bytes, bytes]) -> tuple[bytes, bytes | bytearray]:
        if self._refused(name, headers):
            return _error(b"412 Precondition Failed", "PreconditionFailed")
        self.stored.pop(name, None)
        return b"HTTP/1.1 204 No Content\r\n" + _HEAD + b"\r\n", b""


def _answer(
    status: bytes, body: bytes | bytearray, extra: bytes = b"", *, head: bool = False
) -> tuple[bytes, bytes | bytearray]:
    start = b"HTTP/1.1 %s\r\n%s%sContent-Length: %d\r\n\r\n" % (status, _HEAD, extra, len(body))
    return start, b"" if head else body


def _error(status: bytes, code: str) -> tuple[bytes, bytes | bytearray]:
    document = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>canned</Message></Error>'
    return _answer(status, document.encode(), b"Content-Type: application/xml\r\n")


@lru_cache(maxsize=256)
def page(bucket: str, prefix: str, start: int, encoded: bool) -> bytes:
    """One page of ListObjectsV2 as S3 writes it."""
    times = (f"2026-05-01T10:{n // 60_000:02}:{n // 1000 % 60:02}.{n % 1000:03}" for n in range(start, start + PAGE))
    keys = (f"{prefix}network/prod/snapshots/{time}000000Z.json.enc" for time in times)
    rows = "".join(
        f"<Contents><Key>{quote(key, safe='/') if encoded else key}</Key>"
        f"<LastModified>2026-05-01T10:00:00.000Z</LastModified><ETag>&quot;{n:032x}&quot;</ETag>"
        f"<Size>{4096 + n}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for n, key in enumerate(keys, start)
    )
    more = start + PAGE < KEYS
    token = f"<NextContinuationToken>{start + PAGE}</NextContinuationToken>" if more else ""
    encoding = "<EncodingType>url</EncodingType>" if encoded else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{bucket}</Name><Prefix>{prefix}</Prefix><MaxKeys>{PAGE}</MaxKeys><KeyCount>{PAGE}</KeyCount>{token}"
        f"{encoding}<IsTruncated>{str(more).lower()}</IsTruncated>{rows}</ListBucketResult>"
    ).encode()


class Connection:
    """One client's requests, one after another."""

    def __init__(self, sock: socket.socket, objects: Objects) -> None:
        self._sock, self._objects, self._rest = sock, objects, b""

    def serve(self) -> None:
        with suppress(OSError, ssl.SSLError), self._sock:
            while self._one():
                pass

    def _one(self) -> bool:
        head = self._until(b"\r\n\r\n")
        if not head:
            return False
        line, *fields = head.split(b"\r\n")
        method, target, _ = line.decode().split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(b":") for field in fields)}
        if b"expect" in headers:
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get(b"transfer-encoding") == b"chunked":
            body = self._chunked()
        else:
            body = self._exactly(int(headers.get(b"content-length", 0)))
        start, content = self._objects.answer(method, target, headers, body)
        if len(content) < 65536:
            self._sock.sendall(start + content)
        else:
            self._sock.sendall(start)
            self._sock.sendall(content)
        return True

    def _until(self, end: bytes) -> bytes:
        while (found := self._rest.find(end)) < 0:
            more = self._sock.recv(65536)
            if not more:
                return b""
            self._rest += more
        head, self._rest = self._rest[:found], self._rest[found + len(end) :]
        return head

    def _exactly(self, size: int) -> bytearray:
        body = bytearray(size)
        have = min(size, len(self._rest))
        body[:have], self._rest = self._rest[:have], self._rest[have:]
        view = memoryview(body)
        while have < size:
            got = self._sock.recv_into(view[have:])
            if not got:
                raise OSError("the client went away")
            have += got
        return body

    def _chunked(self) -> bytearray:
        """The chunks together; trailers are passed over. (aws-chunked framing inside is kept: nobody reads it back.)"""
        body = bytearray()
        while size := int(self._until(b"\r\n").split(b";")[0], 16):
            body += self._exactly(size)
            self._until(b"\r\n")
        while self._until(b"\r\n"):
            pass
        return body


def listen(objects: Objects, context: ssl.SSLContext | None) -> int:
    """Accept in a thread, serve each connection in one of its own. Returns the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def welcome(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError, ssl.SSLError):
            Connection(context.wrap_socket(sock, server_side=True) if context else sock, objects).serve()

    def accept() -> None:
        while True:
            threading.Thread(target=welcome, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def main(certificate: str) -> None:
    objects = Objects()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    print(json.dumps({"http": listen(objects, None), "https": listen(objects, context)}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
