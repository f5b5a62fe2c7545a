# SPDX-License-Identifier: MIT
"""A loopback HTTP server whose answers are a function: metadata, container and STS endpoints for tests."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Asked], tuple[int, bytes]]


@dataclass
class Link:
    """A running server. `answer` may be replaced at any time; `asked` keeps what came."""

    answer: Answer
    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    def paths(self) -> list[str]:
        return [f"{one.method} {one.path}" for one in self.asked]


@contextmanager
def running(answer: Answer) -> Iterator[Link]:
    link = Link(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            link.asked.append(asked)
            status, text = link.answer(asked)
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_PUT = do_POST = do_CONNECT = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # with the usual 5, many threads at once wait a second for a connection

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    link.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield link
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def key_document(key: str, *, expiration: str = "2099-01-01T00:00:00Z", **more: object) -> bytes:
    """What container and instance metadata endpoints answer."""
    return json.dumps(
        {"Code": "Success", "AccessKeyId": key, "SecretAccessKey": "s" + key, "Token": "t" + key}
        | {"Expiration": expiration}
        | more
    ).encode()


def instance_metadata(key: str, region: str = "eu-west-3") -> Answer:
    """IMDSv2 with a role: whoever brings no session token gets 401."""

    def answer(asked: Asked) -> tuple[int, bytes]:
        if asked.path == "/latest/api/token":
            good = asked.method == "PUT" and asked.headers.get("x-aws-ec2-metadata-token-ttl-seconds") == "21600"
            return (200, b"session") if good else (400, b"")
        if asked.headers.get("x-aws-ec2-metadata-token") != "session":
            return 401, b""
        pages = {
            "/latest/meta-data/iam/security-credentials/": b"the-role",
            "/latest/meta-data/iam/security-credentials/the-role": key_document(key),
            "/latest/meta-data/placement/region": region.encode(),
            "/latest/meta-data/placement/availability-zone/": region.encode() + b"a",
        }
        return (200, pages[asked.path]) if asked.path in pages else (404, b"")

    return answer


def assumed_key(action: str, role: str, signer: str) -> str:
    """The access key that `security_tokens` gives for this request: it tells who asked for what."""
    return "ASIA" + hashlib.sha256(f"{action}|{role}|{signer}".encode()).hexdigest()[:12].upper()


def security_tokens(asked: Asked) -> tuple[int, bytes]:
    """STS whose answer depends on the role and on the access key (or web token) that asks."""
    form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
    signed = re.search(r"Credential=([^/]+)/", asked.headers.get("authorization", ""))
    signer = signed[1] if signed else form.get("WebIdentityToken", "")
    key = assumed_key(form["Action"], form["RoleArn"], signer)
    return 200, (
        f'<{form["Action"]}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{form["Action"]}Result>'
        f"<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn><AssumedRoleId>A:s</AssumedRoleId>"
        f"</AssumedRoleUser><Credentials><AccessKeyId>{key}</AccessKeyId>"
        f"<SecretAccessKey>s{key}</SecretAccessKey><SessionToken>t{key}</SessionToken>"
        f"<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></{form['Action']}Result>"
        f"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{form['Action']}Response>"
    ).encode()
