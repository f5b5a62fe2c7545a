# SPDX-License-Identifier: MIT
"""Lambda and slim containers: no HOME, an unknown user, nothing to write to, `python -I`, next to no environment."""

from __future__ import annotations

import base64
import json
import os
import re
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unobin_s3.holder import own_name
from unobin_s3.testing import S3Server

ROOT = Path(__file__).parent.parent
KEY = base64.b64encode(bytes(32)).decode()
NOBODY = 2**31 - 7  # a user id that no password file has

# What a function of a user's does. Errors are told by type, so that nothing is lost in a traceback.
HANDLER = f"""
import json, os, sys
sys.path[:0] = {[str(ROOT), *site.getsitepackages()]!r}
from unobin_s3 import EnvKey, FactoryInfo, S3Client, Snapshot, Store
store = Store(S3Client(), bucket="state", factory="net", stack="prod", encrypter=EnvKey("UB_STATE_KEY"))
with store.lock(timeout=5, lease=30) as lock:
    before = store.lock_info()
    lock.renew()
    rev = store.write(Snapshot(factory=FactoryInfo(name="net"), stack="prod", entries=[]))
    store.set_current(rev)
found = store.current()
print(json.dumps({{
    "uid": os.getuid() if hasattr(os, "getuid") else None, "who": before.who, "rev": rev, "stack": found.stack,
    "after": store.lock_info() is None, "current": store.current_rev(), "isolated": sys.flags.isolated,
}}))
"""


@pytest.fixture
def server() -> Iterator[S3Server]:
    with S3Server(bucket="state") as running:
        yield running


def run(server: S3Server, folder: Path, env: dict[str, str]) -> dict[str, object]:
    """The handler in a process with nothing but `env`, as an unknown user where the test may choose, read-only."""
    needed = {
        "AWS_ENDPOINT_URL_S3": server.url, "AWS_REGION": server.region, "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key, "UB_STATE_KEY": KEY, "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    folder.chmod(0o555)
    may = hasattr(os, "setuid") and os.getuid() == 0 and _readable_by_all()
    nobody: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if may else {}
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", HANDLER], env=needed | env, cwd=folder, capture_output=True,
        text=True, check=False, timeout=60, **nobody,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, object] = json.loads(done.stdout)
    assert not may or found["uid"] == NOBODY
    return found


def _readable_by_all() -> bool:
    """Whether another user can reach the interpreter and this checkout."""
    paths = [Path(sys.executable), Path(sys.executable).resolve(), *map(Path, site.getsitepackages()), ROOT]
    return all(parent.stat().st_mode & 1 for path in paths for parent in path.parents)


def test_a_cycle_with_next_to_nothing(server: S3Server, tmp_path: Path) -> None:
    found = run(server, tmp_path, {})
    assert found["stack"] == "prod" and found["rev"] == found["current"] and found["after"] is True
    assert found["isolated"] == 1
    assert re.fullmatch(r"[^@]+@[^@]+", str(found["who"]))
    assert list(tmp_path.iterdir()) == []
    assert {key.rpartition("/")[2].partition("Z")[2] for key in server.objects()} == {"", ".json.enc"}


def test_the_holder_in_lambda(server: S3Server, tmp_path: Path) -> None:
    env = {
        "AWS_LAMBDA_FUNCTION_NAME": "deploy", "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/22/[$LATEST]0123456789abcdef",
        "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
        "LD_LIBRARY_PATH": "/var/task/lib", "TZ": ":UTC", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
    }  # fmt: skip
    found = run(server, tmp_path, env)
    assert found["who"] == "deploy/1-5759e988-bd862e3fe1be46a994272793@lambda" and found["after"] is True


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, "f/unknown@lambda"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "_X_AMZN_TRACE_ID": "Parent=1"}, "f/unknown@lambda"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_LOG_STREAM_NAME": "2026/1/1/[$LATEST]ab"}, "f/ab@lambda"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_LOG_STREAM_NAME": "2026/1/1/[7]"}, "f/unknown@lambda"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "a@b\n\ud800"}, "a_b__/unknown@lambda"),
    ],
)
def test_names_in_lambda(env: dict[str, str], name: str) -> None:
    assert own_name(env) == name


@pytest.mark.parametrize("variable", ["LOGNAME", "USER", "LNAME", "USERNAME"])
@pytest.mark.parametrize(
    ("value", "user"),
    [("me", "me"), ("a@b", "a_b"), ("x\x00\n", "x__"), ("\ud800", "_"), ("é" * 300, "é" * 200), ("@", "_")],
)
def test_names_of_users(variable: str, value: str, user: str) -> None:
    found = own_name({variable: value})
    assert found.startswith(f"{user}@") and found.count("@") == 1
    found.encode()


def test_a_name_where_the_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd
    import socket

    def nothing(*_: object) -> str:
        raise KeyError("no entry")

    def no_host() -> str:
        raise OSError("no host")

    monkeypatch.setattr(pwd, "getpwuid", nothing)
    monkeypatch.setattr(socket, "gethostname", no_host)
    assert own_name({}) == "unknown@unknown"
    monkeypatch.setattr(socket, "gethostname", lambda: "")
    assert own_name({}) == "unknown@unknown"


def test_a_name_without_a_password_file_in_any_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pwd", None)
    assert own_name({}).startswith("unknown@")
