# SPDX-License-Identifier: MIT
"""The one door to the network: TLS, proxies, dead connections, forks, limits, one's own transport."""

from __future__ import annotations

import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.aws.middlemen import proxy, tls_front
from unobin_s3 import ConfigurationError, Credentials, Limits, OutcomeUnknown, S3Client, TransportError
from unobin_s3.aws.proxy import proxy_for
from unobin_s3.aws.transport import HttpxTransport, Request
from unobin_s3.testing import Fault, S3Server


@pytest.fixture
def server() -> Iterator[S3Server]:
    with S3Server(bucket="state") as running:
        running.put("there", b"body")
        yield running


def client_of(server: S3Server, url: str = "", **more: Any) -> S3Client:
    keys = Credentials(server.access_key, server.secret_key)
    return S3Client(endpoint_url=url or server.url, region=server.region, credentials=keys, **more)


def port_of(server: S3Server) -> int:
    return int(server.url.rpartition(":")[2])


# TLS


def test_a_private_ca(server: S3Server, tmp_path: Path) -> None:
    with tls_front(port_of(server), tmp_path) as (front, ca):
        url = f"https://localhost:{front.port}"
        for arguments in ({"ca_bundle": ca}, {"env": {"AWS_CA_BUNDLE": ca}}, {"env": {"SSL_CERT_FILE": ca}}):
            client = client_of(server, url, **arguments)
            assert client.get_object("state", "there").body == b"body"
            client.close()
        stranger = client_of(server, url, limits=Limits(total=1))
        with pytest.raises(TransportError, match=r"certificate is not trusted.*AWS_CA_BUNDLE") as caught:
            stranger.get_object("state", "there")
        assert not caught.value.sent
        stranger.close()


def test_a_ca_file_that_is_none(server: S3Server, tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    with pytest.raises(ConfigurationError, match=r"CA certificates in .*ca\.pem"):
        client_of(server, "https://localhost:1", ca_bundle=str(broken)).get_object("state", "there")


# Proxies


def test_through_a_proxy(server: S3Server, tmp_path: Path) -> None:
    with proxy() as middle, tls_front(port_of(server), tmp_path) as (front, ca):
        here = f"http://127.0.0.1:{middle.port}"
        plain = client_of(server, env={"HTTP_PROXY": here})
        assert plain.get_object("state", "there").body == b"body"
        secure = client_of(server, f"https://localhost:{front.port}", env={"https_proxy": here, "AWS_CA_BUNDLE": ca})
        assert secure.get_object("state", "there").body == b"body"
        assert middle.seen == [
            f"GET {server.url}/state/there HTTP/1.1",
            f"CONNECT localhost:{front.port} HTTP/1.1",
        ]
        direct = client_of(server, env={"HTTP_PROXY": here, "NO_PROXY": "127.0.0.1"})
        assert direct.get_object("state", "there").body == b"body"
        assert len(middle.seen) == 2
        for client in (plain, secure, direct):
            client.close()


def test_a_proxy_that_refuses(server: S3Server) -> None:
    with proxy(refuse=b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n") as middle:
        env = {"HTTPS_PROXY": f"http://127.0.0.1:{middle.port}"}
        client = client_of(server, "https://localhost:1", env=env, limits=Limits(total=1))
        with pytest.raises(TransportError, match=r"proxy refused \(407.*HTTPS_PROXY") as caught:
            client.get_object("state", "there")
        assert not caught.value.sent
        client.close()


@pytest.mark.parametrize(
    ("host", "no_proxy", "direct"),
    [
        ("a.example", "*", True),
        ("a.example", "example", True),
        ("a.example", ".example", True),
        ("a.example", "*.example", True),
        ("aexample", "example", False),
        ("a.example:8443", "a.example:8443", True),
        ("a.example:9", "a.example:8443", False),
        ("10.1.2.3", "10.0.0.0/8, x", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("[::1]:9000", "::1", True),
        ("a.example", "", False),
    ],
)
def test_no_proxy(host: str, no_proxy: str, direct: bool) -> None:
    env = {"https_proxy": "http://p:1", "no_proxy": no_proxy}
    assert (proxy_for("https", host, env) is None) == direct


def test_which_proxy() -> None:
    assert proxy_for("http", "h", {"http_proxy": "p:1", "HTTP_PROXY": "q:1"}) == "http://p:1"
    assert proxy_for("http", "h", {"HTTP_PROXY": "q:1", "REQUEST_METHOD": "GET"}) is None
    assert proxy_for("https", "h", {"ALL_PROXY": "http://a:1"}) == "http://a:1"
    assert proxy_for("https", "h", {"https_proxy": "", "HTTPS_PROXY": "http://q:1"}) is None
    assert proxy_for("https", "h", {}) is None


# Connections


def test_connections_are_kept(server: S3Server) -> None:
    client = client_of(server)
    ports: set[object] = set()
    server.fault("*", Fault(call=lambda: ports.update(server._connections.values())), times=None)
    for _ in range(5):
        client.get_object("state", "there")
    assert len(ports) == 1
    client.close()


def test_several_dead_connections_in_a_row(server: S3Server) -> None:
    client = client_of(server)
    barrier = threading.Barrier(4)
    server.fault("*", Fault(call=barrier.wait), times=4)
    threads = [threading.Thread(target=client.get_object, args=("state", "there")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Four idle connections; each dies at the moment it is used again, so that the client cannot have noticed.
    server.fault("GetObject", Fault(reset=True), times=2)
    assert client.get_object("state", "there").body == b"body"
    client.close()


def test_a_forked_child_opens_its_own_socket(server: S3Server) -> None:
    client = client_of(server)
    client.get_object("state", "there")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, client.get_object("state", "there").body)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 10) == b"body"
    os.close(reading)
    os.close(writing)
    assert client.get_object("state", "there").body == b"body"  # the parent's connection still works
    client.close()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    client = S3Client(
        endpoint_url=f"http://127.0.0.1:{port}", credentials=Credentials("a", "b"), limits=Limits(total=0.5)
    )
    with pytest.raises(TransportError, match=r"PutObject s3://state/k: PUT http://127.*cannot connect") as caught:
        client.put_object("state", "k", b"x")
    assert not caught.value.sent and not caught.value.maybe_applied
    client.close()


# Limits


@pytest.mark.parametrize("silent", ["headers", "body", "dripping"])
def test_a_server_that_does_not_answer(silent: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            if silent != "headers":
                connection.sendall(b"HTTP/1.1 200 OK\r\netag: x\r\ncontent-length: 100000\r\n\r\n")
            while silent == "dripping" and not stop.wait(0.02):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return
            stop.wait(5)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    transport = HttpxTransport({})
    request = Request("GET", "http", f"127.0.0.1:{listener.getsockname()[1]}", "/", {})
    started = time.monotonic()
    with pytest.raises(TransportError, match="time limit") as caught:
        transport.send(request, connect=1, read=0.2 if silent != "dripping" else 5, total=0.4)
    assert time.monotonic() - started < 2 and caught.value.sent
    stop.set()
    thread.join()
    transport.close()
    listener.close()


def test_a_write_that_is_not_answered_in_time_is_unknown(server: S3Server) -> None:
    server.fault("PutObject", Fault(delay=1, applied=True), times=None)
    client = client_of(server, limits=Limits(read=0.1, total=0.3))
    with pytest.raises(OutcomeUnknown, match=r"may have taken effect: read s3://state/k"):
        client.put_object("state", "k", b"x", if_none_match=True)
    client.close()


@pytest.mark.parametrize("limits", [{"connect": 0}, {"read": -1}, {"total": float("inf")}, {"total": float("nan")}])
def test_limits_are_finite(limits: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="time limit"):
        Limits(**limits)


def test_a_large_body_is_not_copied(server: S3Server) -> None:
    client = client_of(server)
    client.put_object("state", "k", b"x")
    body = bytes(40 * 2**20)
    server.fault("PutObject", Fault(413, "EntityTooLarge"))
    tracemalloc.start()
    try:
        with pytest.raises(Exception, match="EntityTooLarge"):
            _send_without_server_copy(client, body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20
    client.close()


def _send_without_server_copy(client: S3Client, body: bytes) -> None:
    """To a listener in another process, so that only the client's memory is traced."""
    import subprocess
    import sys

    code = (
        "import socket\n"
        "l = socket.create_server(('127.0.0.1', 0)); print(l.getsockname()[1], flush=True)\n"
        "c, _ = l.accept(); n = 0; head = b''\n"
        "while b'\\r\\n\\r\\n' not in head: head += c.recv(4096)\n"
        "n = len(head.split(b'\\r\\n\\r\\n', 1)[1])\n"
        "while n < 40 * 2**20: n += len(c.recv(1 << 20))\n"
        "x = b'<Error><Code>EntityTooLarge</Code></Error>'\n"
        "c.sendall(b'HTTP/1.1 413 x\\r\\ncontent-length: %d\\r\\n\\r\\n' % len(x) + x)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        other = S3Client(endpoint_url=f"http://127.0.0.1:{port}", credentials=Credentials("a", "b"), region="x")
        try:
            other.put_object("state", "k", body)
        finally:
            other.close()


def test_an_endless_error_page_is_cut(server: S3Server) -> None:
    server.fault("GetObject", Fault(502, body=b"x" * 30_000_000), times=None)
    client = client_of(server, limits=Limits(total=1))
    with pytest.raises(Exception, match="no error document"):
        client.get_object("state", "there")
    client.close()


# One's own transport


class Recording(httpx.BaseTransport):
    """What tracing or mTLS would do: wrap httpx's own."""

    def __init__(self) -> None:
        self.inner = httpx.HTTPTransport()
        self.seen: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        return self.inner.handle_request(request)

    def close(self) -> None:
        self.inner.close()


def test_ones_own_transport(server: S3Server) -> None:
    own = Recording()
    client = client_of(server, transport=own)
    key = "a b+c~%2F/é'()*"
    client.put_object("state", key, b"x" * 600_000)
    assert client.get_object("state", key).body == b"x" * 600_000
    assert [item.key for item in client.list_objects_v2("state", "a b+")] == [key]
    assert [request.method for request in own.seen] == ["PUT", "GET", "GET"]
    assert own.seen[0].headers["content-length"] == "600000" and "transfer-encoding" not in own.seen[0].headers
    client.close()
    assert client.get_object("state", key).body  # a transport of the user's is not closed by us
    own.close()


def test_a_client_is_refused() -> None:
    with httpx.Client() as whole, pytest.raises(ConfigurationError, match=r"BaseTransport \(not a Client"):
        S3Client(transport=whole)  # type: ignore[arg-type]


def test_stored_bytes_are_not_unpacked(server: S3Server) -> None:
    import gzip

    packed = gzip.compress(b"text")
    server.put("packed", packed)
    server.fault("GetObject", Fault(headers={"content-encoding": "gzip"}))
    client = client_of(server)
    assert client.get_object("state", "packed").body == packed
    client.close()


def test_requests_show_no_secret(server: S3Server) -> None:
    request = Request("PUT", "http", "h", "/", {"x-amz-security-token": "tok-secret"}, b"body-secret")
    assert "secret" not in repr(request)


def test_a_traceback_with_locals_shows_no_token(server: S3Server) -> None:
    import traceback

    keys = Credentials(server.access_key, server.secret_key, "session-token-value")
    with S3Server(bucket="state", session_token="session-token-value") as other:
        other.fault("GetObject", Fault(reset=True), times=None)
        client = S3Client(endpoint_url=other.url, credentials=keys, region="us-east-1", limits=Limits(total=0.3))
        with pytest.raises(TransportError) as caught:
            client.get_object("state", "k")
        client.close()
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "reset" in shown and "session-token-value" not in shown and server.secret_key not in shown
