# SPDX-License-Identifier: MIT
"""What is measured. Each function is one group of rows; every contender has a turn in each round, in changing order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import cold, handover, venvs
from .peers import Site, delayed, worker
from .stats import Row

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Run:
    """How much of everything: `--quick` is for a look, the full run for the record."""

    site: Site
    wheel: Path
    quick: bool

    def rounds(self, quick: int, full: int) -> int:
        return quick if self.quick else full


def turns(names: Sequence[str], rounds: int) -> Iterator[str]:
    """Every name once a round, in an order that changes (seeded, so that runs are alike)."""
    order = random.Random(6)
    for _ in range(rounds):
        yield from order.sample(names, len(names))


def cold_start(run: Run) -> list[Row]:
    took = Row("cold-start", "Cold start: spawn to first 4 KiB PUT answered over TLS", "ms")
    cpu = Row("cold-cpu", "Processor time until then", "ms")
    cpu.note = (
        "unobin_s3 parses the CA bundle in a thread while httpx is imported: on two processors, that is not waited for."
    )
    memory = Row("cold-memory", "Memory after that PUT", "MB RSS")
    modules = Row("cold-modules", "Modules loaded by then", "modules")
    for name in cold.PUTS:
        cold.start(cold.PUTS[name], run.site.https)
    for name in turns(list(cold.PUTS), run.rounds(7, 21)):
        seconds, busy, loaded, rss = cold.start(cold.PUTS[name], run.site.https)
        took.add(name, seconds * 1e3)
        cpu.add(name, busy * 1e3)
        memory.add(name, rss)
        modules.add(name, loaded)
    bare = Row("cold-no-pyc", "Cold start without .pyc files (read-only or freshly copied code)", "ms")
    for name in turns(list(cold.PUTS), run.rounds(1, 3)):
        bare.add(name, cold.start(cold.PUTS[name], run.site.https, bytecode=False)[0] * 1e3)
    return [_ordered(row, cold.PUTS) for row in (took, cpu, memory, modules, bare)]


def import_only(run: Run) -> list[Row]:
    took = Row("import", "Import only: spawn to imported", "ms", note="unobin_s3 imports httpx at the first request.")
    memory = Row("import-memory", "Memory after the import", "MB RSS")
    for name in turns(list(cold.IMPORTS), run.rounds(7, 21)):
        seconds, _, _, rss = cold.start(cold.IMPORTS[name], "")
        took.add(name, seconds * 1e3)
        memory.add(name, rss)
    return [_ordered(row, cold.IMPORTS) for row in (took, memory)]


def warm(run: Run) -> list[Row]:
    names = ["unobin_s3", "httpx.Client", "minio", "boto3", "obstore", "s3fs"]
    rows: list[Row] = []
    with ExitStack() as running:
        asks = {name: running.enter_context(worker(name, run.site.http)) for name in names}
        for size, times in ((4 * KIB, 100), (MIB, 20)):
            label = "4 KiB" if size == 4 * KIB else "1 MiB"
            for do in ("put", "get"):
                wall = Row(f"{do}-{label.replace(' ', '')}".lower(), f"Warm {do.upper()} {label}", "µs")
                cpu = Row(wall.name + "-cpu", wall.title + ", processor time", "µs")
                for name in names:
                    asks[name](do, size=size, times=10)
                for name in turns(names, run.rounds(7, 21)):
                    got = asks[name](do, size=size, times=times)
                    wall.add(name, got["wall"] * 1e6)
                    cpu.add(name, got["cpu"] * 1e6)
                rows += [_ordered(wall, names), _ordered(cpu, names)]
    return rows


def signing(run: Run) -> list[Row]:
    names = ["unobin_s3", "awscrt", "boto3"]
    row = Row("sign", "Sign one request (SigV4, headers)", "µs", note="boto3: the signer of botocore.")
    with ExitStack() as running:
        asks = {name: running.enter_context(worker(name, run.site.http)) for name in names}
        for name in names:
            asks[name]("sign", times=500)
        for name in turns(names, run.rounds(9, 21)):
            row.add(name, asks[name]("sign", times=2000)["wall"] * 1e6)
    return [_ordered(row, names)]


def listing(run: Run) -> list[Row]:
    names = ["unobin_s3", "obstore", "minio", "boto3", "s3fs"]
    keys = 20_000 if run.quick else 100_000
    took = Row("list", f"List {keys:,} keys ({keys // 1000} pages)", "ms")
    memory = Row("list-memory", "Memory that the listing adds", "MB", note="Objects are counted and dropped.")
    for name in turns(names, run.rounds(1, 3)):
        with worker(name, run.site.http) as ask:
            got = ask("list", keys=keys)
        took.add(name, got["wall"] * 1e3)
        memory.add(name, got["memory"])
    return [_ordered(row, names) for row in (took, memory)]


def codec(run: Run) -> list[Row]:
    """Compared with the C encoder and decoder of the standard library, which does none of the rest."""
    rows = []
    with worker("unobin_s3", run.site.http) as ask:
        for size, times, rounds in ((MIB, 3, run.rounds(7, 21)), (16 * MIB, 1, run.rounds(1, 3))):
            label = f"{size // MIB} MiB"
            write = Row(f"seal-{label.replace(' ', '')}".lower(), f"Write and seal a snapshot of {label}", "ms")
            read = Row(f"open-{label.replace(' ', '')}".lower(), f"Open and read a snapshot of {label}", "ms")
            writes, reads = ["encode + seal", "encode", "json.dumps"], ["open + decode", "decode", "json.loads"]
            for what in turns(writes + reads, rounds):
                row = write if what in writes else read
                row.add(what, ask("codec", size=size, what=what, times=times)["wall"] * 1e3)
            rows += [_ordered(write, writes), _ordered(read, reads)]
    return rows


def large(run: Run) -> list[Row]:
    names = ["unobin_s3", "httpx.Client", "minio", "boto3", "obstore"]
    rows = {
        "put": Row("put-64mib", "PUT 64 MiB", "ms"),
        "put memory": Row("put-64mib-memory", "Highest memory of the process at that PUT", "MB RSS"),
        "get": Row("get-64mib", "GET 64 MiB", "ms"),
        "get memory": Row("get-64mib-memory", "Highest memory of the process at that GET", "MB RSS"),
    }
    for name in turns(names, run.rounds(2, 7)):
        with worker(name, run.site.http) as ask:
            for what, value in ask("big", size=64 * MIB).items():
                rows[what].add(name, value if "memory" in what else value * 1e3)
    return [_ordered(row, names) for row in rows.values()]


def cycle(run: Run) -> list[Row]:
    names = ["unobin_s3", "minio", "boto3"]
    requests = Row("cycle-requests", "Requests of a state cycle", "requests")
    rows = []
    with ExitStack() as running:
        for delay in (0, 20):
            url = running.enter_context(delayed(run.site.port, delay / 1e3)) if delay else run.site.http
            row = Row(f"cycle-{delay}ms", f"State cycle at {delay} ms added round trip", "ms")
            row.note = "Lock, read, write, move the pointer, release. unobin_s3 seals with AES-GCM, the others do not."
            asks = {name: running.enter_context(worker(name, url)) for name in names}
            for name in names:
                asks[name]("prepare", bucket=_bucket(name, delay))
                asks[name]("cycle", bucket=_bucket(name, delay), times=2)
            for name in turns(names, run.rounds(5, 21)):
                before = run.site.counts()[_bucket(name, delay)]
                got = asks[name]("cycle", bucket=_bucket(name, delay), times=1 if delay else 5)
                row.add(name, got["wall"] * 1e3)
                asked = run.site.counts()[_bucket(name, delay)] - before
                requests.add(name, asked / (1 if delay else 5))
            rows.append(_ordered(row, names))
    trips = Row("cycle-trips", "Round trips that a cycle took: its time at 20 ms, in units of 20 ms", "round trips")
    trips.samples = {name: [value / 20 for value in values] for name, values in rows[-1].samples.items()}
    rows.append(trips)
    return [*rows, _ordered(requests, names)]


def _bucket(name: str, delay: int) -> str:
    return f"cycle-{delay}-{name.replace('_', '-')}"


def hand_over(run: Run) -> list[Row]:
    took = Row(
        "handover",
        "Lock hand-over: from release to the next holder",
        "s",
        note="At the default poll of 0.5 s.",
        paired=False,
    )
    rate = Row("handover-requests", "Requests per second of each waiting process", "1/s", paired=False)
    for waiting in (2, 8) if run.quick else (2, 4, 8, 16, 32):
        bucket = f"handover-{waiting}"
        url, env = run.site.http, cold.environment()
        gaps, requests = handover.measure(
            venvs.python("own"), env, url, bucket, waiting, run.rounds(4, 15), partial(_requests, run, bucket)
        )
        for gap in gaps:
            took.add(f"{waiting} waiting", gap)
        rate.add(f"{waiting} waiting", requests)
    return [took, rate]


def _requests(run: Run, bucket: str) -> int:
    return run.site.counts().get(bucket, 0)


def size(run: Run) -> list[Row]:
    unpacked = Row("size", "Installed size with all dependencies, without .pyc", "MB")
    zipped = Row("size-zipped", "The same, zipped", "MB")
    files = Row("size-files", "Files", "files")
    own = venvs.wheel_size(run.wheel)
    for name in ("own", "boto3", "boto3+cryptography", "minio", "obstore", "s3fs"):
        found = venvs.installed_size(name)
        label = "unobin_s3" if name == "own" else name
        ours = own if name == "own" else venvs.Size(0, 0, 0)
        unpacked.add(label, (found.unpacked + ours.unpacked) / 1e6)
        zipped.add(label, (found.zipped + ours.zipped) / 1e6)
        files.add(label, found.files + ours.files)
    wheel = Row("wheel", "Our own wheel, and how many packages come with it", "kB, kB, packages", paired=False)
    wheel.add("wheel", own.zipped / 1e3)
    wheel.add("unpacked", own.unpacked / 1e3)
    wheel.add("packages besides", venvs.packages("own"))
    return [unpacked, zipped, files, wheel]


def _ordered(row: Row, names: Sequence[str] | dict[str, tuple[str, str]]) -> Row:
    row.samples = {name: row.samples[name] for name in names if name in row.samples}
    return row


GROUPS: dict[str, Callable[[Run], list[Row]]] = {
    "cold": cold_start,
    "import": import_only,
    "warm": warm,
    "sign": signing,
    "list": listing,
    "codec": codec,
    "large": large,
    "cycle": cycle,
    "handover": hand_over,
    "size": size,
}
