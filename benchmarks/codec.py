# SPDX-License-Identifier: MIT
"""Writing, sealing, opening and reading a snapshot of about a given size, beside the C encoder and decoder of json."""

from __future__ import annotations

import json
from collections.abc import Callable

from . import contenders


def actions(size: int) -> Callable[[str], Callable[[], object]]:
    from unobin_s3 import EnvKey, decode_snapshot, encode_snapshot, open_envelope, seal

    entries = 1
    while True:
        document = contenders.snapshot_document(entries)
        plain = encode_snapshot(decode_snapshot(json.dumps(document).encode()))
        if len(plain) >= 0.98 * size:
            break
        entries = max(entries + 1, int(entries * size / len(plain)))
    snapshot, encrypter = decode_snapshot(plain), EnvKey("BENCHMARK_KEY")
    sealed = seal(plain, "state", encrypter)
    return {
        "json.dumps": lambda: json.dumps(document, sort_keys=True).encode(),
        "json.loads": lambda: json.loads(plain),
        "encode": lambda: encode_snapshot(snapshot),
        "encode + seal": lambda: seal(encode_snapshot(snapshot), "state", encrypter),
        "decode": lambda: decode_snapshot(plain),
        "open + decode": lambda: decode_snapshot(open_envelope(sealed, "state", encrypter)),
    }.__getitem__
