# SPDX-License-Identifier: MIT
"""One contender in one process: reads commands as JSON lines, answers each with what it took.

`worker.py NAME URL`, run by the contender's own interpreter.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

# At the end: what is installed comes first, also where this tree holds a package of the same name.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks import codec, contenders, signing


def memory(field: str) -> float:
    """MB from the kernel: VmRSS (now) or VmHWM (highest). Elsewhere than on Linux always the highest."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _forget_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def timed(action: Callable[[], object], times: int) -> dict[str, float]:
    """Seconds for one call, of the clock and of the processor."""
    cpu, start = time.process_time(), time.perf_counter()
    for _ in range(times):
        action()
    return {"wall": (time.perf_counter() - start) / times, "cpu": (time.process_time() - cpu) / times}


class Worker:
    def __init__(self, name: str, url: str) -> None:
        self._name, self._url = name, url
        self._bucket = name.replace("_", "-").lower()
        self._made: Any = None
        self._bodies: dict[int, bytes] = {}
        self._snapshots: dict[int, Callable[[str], object]] = {}

    @property
    def contender(self) -> Any:
        if self._made is None:
            self._made = contenders.KINDS[self._name](self._url)
        return self._made

    def put(self, size: int, times: int) -> dict[str, float]:
        body = self._bodies.setdefault(size, os.urandom(1 << 12) * (size >> 12))
        return timed(lambda: self.contender.put(self._bucket, f"object-{size}", body), times)

    def get(self, size: int, times: int) -> dict[str, float]:
        if len(self.contender.get(self._bucket, f"object-{size}")) != size:
            raise ValueError(f"{self._name} got something else than it put")
        return timed(lambda: self.contender.get(self._bucket, f"object-{size}"), times)

    def list(self, keys: int) -> dict[str, float]:
        """Time of a whole listing, and how far memory grew above what a first PUT left behind."""
        self.put(4096, 1)
        _forget_peak()
        before = memory("VmRSS")
        took = timed(lambda: self._count(keys), 1)
        return took | {"memory": memory("VmHWM") - before}

    def _count(self, keys: int) -> None:
        if self.contender.list("list", keys) < keys:
            raise ValueError(f"{self._name} did not list all keys")

    def big(self, size: int) -> dict[str, float]:
        """One PUT and one GET of a large body; the highest memory of the process after each."""
        self.put(4096, 1)
        put = self.put(size, 1)["wall"]
        peak = memory("VmHWM")
        self._bodies.clear()
        return {"put": put, "put memory": peak, "get": self._get_once(size), "get memory": memory("VmHWM")}

    def _get_once(self, size: int) -> float:
        _forget_peak()
        return timed(lambda: self.contender.get(self._bucket, f"object-{size}"), 1)["wall"]

    def prepare(self, bucket: str) -> dict[str, float]:
        self.contender.prepare(bucket)
        return {}

    def cycle(self, bucket: str, times: int) -> dict[str, float]:
        return timed(lambda: self.contender.cycle(bucket), times)

    def sign(self, times: int) -> dict[str, float]:
        return timed(signing.signer(self._name), times)

    def codec(self, size: int, what: str, times: int) -> dict[str, float]:
        if size not in self._snapshots:
            self._snapshots[size] = codec.actions(size)
        return timed(self._snapshots[size](what), times)  # type: ignore[arg-type]


def main(name: str, url: str) -> None:
    worker = Worker(name, url)
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(getattr(worker, command.pop("do"))(**command)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
