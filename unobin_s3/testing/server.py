# SPDX-License-Identifier: MIT
"""The simulated S3 on a socket: HTTP/1.1 by hand, and the plan of what goes wrong. It always binds 127.0.0.1.

No TLS and no other address. S3's own rules are in simulator.py and signature.py.
"""

from __future__ import annotations

import io
import logging
import os
import re
import secrets
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from .messages import Answer, Refusal, RequestRecord
from .simulator import Simulator

_log = logging.getLogger(__name__)
_LINE_LIMIT = 64 * 2**10
_BODY_LIMIT = 64 * 2**20
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request whose signature is right.

    Fault(503, "SlowDown")                      refused without effect
    Fault(500, "InternalError", applied=True)   takes effect, then answers this
    Fault(502, body=b"<html>...")               with this body; `headers` are added or replaced
    Fault(reset=True), with applied=True        connection reset before the effect, after it (a lost answer)
    Fault(delay=0.2), with applied=True         so many seconds before the effect, between effect and answer
    Fault(call=function)                        runs it at that point: wait for an event, write in between
    Fault(cut=7)                                declares the whole body, sends 7 bytes of it, closes
    Fault(extra=-3)                             declares a length that is off by so much, closes
    Fault(ignore=("if-match",))                 takes no notice of these headers, as some stores do
    """

    status: int = 0
    code: str = ""
    applied: bool = False
    reset: bool = False
    delay: float = 0.0
    call: Callable[[], object] | None = None
    cut: int | None = None
    extra: int = 0
    ignore: Collection[str] = ()
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


# Which requests: "PutObject", "PUT" or "*", with or without an end of the key ("PUT /lock"); or a predicate.
Match = str | Callable[[RequestRecord], bool]


class S3Server(Simulator):
    """S3 on a free port of 127.0.0.1, from `with` to its end. Every method may be called from any thread.

    `url`, `bucket`, `access_key`, `secret_key`, `session_token` and `region` are what a client needs; the
    bucket exists. `directory` keeps the objects across restarts, even after a kill. `opaque_etags` gives each
    write an ETag of its own instead of the MD5 of its content. `now` (unix seconds) dates objects and judges
    clients' clocks. `faults` are arguments of first calls of `fault`.
    """

    def __init__(
        self,
        bucket: str = "state",
        *,
        access_key: str = "AKIDTESTING",
        secret_key: str = "testing-secret-key",  # noqa: S107 - guards nothing but this server
        session_token: str = "",
        region: str = "us-east-1",
        directory: str | os.PathLike[str] | None = None,
        opaque_etags: bool = False,
        faults: Iterable[tuple[Match, Fault]] = (),
        now: Callable[[], float] = time.time,
        port: int = 0,
    ) -> None:
        super().__init__(bucket, region, None if directory is None else Path(directory), opaque_etags, now)
        self.access_key, self.secret_key, self.session_token = access_key, secret_key, session_token
        self.add_user(access_key, secret_key, session_token=session_token)
        self.url, self._port = "", port
        self._faults: list[tuple[Match, Fault, list[int]]] = []
        for match, fault in faults:
            self.fault(match, fault)
        self._requests: deque[RequestRecord] = deque(maxlen=20_000)
        self._closing = threading.Event()
        self._connections: dict[threading.Thread, socket.socket] = {}

    def __enter__(self) -> S3Server:
        self._closing.clear()
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=128)
        self._port = self._listener.getsockname()[1]  # entered again, it serves the same address
        self.url = f"http://127.0.0.1:{self._port}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close every connection. What is being applied is applied; its answer may be lost."""
        self._closing.set()
        socket.create_connection(("127.0.0.1", self._port)).close()  # wakes `accept` on every system
        self._acceptor.join()
        self._listener.close()
        for thread, connection in list(self._connections.items()):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(5)

    def fault(self, match: Match, fault: Fault, times: int | None = 1) -> None:
        """Let `fault` happen to the next `times` (None: all) matching requests. Earlier plans come first."""
        with self.lock:
            self._faults.append((match, fault, [-1 if times is None else times]))

    @property
    def requests(self) -> list[RequestRecord]:
        """The latest 20,000 requests since `reset_requests`, oldest first."""
        return list(self._requests)

    def reset_requests(self) -> None:
        self._requests.clear()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._closing.is_set():
                connection.close()
                return
            # Small answers must not wait for the client's delayed acknowledgement (40 ms).
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._connections[thread] = connection
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                while self._exchange(connection, stream):
                    pass
        except (OSError, EOFError):
            _log.debug("a connection ended early", exc_info=True)
        finally:
            del self._connections[threading.current_thread()]

    def _exchange(self, connection: socket.socket, stream: BinaryIO) -> bool:
        """Read one request whole, then answer it. True when the connection may carry another one."""
        line = stream.readline(_LINE_LIMIT)
        if not line:
            return False
        try:
            method, target, version = line.decode("ascii").split()
            headers = _read_headers(stream)
            if headers.get("expect", "").lower() == "100-continue":
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = _read_body(stream, headers)
            record = RequestRecord.parse(method, target, headers)
        except ValueError:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            return False
        self._requests.append(record)
        answer, fault = self._answer(record, body)
        if fault.reset:
            # A close that does not linger sends RST.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        _send(connection, record, answer, fault)
        last = version != "HTTP/1.1" or headers.get("connection", "").lower() == "close"
        return not last and fault.cut is None and not fault.extra

    def _answer(self, record: RequestRecord, body: bytes) -> tuple[Answer, Fault]:
        fault = Fault()
        try:
            self.verify(record, body)
            fault = self._next_fault(record)
            answer = self._with_fault(fault, record, _unwrapped(record, body))
        except Refusal as refusal:
            answer = self.error(record, refusal)
        except Exception:
            _log.exception("the testing server failed on %s %s", record.method, record.target)
            answer = self.error(record, Refusal(500, "InternalError"))
        body = answer.body if fault.body is None else fault.body
        date = formatdate(int(self.now()), usegmt=True)
        fixed = {"date": date, "x-amz-request-id": secrets.token_hex(8).upper()}
        return Answer(answer.status, {**fixed, **answer.headers, **fault.headers}, body), fault

    def _with_fault(self, fault: Fault, record: RequestRecord, body: bytes) -> Answer:
        answer = Answer()
        if not fault.applied:
            self._pause(fault)
        if fault.applied or not (fault.status or fault.reset):
            try:
                answer = self.perform(record, body, fault.ignore)
            except Refusal as refusal:
                answer = self.error(record, refusal)
        if fault.applied:
            self._pause(fault)
        if fault.status >= 300:
            return self.error(record, Refusal(fault.status, fault.code))
        return replace(answer, status=fault.status or answer.status)

    def _pause(self, fault: Fault) -> None:
        if fault.call is not None:
            fault.call()
        if fault.delay:
            self._closing.wait(fault.delay)

    def _next_fault(self, record: RequestRecord) -> Fault:
        with self.lock:
            for match, fault, left in self._faults:
                if left[0] and _matches(match, record):
                    left[0] -= 1
                    return fault
        return Fault()


def _matches(match: Match, record: RequestRecord) -> bool:
    if not isinstance(match, str):
        return match(record)
    what, _, ending = match.partition(" ")
    return what in ("*", record.method, record.operation) and record.key.endswith(ending)


def _read_headers(stream: BinaryIO) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(200):
        line = stream.readline(_LINE_LIMIT)
        if not line.endswith(b"\n"):
            raise EOFError
        if line == b"\r\n":
            return headers
        name, colon, value = line.decode().partition(":")
        if not colon:
            raise ValueError("a header line without a colon")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    raise ValueError("too many headers")


def _read_body(stream: BinaryIO, headers: Mapping[str, str]) -> bytes:
    if "transfer-encoding" in headers:
        return _read_chunks(stream)[0]
    return _read_exactly(stream, int(headers.get("content-length", "0")))


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    if not 0 <= size <= _BODY_LIMIT:
        raise ValueError("a length out of bounds")
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _read_chunks(stream: BinaryIO) -> tuple[bytes, dict[str, str]]:
    """Body and trailers of a chunked body. HTTP's (RFC 9112, 7.1) and aws-chunked ones are framed alike."""
    body = b""
    while size := int(stream.readline(_LINE_LIMIT).partition(b";")[0], 16):
        body += _read_exactly(stream, size)
        if stream.readline(2) != b"\r\n" or len(body) > _BODY_LIMIT:
            raise ValueError("a malformed chunk")
    return body, _read_headers(stream)


def _unwrapped(record: RequestRecord, body: bytes) -> bytes:
    """The object inside an aws-chunked body; its trailers become headers. Chunk signatures go unchecked."""
    headers = record.headers
    if not headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        if "transfer-encoding" in headers:
            raise Refusal(501, "NotImplemented", "Transfer-Encoding is for aws-chunked bodies only")
        return body
    try:
        inner, trailers = _read_chunks(io.BytesIO(body))
    except (ValueError, EOFError):
        raise Refusal(400, "InvalidRequest", "The aws-chunked body is malformed") from None
    if headers.get("x-amz-decoded-content-length", str(len(inner))) != str(len(inner)):
        raise Refusal(400, "IncompleteBody", "x-amz-decoded-content-length is not the length of the body")
    headers.update(trailers)
    encoding = re.sub(r"\baws-chunked\b,?", "", headers.pop("content-encoding", "")).strip(", ")
    headers.update({"content-encoding": encoding} if encoding else {})
    return inner


def _send(connection: socket.socket, record: RequestRecord, answer: Answer, fault: Fault) -> None:
    bodiless = answer.status in (204, 304)
    length = {} if bodiless else {"content-length": str(len(answer.body) + fault.extra)}
    lines = [f"{name}: {value}\r\n" for name, value in {**length, **answer.headers}.items()]
    head = f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, '')}\r\n{''.join(lines)}\r\n"
    record.status = answer.status
    connection.sendall(head.encode() + (b"" if bodiless or record.method == "HEAD" else answer.body[: fault.cut]))
