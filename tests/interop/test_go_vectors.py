# SPDX-License-Identifier: MIT
"""The Go program against recorded outputs of the Go tool: what makes it a fair stand-in for that tool."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.interop.go_driver import GoError, GoProgram

_FILE = Path(__file__).parents[1] / "state" / "wire_vectors.json"
VECTORS: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
NOOP: dict[str, object] = {"name": "noop"}


def said(outcome: bytes | GoError) -> str:
    # Which struct Go's json package names before the path of a member changed between its patch releases.
    text = str(outcome) if isinstance(outcome, GoError) else outcome.decode()
    return re.sub(r"Go struct field \w+\.", "Go struct field ", text)


def results(go: GoProgram, op: str, cases: list[dict[str, Any]], **arguments: Any) -> list[str]:
    return [said(one) for one in go.batch(op, [case["in"].encode() for case in cases], **arguments)]


def test_snapshots(go: GoProgram) -> None:
    cases = VECTORS["snapshot"]
    expected = [case["decode-err"] or case["encode-err"] or case["encoded"] for case in cases]
    assert results(go, "recode", cases) == [said(text.encode()) for text in expected]
    assert len(cases) > 20


def test_envelopes(go: GoProgram) -> None:
    cases = VECTORS["open"]
    expected = [said((case["err"] or case["body"]).encode()) for case in cases]
    assert results(go, "unseal", cases, encrypter=NOOP, payload_type="state") == expected


def test_sealed_by_env_key(go: GoProgram, keyed: str) -> None:
    case = VECTORS["env-key"]
    encrypter: dict[str, object] = {"name": "env-key", "env-var": keyed}
    assert case["key-base64"] == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # what the fixture sets
    opened = go.batch("unseal", [case["envelope"].encode()], encrypter=encrypter, payload_type="state")
    assert opened == [case["plaintext"].encode()]
    assert go.batch("recode", [case["plaintext"].encode()]) == opened


@pytest.mark.parametrize("case", VECTORS["seal"][:1], ids=lambda case: str(case["name"]))
def test_sealed_by_noop(go: GoProgram, case: dict[str, Any]) -> None:
    sealed = go.batch("seal", [case["body"].encode()], encrypter=NOOP, payload_type="state")
    assert sealed == [case["sealed"].encode()]


def test_hints_of_failed_decryption(go: GoProgram, keyed: str) -> None:
    short = base64.b64encode(bytes(28)).decode()  # a nonce and a tag, so that GCM itself refuses
    cases = [
        {"in": case["in"].replace('"ciphertext":""', f'"ciphertext":"{short}"')} for case in VECTORS["decrypt-hint"]
    ]
    encrypter: dict[str, object] = {"name": "env-key", "env-var": keyed}
    expected = [case["err"] for case in VECTORS["decrypt-hint"]]
    assert results(go, "unseal", cases, encrypter=encrypter, payload_type="state") == expected


def test_history(go: GoProgram) -> None:
    for case in VECTORS["rev-sort"]:
        assert go.call("sort-revisions", texts=case["in"]) == case["out"]


def test_keys(go: GoProgram) -> None:
    cases = VECTORS["path-join"]
    assert go.call("join", parts=[case["parts"] for case in cases]) == [case["key"] for case in cases]


def test_times(go: GoProgram) -> None:
    cases = VECTORS["time"]
    assert results(go, "time", cases) == [case["err"] or case["out-err"] or case["out"] for case in cases]
    origin = (datetime(2026, 5, 1, 10) - datetime(1970, 1, 1)) // timedelta(microseconds=1) * 1000
    cases = VECTORS["rev-format"]
    assert go.call("format-time", nanos=[origin + case["nanos"] for case in cases]) == [case["rev"] for case in cases]


def test_locks(go: GoProgram) -> None:
    texts = [case["json"].encode() for case in VECTORS["lock-encode"]]
    assert go.batch("lock-recode", texts) == texts
    cases = VECTORS["lock-holder-message"]
    assert results(go, "lock-message", cases) == [case["message"] for case in cases]


def test_blanks(go: GoProgram) -> None:
    cases = VECTORS["trim-space"]
    texts = [chr(case["codepoint"]).encode() for case in cases]
    assert [one == b"" for one in go.batch("trim", texts)] == [case["trimmed"] for case in cases]
