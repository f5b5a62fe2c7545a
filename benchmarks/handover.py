# SPDX-License-Identifier: MIT
"""The time from one holder's release to the next holder's lock, with a number of processes that wait.

`handover.py URL BUCKET` is one of them, run by our own interpreter: it takes the lock, holds it, gives it back, rests
and queues again, until its standard input ends. Each round is written as a line: [acquired, released].
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

# Long enough for all others to be waiting in their ordinary poll again, and for the next one to be found before the
# last holder queues anew.
HOLD, REST = 1.2, 1.0


def take_turns(url: str, bucket: str) -> None:
    from unobin_s3 import Credentials, EnvKey, LockCancelled, S3Client, Store, StoreReport

    client = S3Client(region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), endpoint_url=url)
    report = StoreReport(host=client.settings.endpoint.host, bucket=bucket, exclusive=True, leases=True)
    store = Store(
        client, bucket=bucket, factory="network", stack="prod", encrypter=EnvKey("BENCHMARK_KEY"), store_report=report
    )
    over = threading.Event()

    def end() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=end, daemon=True).start()
    while not over.is_set():
        try:
            lock = store.lock(timeout=None, cancel=over)
        except LockCancelled:
            return
        with lock:
            acquired = time.monotonic()
            over.wait(HOLD)
            released = time.monotonic()
        print(json.dumps([acquired, released]), flush=True)
        over.wait(REST)


def measure(
    python: str, env: dict[str, str], url: str, bucket: str, waiting: int, turns: int, asked: Callable[[], int]
) -> tuple[list[float], float]:
    """(seconds of each hand-over, requests per second of each waiter) while `waiting` others want the lock.

    One process more holds it. `asked` tells how many requests the server had.
    """
    command = [python, "-P", str(Path(__file__)), url, bucket]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env) for _ in range(waiting + 1)]
    held: list[tuple[float, float]] = []
    marks: list[tuple[float, int]] = []
    done = threading.Event()

    def read(process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            acquired, released = json.loads(line)
            held.append((acquired, released))
            # The first two turns are left out: some processes were still starting.
            if len(held) in (2, turns + 2):
                marks.append((time.monotonic(), asked()))
            if len(held) == turns + 2:
                done.set()

    readers = [threading.Thread(target=read, args=(process,)) for process in processes]
    for reader in readers:
        reader.start()
    done.wait(60 + 4 * turns)
    for process in processes:
        if process.stdin:
            process.stdin.close()
    for process, reader in zip(processes, readers, strict=True):
        reader.join()
        process.wait()
    held.sort()
    (start, before), (end, after) = marks
    waited = (waiting + 1) * (end - start) - turns * (HOLD + REST)
    gaps = [later[0] - earlier[1] for earlier, later in pairwise(held[1 : turns + 2])]
    return gaps, (after - before) / waited


if __name__ == "__main__":
    take_turns(*sys.argv[1:])
