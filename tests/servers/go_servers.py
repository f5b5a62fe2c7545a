# SPDX-License-Identifier: MIT
"""Servers built from Go modules: MinIO and versitygw. On demand only: building takes minutes and gigabytes.

Programs are kept in the user's cache folder, outside the checkout. SeaweedFS is left out: the public module
proxy refuses its module.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .processes import STARTED_WITH, Unavailable, answers, clean_environment, free_ports, running
from .venvs import locked

ACCESS_KEY, SECRET_KEY = "testaccess", "testsecret"
PROGRAMS = {
    "minio": "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
    "versitygw": "github.com/versity/versitygw/cmd/versitygw@v1.8.0",
}


def program(name: str) -> Path:
    """The built program; builds it the first time."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unobin-s3-servers"
    folder = base / PROGRAMS[name].rpartition("@")[2]
    with locked(base / f"{name}.lock"):
        if not (folder / name).exists():
            _build(name, folder)
    return folder / name


def _build(name: str, folder: Path) -> None:
    go = shutil.which("go", path=STARTED_WITH.get("PATH"))
    if go is None:
        raise Unavailable(f"no Go toolchain, which {name} is built with")
    env = {**STARTED_WITH, "GOBIN": str(folder), "GOFLAGS": ""}
    words = [go, "install", PROGRAMS[name]]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"go could not build {name}: {done.stderr[-1000:]}")


@contextmanager
def serving(name: str, folder: Path) -> Iterator[str]:
    """Run one of PROGRAMS on a free port with its data in `folder`; yields the S3 URL."""
    port, console = free_ports(2)
    address, data = f"127.0.0.1:{port}", folder / "data"
    data.mkdir()
    if name == "minio":
        more = {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, "MINIO_UPDATE": "off"}
        listen = ["--address", address, "--console-address", f"127.0.0.1:{console}"]
        arguments = ["server", "--quiet", *listen, str(data)]
    else:
        more = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        arguments = ["--port", address, "posix", str(data)]
    env = clean_environment(folder, **more)
    with running(name, [program(name), *arguments], folder=folder, env=env) as server:
        server.wait_until(lambda: answers(port))
        yield f"http://{address}"
