# SPDX-License-Identifier: MIT
"""The folder copied into another project, under another name, with the installed one out of reach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import copies

_CYCLE = """
import logging, pickle
import app._vendor.anything as ours
from app._vendor.anything.testing import S3Server

names = []
logging.getLogger("app._vendor.anything").addHandler(logging.Handler())
with S3Server(bucket="state") as server:
    keys = ours.Credentials(server.access_key, server.secret_key)
    client = ours.S3Client(endpoint_url=server.url, region=server.region, credentials=keys, env={})
    store = ours.Store(client, bucket="state", factory="f", stack="s", encrypter=ours.EnvKey("KEY"))
    with store.lock(timeout=5) as lock:
        rev = store.write(ours.decode_snapshot(BODY))
        store.set_current(rev)
        assert store.current() == ours.decode_snapshot(BODY)
        second = ours.Store(client, bucket="state", factory="f", stack="s", encrypter=ours.EnvKey("KEY"))
        try:
            second.lock(timeout=0)
        except ours.LockHeld as held:
            again = pickle.loads(pickle.dumps(held))
            assert (type(again), again.id, str(again)) == (ours.LockHeld, lock.info.id, str(held))
    assert store.lock_info() is None
    client.close()
own = {name for name in sys.modules if name.startswith("app._vendor.anything")}
assert len(own) > 20 and not any("unobin_s3" in name for name in sys.modules)
print("cycle done", rev.endswith("Z"))
"""
_TWO = """
import app._vendor.anything as one
import elsewhere.other as two
from app._vendor.anything.testing import S3Server

with S3Server(bucket="state") as server:
    for ours in (one, two):
        keys = ours.Credentials(server.access_key, server.secret_key)
        client = ours.S3Client(endpoint_url=server.url, region=server.region, credentials=keys, env={})
        stores = [ours.Store(client, bucket="state", factory="f", stack="s", encrypter=ours.Noop())]
        with stores[0].lock(timeout=5):
            stores[0].set_current(stores[0].write(ours.decode_snapshot(BODY)))
        client.close()
    assert one.LockHeld is not two.LockHeld
    try:
        two.S3Client(endpoint_url="nonsense", env={}).settings.endpoint
    except two.ConfigurationError as error:
        assert not isinstance(error, one.UnobinS3Error)
print("two done", one.Store.__module__, two.Store.__module__)
"""
_SNAPSHOT = (
    b'{"format-version":1,"factory":{"name":"f","version":"","content-revision":""},"stack":"s",'
    b'"generated-at":"2026-05-01T10:00:00Z","entries":[]}'
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another project's folder with two copies. Nothing of it is a package of ours; only relative imports hold it."""
    root = tmp_path_factory.mktemp("project")
    for place in ("app/_vendor/anything", "elsewhere/other"):
        copies.copy_package(root / place)
    return root


def python(project: Path, code: str) -> str:
    script = f"{copies.HIDE}\nsys.path.insert(0, {str(project)!r})\nBODY = {_SNAPSHOT!r}\n{code}"
    env = {"KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "HOME": str(project)}
    words = [sys.executable, "-P", "-W", "error", "-c", script]
    done = subprocess.run(words, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_whole_cycle(project: Path) -> None:
    assert python(project, _CYCLE) == "cycle done True"


def test_two_copies_in_one_process(project: Path) -> None:
    assert python(project, _TWO) == "two done app._vendor.anything.store elsewhere.other.store"


def test_errors_cross_processes(project: Path) -> None:
    """Pickled in one process and read in another: every class, with what it declares."""
    code = """
import base64, pickle
import app._vendor.anything.errors as errors
kinds = sorted((k for k in vars(errors).values() if isinstance(k, type) and k.__module__ == errors.__name__), key=str)
"""
    made = "print(base64.b64encode(pickle.dumps([k('what happened') for k in kinds])).decode())"
    pickled = python(project, code + made)
    read = f"back = pickle.loads(base64.b64decode({pickled!r}))\n"
    read += "print([type(b) for b in back] == kinds, {str(b) for b in back}, len(kinds) > 20)"
    assert python(project, code + read) == "True {'what happened'} True"


def test_commands(project: Path) -> None:
    """`python -m` on the copy speaks of itself by the copy's name."""
    words = [sys.executable, "-P", "-m", "app._vendor.anything", "--help"]
    env = {"PYTHONPATH": str(project)}
    done = subprocess.run(words, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout.lower()


# Side by side, for most of their time is waiting. Two rows of the table of faults wait out 8 s; `python -m tests.long
# versions --vendored` runs them, and the rest of the suite.
SUITE = (["tests/aws"], ["tests/state"], ["tests/store", "-k", "not (renew and (409 or 503))"])


def test_the_suite_of_a_copy(project: Path) -> None:
    """The tests of aws/, state/ and the store as they stand, but for the name that they import."""
    copies.copy_suite(project, copies.COPY)
    logs = [project / f"{number}.log" for number in range(len(SUITE))]
    started = [copies.start_copied_suite(project, part, log) for part, log in zip(SUITE, logs, strict=True)]
    ends = [one.wait() for one in started]
    printed = [log.read_text() for log in logs]
    assert ends == [0] * len(SUITE), "\n".join(text[-3000:] for text in printed)
    assert sum(map(copies.passed, printed)) > 2000
