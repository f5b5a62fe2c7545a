# SPDX-License-Identifier: MIT
"""What the README shows is run: its code, its two commands, its tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.store.conftest import KEY, snapshot
from unobin_s3 import EnvKey, S3Client, Store
from unobin_s3.testing import S3Server

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with S3Server(bucket="my-state") as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running.url)
        monkeypatch.setenv("AWS_REGION", running.region)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", running.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", running.secret_key)
        monkeypatch.setenv("UB_STATE_KEY", KEY)
        yield running


def test_the_first_screen() -> None:
    lines = README.splitlines()
    assert lines.index("```python") < 15
    commands = [line for line in lines if line.startswith("python3 -m venv")]
    assert [command.rpartition(" && ")[2] for command in commands] == [
        ".venv/bin/python -m unobin_s3 demo",
        ".venv/bin/python -m pytest",
    ]
    assert all(lines.index(command) < 40 for command in commands)


def test_the_first_code(server: S3Server) -> None:
    for _ in range(2):  # the first run of a stack, and one that finds a state
        exec(BLOCKS[0], {})
    assert len([key for key in server.objects() if "/snapshots/" in key]) == 2
    assert "network/prod/current" in server.objects() and "network/prod/lock" not in server.objects()


def test_leases_and_lambda(server: S3Server) -> None:
    store = Store(S3Client(), bucket="my-state", factory="net", stack="prod", encrypter=EnvKey("UB_STATE_KEY"))
    store.set_current(store.write(snapshot("one")))
    holders: list[str] = []

    def change(state: Any, event: Any) -> Any:
        info = store.lock_info()
        assert info is not None and info.lease == 30
        holders.append(info.who)
        return snapshot(event)

    names: dict[str, Any] = {"store": store, "long_work": lambda: None, "change": change}
    for block in BLOCKS[1:]:
        exec(block, names)
    context = SimpleNamespace(function_name="deploy", aws_request_id="r-1", get_remaining_time_in_millis=lambda: 30_999)
    names["handler"]("two", context)
    assert holders == ["deploy/r-1@lambda"]
    assert store.current() == snapshot("two")


def test_files_that_are_named_exist() -> None:
    for name in re.findall(r"`((?:aws|state|tests|benchmarks)/[\w./-]*|[a-z_]+\.py)`", README):
        assert (ROOT / name).exists() or (ROOT / "unobin_s3" / name).exists(), name


def stores() -> str:
    """The README's table of stores, made from what the servers did (tests/servers/MATRIX.md)."""
    matrix = (ROOT / "tests" / "servers" / "MATRIX.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in matrix.splitlines() if line[:1] == "|"]
    cells = {row[0]: row[1:] for row in rows[2:]}
    words = {"works": "yes"}
    lines = ["| store | snapshots and pointer | lock | lease |", "|---|---|---|---|"]
    for number, name in enumerate(rows[0][1:]):
        columns = ("state without a lock: write, point, read, list, delete", "state under the lock, fenced")
        lease = "the lease of a dead holder is taken over, a live one is not"
        found = [cells[row][number] for row in (*columns, lease)]
        lines.append(f"| {name} | " + " | ".join(words.get(cell, cell) for cell in found) + " |")
    return "\n".join(lines)


def test_the_table_of_stores() -> None:
    assert stores() in README
