# SPDX-License-Identifier: MIT
"""What may never creep up, by exact counts: modules loaded, bytes hashed, copies of a body in memory.

Times are for benchmarks; here is nothing that a slow machine could fail. (That importing reads no file, variable or
socket is in test_architecture.py, the requests of each operation are in test_counts.py.)
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unobin_s3 import Credentials, S3Client
from unobin_s3.aws import caller, s3
from unobin_s3.testing import Fault, S3Server

ROOT = Path(__file__).parents[1]
SIZE = 48 * 2**20
# Modules that importing the package adds to a bare interpreter, and that are there after the first request. The first
# number is exact: 43 of our own and the standard library's. The second one has httpx besides (117 modules today) and
# room for its next version. Each Python's standard library is cut differently, so where it was not counted a tenth more
# is allowed.
MODULES = {(3, 11): (129, 256)}.get(sys.version_info[:2], (142, 282))
# httpx imports these for its command line and optional protocols wherever they are installed, as in a test environment.
_OPTIONAL = ("click", "rich", "pygments", "trio", "h2", "socksio", "brotli", "brotlicffi", "zstandard")

_START = f"""
import sys
sys.modules |= dict.fromkeys({_OPTIONAL!r})
bare = set(sys.modules)
import unobin_s3
imported = sorted(set(sys.modules) - bare)
import json
from unobin_s3 import Credentials, S3Client
client = S3Client(region="us-east-1", credentials=Credentials(*sys.argv[2:]), endpoint_url=sys.argv[1])
"""
_FIRST_REQUEST = """
client.put_object("state", "key", b"body")
print(json.dumps([imported, sorted(set(sys.modules) - bare)]))
"""
_TRANSFER = """
import tracemalloc
client.put_object("state", "warm", b"")
body = b"x" * SIZE
tracemalloc.start()
client.put_object("state", "key", body)
put = tracemalloc.get_traced_memory()[1]
tracemalloc.reset_peak()
got = client.get_object("state", "key").body
print(json.dumps([put, tracemalloc.get_traced_memory()[1], got == body]))
"""


@pytest.fixture
def server() -> Iterator[S3Server]:
    with S3Server(bucket="state") as running:
        yield running


def client_of(server: S3Server, **more: Any) -> S3Client:
    keys = Credentials(server.access_key, server.secret_key)
    return S3Client(region=server.region, credentials=keys, endpoint_url=server.url, **more)


def child(server: S3Server, code: str) -> Any:
    """What a fresh interpreter prints: without site (-S), whose .pth files import things of their own."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, server.url, server.access_key, server.secret_key],
        cwd=ROOT, env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_modules(server: S3Server) -> None:
    imported, used = child(server, _START + _FIRST_REQUEST)
    files = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "unobin_s3").rglob("*.py"))
    names = {".".join(path.parts).removesuffix(".__init__") for path in files}
    core = {name for name in names if not name.startswith(("unobin_s3.cli", "unobin_s3.testing", "unobin_s3.__main__"))}
    # All of the core at once, so that nothing is imported in the middle of holding a lock; and nothing else, ever.
    assert {name for name in imported if name.startswith("unobin_s3")} == core
    assert {name for name in used if name.startswith("unobin_s3")} == core
    assert len(imported) <= MODULES[0]
    assert len(used) <= MODULES[1]


@pytest.mark.parametrize("checksum", [False, True])
def test_a_body_is_hashed_once(server: S3Server, monkeypatch: pytest.MonkeyPatch, checksum: bool) -> None:
    """However often it is sent, and with the stored checksum too, which is the same hash."""
    hashed: list[int] = []

    def sha256(data: bytes = b"") -> Any:
        hashed.append(len(data))
        return hashlib.sha256(data)

    monkeypatch.setattr(caller, "sha256", sha256)
    monkeypatch.setattr(s3, "hashlib", type("Counted", (), {"sha256": staticmethod(sha256)}), raising=False)
    server.fault("PutObject /key", Fault(503, "SlowDown"), times=2)
    client = client_of(server, checksum=checksum)
    client.put_object("state", "key", b"x" * 100_000)
    assert hashed == [100_000]
    client.close()


def test_a_body_is_in_memory_once(server: S3Server) -> None:
    """Sent in slices that are copied one at a time; received into one buffer, which grows by an eighth at a time."""
    put, got, equal = child(server, f"SIZE = {SIZE}" + _START + _TRANSFER)
    assert equal
    assert put < 3 * 2**20
    assert got < SIZE * 1.13 + 3 * 2**20
