# SPDX-License-Identifier: MIT
"""A command line on a testing server: run a command in this process or in another, and check what it printed."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from unobin_s3 import (
    Binding,
    Credentials,
    Encrypter,
    Entry,
    EnvKey,
    FactoryInfo,
    S3Client,
    Snapshot,
    Store,
    StoreReport,
)
from unobin_s3.cli.main import main
from unobin_s3.testing import S3Server

KEYS = {"UB_STATE_KEY": base64.b64encode(bytes(range(32))).decode(), "NEW_KEY": base64.b64encode(bytes(32)).decode()}
SCHEMAS = json.loads(Path(__file__).with_name("schemas.json").read_text())
ROOT = str(Path(__file__).parents[2])


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one document on stdout, which is one line and fits its schema."""
        lines = self.out.splitlines()
        assert len(lines) == 1, self.out
        assert lines[0].isprintable()
        return checked(json.loads(lines[0]))


def checked(document: dict[str, Any]) -> dict[str, Any]:
    """The document, if it fits the schema of its kind."""
    jsonschema.validate(document, {**SCHEMAS[document["kind"]], "$defs": SCHEMAS["$defs"]})
    return document


@dataclass(frozen=True, slots=True)
class Console:
    """Runs commands for the stack `net/prod`. `env` is what the variables say."""

    env: dict[str, str]
    capture: Callable[[], tuple[str, str]]
    patch: pytest.MonkeyPatch

    def __call__(self, *arguments: str, **variables: str) -> Done:
        """In this process. A keyword sets a variable for this run."""
        with self.patch.context() as patch:
            for name, value in (self.env | variables).items():
                patch.setenv(name, value)
            self.capture()
            try:
                code = main(arguments)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            return Done(code, *self.capture())

    def json(self, *arguments: str, **variables: str) -> dict[str, Any]:
        """The document of a command that ends well."""
        done = self(*arguments, "--json", **variables)
        assert done.code == 0, done.err
        return done.document

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
        """In another process; it can be interrupted, and ends as a shell would see it."""
        kept = {"PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": ROOT}
        usual: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [sys.executable, "-m", "unobin_s3", *arguments]
        env = kept | self.env | more.pop("env", {})
        return subprocess.Popen(command, env=env, **usual | more)

    def spawn(self, *arguments: str, **more: Any) -> Done:
        """In another process, to its end."""
        with self.start(*arguments, **more) as process:
            out, err = process.communicate(timeout=60)
        return Done(process.returncode, out.decode(), err.decode())


@dataclass(slots=True)
class Bench:
    """A testing server, the library's own view of its stack, and a console for it."""

    server: S3Server
    run: Console
    encrypter: Encrypter = field(default_factory=lambda: EnvKey("UB_STATE_KEY"))

    def client(self) -> S3Client:
        keys = Credentials(self.server.access_key, self.server.secret_key)
        return S3Client(endpoint_url=self.server.url, region=self.server.region, credentials=keys)

    def store(self, **more: Any) -> Store:
        client = self.client()
        report = StoreReport(host=client.settings.endpoint.host, bucket="state", exclusive=True, leases=True)
        usual: dict[str, Any] = {
            "bucket": "state",
            "factory": "net",
            "stack": "prod",
            "encrypter": self.encrypter,
            "store_report": report,
        }
        return Store(client, **usual | more)

    def write(self, *values: str, **more: Any) -> list[str]:
        """One snapshot for each value, each current in its turn."""
        store, revs = self.store(**more), []
        for value in values:
            with store.lock():
                revs.append(store.write(snapshot(value)))
                store.set_current(revs[-1])
        return revs

    def locked(self) -> bool:
        return any(key.endswith("/lock") for key in self.server.objects())

    def revs(self) -> list[str]:
        """What is there, without a request."""
        start = "net/prod/snapshots/"
        return sorted(key[len(start) : -9] for key in self.server.objects() if key.startswith(start))

    def wait_for(self, seen: Callable[[], object]) -> None:
        """Until another process got so far."""
        end = time.monotonic() + 30
        while not seen():
            assert time.monotonic() < end, "it never came"
            time.sleep(0.01)

    def plant(self, count: int, body: bytes = b"x") -> list[str]:
        """So many snapshots, a minute apart and a year old, the last one current; no request is needed."""
        self.server.now = lambda: 1767225600.0
        revs = [f"2026-01-{day:02}T{hour:02}:{minute:02}:00.000000000Z" for day in range(1, 29) for hour in range(24)
                for minute in range(60)][:count]  # fmt: skip
        for rev in revs:
            self.server.put(f"net/prod/snapshots/{rev}.json.enc", body)
        self.server.put("net/prod/current", f"{revs[-1]}\n".encode())
        self.server.now = time.time
        return revs


def snapshot(value: str = "one", **more: Any) -> Snapshot:
    """A snapshot of `net/prod` with a secret in it."""
    entry = Entry(
        address="resource.db", entry_kind="leaf", category="resource", binding=Binding(alias="aws", kind="db"),
        inputs={"size": 5, "password": f"secret-{value}", "tags": {"Name": value}}, sensitive_inputs=["password"],
        outputs={"url": f"https://{value}.example"}, depends_on=["resource.net"],
    )  # fmt: skip
    usual: dict[str, Any] = {"factory": FactoryInfo(name="net", version="1.2.3"), "stack": "prod", "entries": [entry]}
    return Snapshot(**usual | more)


def variables(url: str, access_key: str, secret_key: str, bucket: str) -> dict[str, str]:
    """The environment of a command for a server."""
    return KEYS | {
        "UNOBIN_S3_BUCKET": bucket, "UNOBIN_S3_FACTORY": "net", "UNOBIN_S3_STACK": "prod",
        "UNOBIN_S3_ENDPOINT_URL": url, "UNOBIN_S3_REGION": "us-east-1", "UNOBIN_S3_ENCRYPTER": "env-key:UB_STATE_KEY",
        "AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key, "TERM": "xterm", "LOGNAME": "ann",
    }  # fmt: skip


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with S3Server(bucket="state") as server:
        env = variables(server.url, server.access_key, server.secret_key, "state")
        yield Bench(server, Console(env, lambda: tuple(capsys.readouterr()), monkeypatch))  # type: ignore[arg-type, return-value]
