# SPDX-License-Identifier: MIT
"""One Python process that takes and releases the lock of a stack again and again: the child of contention.py.

Its one argument is JSON. It prints a line when it is ready, begins when it is sent one, and ends with the number of
times that it found a second holder inside.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from unobin_s3 import Credentials, Noop, S3Client, Store


def contend(store: Store, told: dict[str, Any]) -> int:
    overlaps, marker = 0, Path(told["marker"])
    for _ in range(told["rounds"]):
        with store.lock(timeout=600.0, poll=told["poll"]) as lock:
            try:
                os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                overlaps += 1
            else:
                time.sleep(told["hold"])
                marker.unlink()
            with Path(told["journal"]).open("a") as lines:
                lines.write(f"python {lock.info.id}\n")
        time.sleep(told["rest"])
    return overlaps


def main(argument: str) -> None:
    told = json.loads(argument)
    keys = Credentials(*told["keys"])
    client = S3Client(region="us-east-1", credentials=keys, endpoint_url=told["endpoint"], path_style=True)
    store = Store(client, bucket=told["bucket"], factory=told["factory"], stack=told["stack"], encrypter=Noop())
    store.list()  # loads what is loaded late
    print("ready", flush=True)
    sys.stdin.readline()
    print(contend(store, told))


if __name__ == "__main__":
    main(sys.argv[1])
