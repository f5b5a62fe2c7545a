# SPDX-License-Identifier: MIT
"""The testing server as a process: races, HTTP by hand, restarts, kills, and a clean end."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testing_server_wire import boto3_client, exchange, send, signed
from unobin_s3.testing import S3Server


@pytest.fixture
def server() -> Iterator[S3Server]:
    with S3Server() as running:
        yield running


def race(server: S3Server, key: str, contenders: int) -> list[int]:
    """The statuses of simultaneous creates of one key."""
    barrier, statuses = threading.Barrier(contenders), list[int]()

    def create(me: int) -> None:
        target, headers = signed(server, "PUT", key, b"%d" % me, {"if-none-match": "*"})
        barrier.wait()
        statuses.append(exchange(server, "PUT", target, b"%d" % me, headers).status)

    threads = [threading.Thread(target=create, args=(me,)) for me in range(contenders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(statuses)


def test_one_winner_among_eight_threads(tmp_path: Path) -> None:
    with S3Server(directory=tmp_path) as server:  # with files, a write is slow enough to be overtaken
        for number in range(20):
            assert race(server, f"k{number}", 8) == [200] + [412] * 7


def test_half_sent_create_loses_to_a_whole_one(server: S3Server) -> None:
    target, headers = signed(server, "PUT", "k", b"first", {"if-none-match": "*"})
    slow = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    slow.putrequest("PUT", target, skip_host=True, skip_accept_encoding=True)
    for name, value in {**headers, "content-length": "5"}.items():
        slow.putheader(name, value)
    slow.endheaders(b"fi")
    assert send(server, "PUT", "k", b"second", headers={"if-none-match": "*"}).status == 200
    slow.send(b"rst")
    assert slow.getresponse().status == 412
    slow.close()
    assert server.objects() == {"k": b"second"}


def test_expect_100_continue(server: S3Server) -> None:
    target, headers = signed(server, "PUT", "k", b"body")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"PUT {target} HTTP/1.1\r\n{lines}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert server.objects() == {}
        connection.sendall(b"body")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    assert server.objects() == {"k": b"body"}


@pytest.mark.parametrize(
    "text",
    ["GET k HTTP/1.1\r\n\r\n", "GET /%FF HTTP/1.1\r\n\r\n"]
    + [f"PUT / HTTP/1.1\r\nContent-Length: {size}\r\n\r\n" for size in ("-1", "x", "99999999999")],
)
def test_malformed_http_is_answered_400_and_closed(server: S3Server, text: str) -> None:
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(text.encode())
        with connection.makefile("rb") as stream:
            assert stream.read().startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert server.requests == []


def test_objects_survive_a_restart(tmp_path: Path) -> None:
    keys = ["../../up", "a/b", "é" * 400, "line\nbreak", "unfinished"]
    with S3Server(directory=tmp_path / "kept") as server:
        client = boto3_client(server)
        client.create_bucket(Bucket="second")
        client.put_object(Bucket="second", Key="k", Body=b"x")
        for key in [*keys, "gone"]:
            client.put_object(Bucket="state", Key=key, Body=key.encode(), Metadata={"k": "v"})
        client.delete_object(Bucket="state", Key="gone")
        before = client.head_object(Bucket="state", Key=keys[0])
        client.close()
    with S3Server(directory=tmp_path / "kept") as server:
        assert server.objects() == {key: key.encode() for key in keys}
        assert server.objects("second") == {"k": b"x"}
        client = boto3_client(server)
        after = client.head_object(Bucket="state", Key=keys[0])
        for name in ("ETag", "LastModified", "Metadata"):
            assert after[name] == before[name]
        client.close()
    assert {path.name for path in tmp_path.iterdir()} == {"kept"}
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"second", "state"}


def test_a_write_that_broke_off_leaves_the_old_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path.write_bytes

    def half(path: Path, data: bytes) -> int:
        whole(path, data[: len(data) // 2])
        raise OSError("no space left")

    with S3Server(directory=tmp_path) as server:
        server.put("k", b"old")
        monkeypatch.setattr(Path, "write_bytes", half)
        assert send(server, "PUT", "k", b"new" * 100).code == "InternalError"
        assert server.objects() == {"k": b"old"}
    monkeypatch.undo()
    with S3Server(directory=tmp_path) as server:
        assert server.objects() == {"k": b"old"}


def served(*arguments: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """The server as a process of its own, and the lines it exports."""
    command = [sys.executable, "-m", "unobin_s3.testing", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(5)]
    return process, dict(line.removeprefix("export ").rstrip().split("=", 1) for line in lines[1:])


def test_a_killed_process_keeps_every_answered_write(tmp_path: Path) -> None:
    process, exported = served("--directory", str(tmp_path), "--access-key", "AK")
    with process:
        elsewhere = S3Server(access_key="AK")  # never started: it lends its keys to the signer
        elsewhere.url = exported["AWS_ENDPOINT_URL_S3"]
        written = 0
        killer = threading.Thread(target=process.kill)
        with pytest.raises((OSError, http.client.HTTPException)):
            while send(elsewhere, "PUT", f"{written}", b"x" * 5000).status == 200:
                written += 1
                if written == 50:
                    killer.start()
        killer.join()
    with S3Server(directory=tmp_path) as server:
        assert written >= 50
        assert len(server.objects()) - written in (0, 1)
        assert set(server.objects().values()) == {b"x" * 5000}


def test_command_serves_until_it_is_interrupted() -> None:
    process, exported = served("--bucket", "mine", "--region", "eu-west-1", "--secret-key", "it's")
    with process:
        try:
            assert set(exported) == {"AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"}
            assert exported["AWS_SECRET_ACCESS_KEY"] == """'it'"'"'s'"""
            elsewhere = S3Server("mine", region="eu-west-1", secret_key="it's")
            elsewhere.url = exported["AWS_ENDPOINT_URL_S3"]
            assert elsewhere.url.startswith("http://127.0.0.1:")
            assert send(elsewhere, "PUT", "k", b"x").status == 200
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0


def test_it_ends_without_leaving_anything() -> None:
    before = threading.active_count()
    server = S3Server()
    idle = []
    for _ in range(2):  # entered again, it serves the same address
        with server:
            place = server.url.removeprefix("http://")
            idle.append(http.client.HTTPConnection(place, timeout=10))
            idle[-1].connect()
            assert send(server, "PUT", "k", b"x").status == 200
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(place.rpartition(":")[2])))
    for connection in idle:
        connection.close()
