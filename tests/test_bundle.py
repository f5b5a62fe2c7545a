# SPDX-License-Identifier: MIT
"""The README's Lambda handler in a bundle as Lambda unpacks it: wheel and dependencies in one read-only folder.

`pip install --target`, zipped, unpacked; run by `python -I` with the bundle on the path and nothing else of ours, as a
user that no password file has, without HOME, and with a hook that refuses to open any file for writing.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests import copies
from tests.servers.processes import STARTED_WITH
from tests.store.conftest import KEY
from unobin_s3.testing import Fault, S3Server

HANDLER = next(
    block for block in re.findall(r"```python\n(.*?)```", (copies.ROOT / "README.md").read_text(), re.DOTALL)
    if "def handler" in block
)  # fmt: skip
# What a user writes around it: the store, once for each start of the function, and what is changed.
MODULE = f"""
import os, threading
from unobin_s3 import Entry, Binding, EnvKey, FactoryInfo, NoCurrentSnapshot, S3Client, Snapshot, Store

store = Store(S3Client(), bucket="state", factory="net", stack="prod", encrypter=EnvKey("UB_STATE_KEY"))

def change(state, event):
    if event.get("die"):
        os._exit(9)
    assert [thread.name for thread in threading.enumerate()] == ["MainThread"]
    entry = Entry(address="resource.a", entry_kind="leaf", category="resource", outputs=event,
                  binding=Binding(alias="aws", kind="bucket"))
    return Snapshot(factory=FactoryInfo(name="net"), stack="prod", entries=[entry])

def first(event, context):
    with store.lock(timeout=5, lease=10, heartbeat=False):
        store.set_current(store.write(change(None, event)))

{HANDLER}
"""
# What the Lambda service's own start does: the bundle first on the path, the handler by name, events one by one.
BOOTSTRAP = """
import json, os, sys, types
bundle, user, *events = sys.argv[1:]
if int(user):
    os.setgroups([]), os.setgid(int(user)), os.setuid(int(user))
def read_only(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        sys.exit(f"opened for writing: {arguments[0]}")
    if event in ("os.mkdir", "os.rename", "os.remove"):
        sys.exit(f"{event} {arguments}")
sys.addaudithook(read_only)
sys.path.insert(0, bundle)
import function
context = types.SimpleNamespace(function_name="deploy", aws_request_id="r-1")
context.get_remaining_time_in_millis = lambda: 30_999
for text in events:
    event = json.loads(text)
    (function.first if event.get("first") else function.handler)(event, context)
current = function.store.current()
places = sorted(getattr(sys.modules[name], "__file__", "") for name in ("unobin_s3", "httpx", "cryptography"))
print(json.dumps({"outputs": dict(current.entries[0].outputs), "uid": os.getuid(), "places": places,
                  "revisions": len(function.store.list()), "locked": function.store.lock_info() is not None}))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The unpacked function. Below /tmp, for another user cannot look into pytest's own folders."""
    work = tmp_path_factory.mktemp("bundle")
    (work / "source").mkdir()
    wheel = copies.build(work / "source", work)
    words = [sys.executable, "-m", "pip", "install", "-q", "--target", str(work / "packages"), str(wheel)]
    done = subprocess.run(words, env=STARTED_WITH, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"BUNDLE NOT TESTED: pip could not install httpx and cryptography: {done.stderr[-500:]}")
    (work / "packages" / "function.py").write_text(MODULE)
    packed = shutil.make_archive(str(work / "function"), "zip", work / "packages")
    with tempfile.TemporaryDirectory() as folder:
        shutil.unpack_archive(packed, folder)
        for path in [Path(folder), *Path(folder).rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield Path(folder)
        for path in [Path(folder), *Path(folder).rglob("*")]:
            path.chmod(0o755)


@pytest.fixture
def server() -> Iterator[S3Server]:
    with S3Server(bucket="state") as running:
        yield running


def run(bundle: Path, server: S3Server, *events: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    env = {
        "AWS_ENDPOINT_URL_S3": server.url, "AWS_REGION": server.region, "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key, "UB_STATE_KEY": KEY, "AWS_LAMBDA_FUNCTION_NAME": "deploy",
        "LAMBDA_TASK_ROOT": str(bundle), "TZ": ":UTC", "PATH": "/var/lang/bin:/usr/bin:/bin",
    }  # fmt: skip
    python, user = interpreter()
    words = [python, "-I", "-B", "-W", "error", "-c", BOOTSTRAP, str(bundle), str(user), *map(json.dumps, events)]
    return subprocess.run(words, env=env, cwd="/", capture_output=True, text=True, timeout=60, check=False)


@cache
def interpreter() -> tuple[str, int]:
    """A Python of this version, and a user id without an entry that may run it; (this one, 0) where there is none."""
    name = f"python3.{sys.version_info.minor}"
    found = [sys.executable, *(f"{folder}/{name}" for folder in STARTED_WITH["PATH"].split(os.pathsep))]
    usable = [path for path in found if os.access(path, os.X_OK) and _is_open_to_all(Path(path).resolve())]
    if os.getuid() != 0 or not usable:
        return sys.executable, 0
    known = {entry.pw_uid for entry in pwd.getpwall()}
    return usable[0], next(uid for uid in range(65533, 60000, -1) if uid not in known)


def _is_open_to_all(program: Path) -> bool:
    """Whether any user may run it: an ELF file (no script that asks a user's settings) below folders open to all."""
    return program.read_bytes()[:4] == b"\x7fELF" and all(folder.stat().st_mode & 1 for folder in program.parents)


def finished(done: subprocess.CompletedProcess[str], says: str = "") -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(says) and bool(done.stderr) == bool(says), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_cold_and_a_warm_call(bundle: Path, server: S3Server) -> None:
    found = finished(run(bundle, server, {"first": 1}, {"n": 2}, {"n": 3}))
    assert found["outputs"] == {"n": 3} and found["revisions"] == 3 and found["locked"] is False
    assert all(place.startswith(str(bundle)) for place in found["places"])
    assert found["uid"] == (interpreter()[1] or os.getuid())
    kinds = [key.removeprefix("net/prod/").partition("/")[0] for key in sorted(server.objects())]
    assert kinds == ["current", *["snapshots"] * 3]


def test_the_lease_is_bound_to_the_time_left(bundle: Path, server: S3Server) -> None:
    """A function that died at work keeps the lock for its 30 s, by the store's clock, and not longer."""
    finished(run(bundle, server, {"first": 1}))
    assert run(bundle, server, {"die": 1}).returncode == 9
    lock = json.loads(server.objects()["net/prod/lock"])
    assert (lock["lease"], lock["who"]) == (30, "deploy/r-1@lambda")
    held = run(bundle, server, {"n": 2})
    assert held.returncode != 0 and "LockHeld" in held.stderr and "deploy/r-1@lambda" in held.stderr
    server.now = lambda: time.time() + 33
    assert finished(run(bundle, server, {"n": 2}), "took over the lock")["outputs"] == {"n": 2}


def test_a_lost_answer(bundle: Path, server: S3Server) -> None:
    finished(run(bundle, server, {"first": 1}))
    for match in ("PutObject /lock", "PutObject /current", "DeleteObject /lock"):
        server.fault(match, Fault(reset=True, applied=True))
    found = finished(run(bundle, server, {"n": 2}))
    assert found["outputs"] == {"n": 2} and found["locked"] is False
