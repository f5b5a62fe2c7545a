# SPDX-License-Identifier: MIT
"""A short fuzzing run in the gate, always the same one, and inputs made to cost time or memory."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import CONTENTS, LIST, SEEDS, TARGETS

TOKENS = [
    b"<", b">", b"</", b"/>", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"&#0;", b"&#xD800;", b"&lt;", b"%", b"%00",
    b"%C3", b"{", b"}", b"[", b"]", b'"', b"\\", b"\\ud800", b"\\u0000", b":", b",", b"null", b"true", b"-",
    b"1e999", b"0.1", b"9" * 30, b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r\n", b"\n\n", b"\f", b"\t",
    b"=", b"==", b"Z", b"_1", b"+24:00", b"Infinity", b"etag: ", b"date: ", b"500", b"404", b"200", b"@", b"#",
    b"..", b"/", b"\xc2\x85", b"\xe2\x80\x83",
]  # fmt: skip


def changed(seed: bytes, dice: random.Random) -> bytes:
    """A few cuts, copies, tokens and flipped bytes."""
    data = bytearray(seed)
    for _ in range(dice.choice([1, 1, 2, 3, 8])):
        place, other = dice.randrange(len(data) + 1), dice.randrange(len(data) + 1)
        start, end = sorted((place, other))
        match dice.randrange(5):
            case 0:
                data[place:place] = dice.choice(TOKENS) * dice.choice([1, 1, 1, 50])
            case 1:
                del data[start : min(end, start + dice.choice([1, 4, 10**6]))]
            case 2:
                data[place:place] = data[start:end][:200]
            case 3 if data:
                data[min(place, len(data) - 1)] = dice.randrange(256)
            case _:
                data[start : min(end, start + 3)] = dice.choice(TOKENS)
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_what_is_near_them(name: str) -> None:
    dice = random.Random(name)
    slow = name in ("http_answers", "store_answers", "snapshot")
    for seed in SEEDS[name]:
        TARGETS[name](seed)
        for _ in range(30 if slow else 150):
            TARGETS[name](changed(seed, dice))


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    @settings(derandomize=True, max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join)))
    def run(data: bytes) -> None:
        TARGETS[name](data)

    run()


MEGABYTE = 2**20
COSTLY: dict[str, tuple[str, Callable[[], bytes]]] = {
    "blanks between elements": ("list_page", lambda: b"<ListBucketResult>" + (b" " * 28 + b"<b/>") * 60_000),
    "text between elements": ("error_document", lambda: b"<Error>" + (b"x" * 4 + b"<b/>") * 30_000),
    "nested elements": ("list_page", lambda: b"<a>" * 200_000),
    "elements beyond number": ("list_page", lambda: b"<ListBucketResult>" + b"<a/>" * 300_000),
    "contents in contents": ("list_page", lambda: b"<ListBucketResult>" + b"<Contents><Key>" * 100_000),
    "attributes": ("list_page", lambda: b"<a " + b" ".join(b"a%d=''" % n for n in range(100_000)) + b"/>"),
    "one long name": ("list_page", lambda: b"<" + b"a" * 4 * MEGABYTE),
    "references": ("list_page", lambda: LIST % (b"&#32;" * MEGABYTE)),
    "a large page": ("list_page", lambda: LIST % (CONTENTS * 15_000)),
    "a page over the limit": ("list_page", lambda: LIST % (b" " * 9 * MEGABYTE)),
    "nested arrays": ("snapshot", lambda: b"[" * 4 * MEGABYTE),
    "nested objects": ("envelope", lambda: b'{"a":' * MEGABYTE),
    "nested in a member": ("snapshot", lambda: b'{"format-version":1,"x":' + b"[" * 900 + b"]" * 900 + b"}"),
    "digits": ("snapshot", lambda: b'{"format-version":' + b"9" * 4 * MEGABYTE + b"}"),
    "digits after the point": ("go_json", lambda: b"0." + b"9" * 2 * MEGABYTE),
    "an exponent": ("go_json", lambda: b"1e" + b"9" * 4 * MEGABYTE),
    "many integers": ("go_json", lambda: b"[" + b",".join([b"9" * 299] * 5_000) + b"]"),
    "escapes": ("go_json", lambda: b'"' + b"\\\\" * MEGABYTE + b'\\ud800"'),
    "lone surrogates": ("go_json", lambda: b'"' + b"\\ud800" * 200_000 + b'"'),
    "bytes that are not UTF-8": ("go_json", lambda: b'"' + b"\xff" * MEGABYTE + b'"'),
    "repeated members": ("envelope", lambda: b"{" + b",".join([b'"ciphertext":""'] * 100_000) + b"}"),
    "markers of ciphertext": ("envelope", lambda: b',\n  "ciphertext": "' * 100_000 + b'"\n}\n'),
    "blanks around a pointer": ("pointer", lambda: b" \n" * 16_000 + b"x" + b"\t " * 16_000),
    "a long revision": ("revisions", lambda: b"2026-05-01T10:00:00." + b"0" * MEGABYTE + b"Z_" + b"1" * MEGABYTE),
    "a long suffix": ("revisions", lambda: b"2026-05-01T10:00:00Z_" + b"1" * 4 * MEGABYTE),
    "a long blob": ("kms_blob", lambda: b"\x01" * 4 * MEGABYTE),
    "a long date": ("http_answers", lambda: b"403\ndate: " + b"Sun, " * 12_000 + b"\n\n"),
    "a date of quotes": ("http_answers", lambda: b"403\ndate: " + b'("' * 30_000 + b"\n\n"),
    "a date of digits": ("http_answers", lambda: b"403\ndate: Sun, 06 Nov 1994 " + b"0:" * 30_000 + b"\n\n"),
    "a long redirect": ("http_answers", lambda: b"307\nlocation: https://bucket." + b"a." * 30_000 + b"\n\n"),
    "a long region": ("http_answers", lambda: b"400\nx-amz-bucket-region: " + b"a-" * 30_000 + b"\n\n"),
    "a long config file": ("shared_file", lambda: b"[default]\n" + b"a =\n" + b" b = c\n" * 100_000),
    "a long value": ("shared_file", lambda: b"[default]\na = b\n" + b" c\n" * 30_000),
    "a long URL": ("names", lambda: b"http://" + b"a." * 100_000 + b"/" + b"../" * 100_000),
}


@pytest.mark.parametrize("case", COSTLY)
def test_no_input_costs_much(case: str) -> None:
    """Time and memory in proportion to the input: nothing quadratic is let through, nothing is multiplied."""
    name, make = COSTLY[case]
    data = make()
    began = time.process_time()
    TARGETS[name](data)
    assert time.process_time() - began < 8, "on a loaded machine these take well under two seconds"


@pytest.mark.parametrize(
    "case", ["elements beyond number", "nested arrays", "nested objects", "digits", "a large page"]
)
def test_no_input_takes_much_memory(case: str) -> None:
    name, make = COSTLY[case]
    data = make()
    tracemalloc.start()
    try:
        TARGETS[name](data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * len(data) + MEGABYTE
