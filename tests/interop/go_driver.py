# SPDX-License-Identifier: MIT
"""Builds the Go program in gostore/ once, and speaks to it over JSON lines. No tests, no servers here."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.servers.processes import STARTED_WITH

SOURCE = Path(__file__).parent / "gostore"
OLDEST_GO = (1, 26)


class GoMissing(Exception):
    """There is no Go toolchain, or it is too old; the text says which."""


class GoError(Exception):
    """The Go program refused: its error text; `kind` is no-current, deadline, absent, other or protocol."""

    def __init__(self, message: str, kind: str = "other") -> None:
        super().__init__(message)
        self.kind = kind


def _toolchain() -> tuple[str, str]:
    go = shutil.which("go")
    if go is None:
        raise GoMissing("no `go` command on PATH")
    # GOTOOLCHAIN=local: a toolchain that fetches another one would hide what this machine has.
    command = [go, "env", "GOVERSION"]
    version = subprocess.run(command, env=_go_env(), capture_output=True, text=True, timeout=60).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_GO:
        raise GoMissing(f"go {OLDEST_GO[0]}.{OLDEST_GO[1]} or later is needed, found {version!r}")
    return go, version


def _go_env() -> dict[str, str]:
    return {**STARTED_WITH, "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}


def build() -> Path:
    """The program's path, compiled when its sources or the toolchain changed: two minutes the first time.

    The binary lives in the user's cache folder, outside the tree. Raises GoMissing, or AssertionError with
    the compiler's words.
    """
    go, version = _toolchain()
    digest = hashlib.sha256(version.encode())
    for file in sorted(p for p in SOURCE.rglob("*") if p.suffix in {".go", ".mod", ".sum"}):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unobin-s3-tests"
    binary = cache / f"gostore-{digest.hexdigest()[:20]}"
    if not binary.exists():
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = binary.with_name(f"{binary.name}.{os.getpid()}")
        command = [go, "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-o", str(unfinished), "."]
        made = subprocess.run(command, cwd=SOURCE, env=_go_env(), capture_output=True, text=True, timeout=900)
        if made.returncode != 0:
            raise AssertionError(f"go build failed:\n{made.stderr}")
        unfinished.replace(binary)  # atomic: of two sessions building at once, either result will do
    return binary


class GoProgram:
    """One running program, for one thread. Each call has a limit in seconds, after which it is killed."""

    def __init__(self, binary: Path, env: Mapping[str, str] | None = None) -> None:
        # AWS_* and UB_* of the machine must not reach it; HOME and PATH are all that Go's os/user wants.
        kept = {name: os.environ[name] for name in ("HOME", "PATH", "USER", "TMPDIR") if name in os.environ}
        self._process = subprocess.Popen(
            [str(binary)], env={**kept, **(env or {})}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def call(self, op: str, *, limit: float = 60.0, **arguments: object) -> Any:
        """The program's `ok` value; GoError for its `error`. Argument names have `_` for `-`."""
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise AssertionError("no pipes to the Go program")
        request = {"op": op, **{name.replace("_", "-"): _plain(value) for name, value in arguments.items()}}
        watch = threading.Timer(limit, process.kill)
        watch.start()
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        finally:
            watch.cancel()
        if not line:
            raise AssertionError(f"the Go program ended during {op!r} (limit {limit} s)")
        answer = json.loads(line)
        if "error" in answer:
            raise GoError(answer["error"], answer["kind"])
        return answer["ok"]

    def batch(self, op: str, items: Iterable[bytes], **arguments: Any) -> list[bytes | GoError]:
        """One outcome for each item; the codec operations only."""
        outcomes = self.call(op, items=list(items), **arguments)
        return [GoError(one["error"]) if "error" in one else base64.b64decode(one.get("ok", "")) for one in outcomes]

    def open(
        self,
        endpoint: str,
        bucket: str,
        *,
        stack: str,
        factory: str = "factory",
        prefix: str = "",
        encrypter: Mapping[str, object] | None = None,
        kms_endpoint: str = "",
        keys: tuple[str, str] = ("test", "test"),
        poll: float = 0.5,
        who: str = "",
    ) -> GoStore:
        """A store of one stack. `encrypter` has name (noop, env-key, kms) and env-var, or key-id and body."""
        number = self.call(
            "open",
            endpoint=endpoint,
            bucket=bucket,
            prefix=prefix,
            factory=factory,
            stack=stack,
            encrypter=dict(encrypter or {"name": "noop"}),
            kms_endpoint=kms_endpoint,
            region="us-east-1",
            access_key=keys[0],
            secret_key=keys[1],
            poll_ms=int(poll * 1000),
            who=who,
        )
        return GoStore(self, number)

    def close(self) -> None:
        process = self._process
        if process.stdin is not None:
            process.stdin.close()  # end of input ends it
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


class GoStore:
    """One stack as Go sees it. Snapshots are their stored JSON, as bytes."""

    def __init__(self, program: GoProgram, number: int) -> None:
        self.program = program
        self._number = number

    def call(self, op: str, *, limit: float = 60.0, **arguments: object) -> Any:
        return self.program.call(op, store=self._number, limit=limit, **arguments)

    def write(self, snapshot: bytes, *, rev: str = "") -> str:
        """Stores it; `rev` replaces the clock's base name, to bring about collisions."""
        return str(self.call("write", data=snapshot, rev=rev))

    def set_current(self, rev: str) -> None:
        self.call("set-current", rev=rev)

    def current(self) -> bytes:
        return base64.b64decode(self.call("current"))

    def current_rev(self) -> str:
        return str(self.call("current-rev"))

    def get(self, rev: str) -> bytes:
        return base64.b64decode(self.call("get", rev=rev))

    def list(self) -> list[str]:
        return [str(rev) for rev in self.call("list")]

    def delete(self, rev: str) -> None:
        self.call("delete", rev=rev)

    def lock(self, timeout: float = 30.0) -> str:
        """The lock's id."""
        return str(self.call("lock", limit=timeout + 60, timeout_ms=int(timeout * 1000)))

    def unlock(self) -> None:
        self.call("unlock")

    def force_unlock(self) -> None:
        self.call("force-unlock")


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def in_go(go: GoProgram, op: str, data: bytes, **arguments: Any) -> bytes | None:
    """What the Go program makes of it; None when it refuses."""
    (outcome,) = go.batch(op, [data], **arguments)
    return None if isinstance(outcome, GoError) else outcome
