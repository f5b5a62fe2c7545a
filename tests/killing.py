# SPDX-License-Identifier: MIT
"""Writers that are killed with SIGKILL at random moments, and what must be true after each of them.

`Forge` is a process that has everything imported and forks a writer for each order, so that a kill costs
milliseconds; it runs this file by path. `Trial` gives the orders, reads meanwhile, and checks.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # and not this folder, whose names are the tests'

from unobin_s3 import (  # noqa: E402 - after the path
    Credentials,
    Entry,
    EnvKey,
    FactoryInfo,
    LockHeld,
    PointerMoved,
    S3Client,
    Snapshot,
    Store,
    StoreReport,
)
from unobin_s3.state.snapshot import Binding  # noqa: E402
from unobin_s3.testing import S3Server  # noqa: E402

KEY_VARIABLE, KEY = "UB_STATE_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
PHASES = ("lock", "read", "write", "point", "release")
FACTORY, STACK = "net", "prod"


@dataclass(frozen=True)
class Place:
    """A bucket on a server: what a process needs to get there."""

    url: str
    access_key: str
    secret_key: str
    region: str
    bucket: str

    def store(self) -> Store:
        credentials = Credentials(self.access_key, self.secret_key)
        client = S3Client(region=self.region, credentials=credentials, endpoint_url=self.url, env={})
        report = StoreReport(host=urlsplit(self.url).netloc, bucket=self.bucket, exclusive=True, leases=True)
        return Store(
            client,
            bucket=self.bucket,
            factory=FACTORY,
            stack=STACK,
            encrypter=EnvKey(KEY_VARIABLE),
            store_report=report,
        )


def numbered(number: int, size: int) -> Snapshot:
    entry = Entry(
        address="resource.a", entry_kind="leaf", category="resource", binding=Binding(alias="a", kind="b"),
        outputs={"filling": "x" * size},
    )  # fmt: skip
    return Snapshot(
        factory=FactoryInfo(name=FACTORY), stack=STACK, entries=[entry], outputs={"number": number, "size": size}
    )


def number_in(snapshot: Snapshot) -> int:
    """The number, if the snapshot is one that a writer made, whole."""
    number, size = snapshot.outputs["number"], snapshot.outputs["size"]
    if type(number) is not int or snapshot != numbered(number, size):
        raise AssertionError("a snapshot that nobody wrote")
    return number


# The writer's side


def serve() -> None:
    """Fork a writer for each order on standard input, kill it after the time it says, tell what it told."""
    place = Place(**json.loads(sys.stdin.readline()))
    warm = place.store()  # a first use imports much; after it a writer begins at once
    warm.delete(warm.write(warm.current()))
    warm.place.client.close()
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            try:
                _write_for_ever(place, order, writing)
            except BaseException as error:
                os.write(writing, f"failed {error!r}\n".encode())
            os._exit(1)
        os.close(writing)
        told = os.read(reading, 65536)  # waits for its first word
        time.sleep(order["seconds"])
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        while more := os.read(reading, 65536):
            told += more
        os.close(reading)
        print(json.dumps(told.decode().split("\n")[:-1]), flush=True)


def _write_for_ever(place: Place, order: dict[str, Any], to: int) -> None:
    def tell(text: str) -> None:
        os.write(to, text.encode() + b"\n")

    store = place.store()
    while True:
        tell("lock")
        lock = store.lock(timeout=0, lease=order["lease"])
        tell("read")
        number = number_in(store.current()) + 1
        tell("write")
        rev = store.write(numbered(number, order["size"]))
        tell(f"written {rev} {number}")
        tell("point")
        store.set_current(rev)
        tell(f"pointed {number}")
        tell("release")
        lock.release()


# The other side


class Forge:
    def __init__(self, place: Place) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, KEY_VARIABLE: KEY}, start_new_session=True,
        )  # fmt: skip
        self._say(vars(place))

    def _say(self, what: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def kill_one(self, meanwhile: Callable[[], object], **order: object) -> list[str]:
        """What the writer told until it was killed. `meanwhile` is called again and again."""
        assert self._process.stdout is not None
        self._say(order)
        while not select.select([self._process.stdout], [], [], 0.003)[0]:
            meanwhile()
        told: list[str] = json.loads(self._process.stdout.readline())
        return told

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@dataclass
class Figures:
    """What happened; two of them add up."""

    kills: int = 0
    reads: int = 0  # by the reader that looked on
    locks_left: int = 0
    orphans: int = 0  # snapshots that were written whole and never pointed at
    phases: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            self.kills + other.kills, self.reads + other.reads, self.locks_left + other.locks_left,
            self.orphans + other.orphans, self.phases + other.phases,
        )  # fmt: skip

    def __str__(self) -> str:
        hit = ", ".join(f"{phase} {self.phases[phase]}" for phase in PHASES)
        return (
            f"{self.kills} kills ({hit}); {self.locks_left} locks left behind, {self.orphans} orphans, "
            f"{self.reads} reads meanwhile: every state whole, every next writer in"
        )


class Trial:
    """One stack on one server, killed writer after killed writer. Every broken promise is an AssertionError."""

    def __init__(self, place: Place, seed: int) -> None:
        self._dice, self.figures = random.Random(seed), Figures()
        self._reader, self._next = place.store(), place.store()
        self._seen = 0
        self._size = 0
        self._next.set_current(self._next.write(numbered(1, 0)))
        self.get_in(1)
        began = time.monotonic()
        self.get_in(1)
        self.span = 2.5 * (time.monotonic() - began)  # about two cycles: the first takes longer
        self.forge = Forge(place)

    def kill(self, *, lease: int | None = None) -> None:
        """Let a writer work and die, and look at what it left. The lock may be there afterwards."""
        self._size = self._dice.choice([0, 3_000, 100_000])
        told = self.forge.kill_one(
            self._read, lease=lease, size=self._size, seconds=self._dice.random() * self.span
        )  # fmt: skip
        words = [line.split() for line in told]
        assert all(word[0] != "failed" for word in words), told
        self.figures.kills += 1
        self.figures.phases[[word[0] for word in words if word[0] in PHASES][-1]] += 1
        pointed = max([int(word[1]) for word in words if word[0] == "pointed"], default=0)
        assert self._read() >= pointed, "an acknowledged pointer move is gone"
        for word in words:
            if word[0] == "written":
                assert number_in(self._reader.get(word[1])) == int(word[2]), "an acknowledged write is gone"
        self.figures.locks_left += self._reader.lock_info() is not None

    def get_in(self, times: int = 3) -> None:
        """The next writer is in at once: a lock in its way is a dead one, and is removed by its id."""
        for _ in range(times):
            try:
                lock = self._next.lock(timeout=0)
            except LockHeld as held:
                self._next.force_unlock(id=held.id)
                continue
            with lock:
                number = number_in(self._next.current()) + 1
                rev = self._next.write(numbered(number, self._size))
                try:
                    self._next.set_current(rev)
                except PointerMoved:
                    continue  # by a request that its dead sender had already sent
            assert self._read() == number
            return
        raise AssertionError("the next writer did not get in")

    def take_over(self, pass_time: Callable[[], None]) -> None:
        """The next writer is refused while the lease lasts, and is in at once when it is over."""
        if self._reader.lock_info() is not None:
            try:
                self._next.lock(timeout=0).release()
                raise AssertionError("a lease that lasts was not respected")
            except LockHeld:
                pass
        pass_time()
        with self._next.lock(timeout=0):
            number = number_in(self._next.current()) + 1
            self._next.set_current(self._next.write(numbered(number, 0)))
        assert self._read() == number

    def close(self) -> Figures:
        """Every snapshot there is must open: none is there in part."""
        self.forge.close()
        revs = self._reader.list()
        numbers = [number_in(self._reader.get(rev)) for rev in revs]
        self.figures.orphans = len(numbers) - len(set(numbers))
        self._reader.place.client.close()
        self._next.place.client.close()
        return self.figures

    def _read(self) -> int:
        number = number_in(self._reader.current())
        assert number >= self._seen, "the state went back"
        self._seen = number
        self.figures.reads += 1
        return number


def kill_many(place: Place, kills: int, seed: int) -> Figures:
    """Writers without a lease; each next one gets in at once, by force where a lock was left."""
    trial = Trial(place, seed)
    for _ in range(kills):
        trial.kill()
        trial.get_in()
    return trial.close()


def kill_holders(kills: int, seed: int) -> Iterator[Figures]:
    """Writers with a lease of ten seconds, which take none: the store's clock is moved on by hand.

    Fifty on each server, so that its clock stays within the quarter of an hour that signatures allow.
    """
    for start in range(0, kills, 50):
        yield _kill_some_holders(min(50, kills - start), seed + start)


def _kill_some_holders(kills: int, seed: int) -> Figures:
    offset = 0.0

    def pass_time() -> None:
        nonlocal offset
        offset += 14.0

    with S3Server(now=lambda: time.time() + offset) as server:
        trial = Trial(Place(server.url, server.access_key, server.secret_key, server.region, "state"), seed)
        for _ in range(kills):
            trial.kill(lease=10)
            trial.take_over(pass_time)
        return trial.close()


@contextmanager
def server_process(folder: Path) -> Iterator[Place]:
    """The testing server in a process of its own, which keeps its objects in files."""
    command = [sys.executable, "-m", "unobin_s3.testing", "--directory", str(folder / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline() for _ in range(5)]
            told = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines if "=" in line)
            yield Place(
                told["AWS_ENDPOINT_URL_S3"], told["AWS_ACCESS_KEY_ID"], told["AWS_SECRET_ACCESS_KEY"],
                told["AWS_REGION"], "state",
            )  # fmt: skip
        finally:
            process.terminate()


if __name__ == "__main__":
    serve()
