# SPDX-License-Identifier: MIT
"""A proxy that delivers every request and, when told so, loses the answer: what an unlucky network looks like."""

from __future__ import annotations

import http.client
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from urllib.parse import urlsplit


class Lossy(socketserver.ThreadingTCPServer):
    """One exchange on each connection. `lose("PUT", "/lock")` swallows the next answer of that kind, once."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        target = urlsplit(upstream)
        self.upstream = (target.hostname or "", target.port or 80)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.lost: list[str] = []
        self._wanted: list[tuple[str, str]] = []

    def lose(self, method: str, part: str) -> None:
        self._wanted.append((method, part))

    def loses(self, method: str, target: str) -> bool:
        for wanted in self._wanted:
            if wanted[0] == method and wanted[1] in target:
                self._wanted.remove(wanted)
                self.lost.append(f"{method} {wanted[1]}")
                return True
        return False


class _Exchange(socketserver.StreamRequestHandler):
    server: Lossy

    def handle(self) -> None:
        head, body = _read_request(self.rfile)
        if not head:
            return
        with socket.create_connection(self.server.upstream, timeout=60) as upstream:
            upstream.sendall(head + body)
            method, target = head.split(b" ", 2)[:2]
            answer = _read_answer(upstream, method.decode())
        if not self.server.loses(method.decode(), target.decode()):
            self.wfile.write(answer)


def _read_request(stream: BufferedIOBase) -> tuple[bytes, bytes]:
    head, length = b"", 0
    for line in iter(stream.readline, b""):
        head += line
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
        if line == b"\r\n":
            break
    return head, stream.read(length)


def _read_answer(upstream: socket.socket, method: str) -> bytes:
    """The whole answer, framed anew: length given, connection closed after it."""
    response = http.client.HTTPResponse(upstream, method=method)
    response.begin()
    body = response.read()
    framing = ("connection", "transfer-encoding", "keep-alive")
    kept = [(name, value) for name, value in response.getheaders() if name.lower() not in framing]
    if method != "HEAD" and response.status not in (204, 304):
        kept = [(name, value) for name, value in kept if name.lower() != "content-length"]
        kept.append(("Content-Length", str(len(body))))
    lines = [f"HTTP/1.1 {response.status} {response.reason}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in kept]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@contextmanager
def lossy(upstream: str) -> Iterator[Lossy]:
    with Lossy(upstream) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
