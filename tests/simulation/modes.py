# SPDX-License-Identifier: MIT
"""One history: a world made from a mode and a seed, run to its end. The same two always give the same history."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from unobin_s3 import Credentials, S3Client, Store, StoreReport, probe
from unobin_s3.aws.settings import Limits

from .actors import FACTORY, STACK, Actor, Habits, SimEncrypter
from .bucket import BUCKET, Manners, SimBucket
from .network import FAULTS, Network, SimTransport, Weather
from .watch import Watch
from .world import Process, Violation, World

HOST = "store.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What kind of worlds to make.

    `report`: the Store is given a kept one; otherwise a won lock is read back. `aim`: requests that often arrive long
    after their sender gave them up.
    """

    amazon: bool = True
    report: bool = True
    lease: bool = False
    operators: bool = False
    late: bool = True
    collects: bool = False
    aim: tuple[str, str] | None = None
    manners: Manners = field(default_factory=Manners)


MODES = {
    "plain": Mode(collects=True),
    "lease": Mode(lease=True),
    "lease-late": Mode(lease=True, aim=("PUT", "/lock")),
    "lease-pointer": Mode(lease=True, aim=("PUT", "/current")),
    "forced": Mode(operators=True),
    "lease-forced": Mode(lease=True, operators=True),
    "reported": Mode(amazon=False),
    "reported-lease": Mode(amazon=False, lease=True),
    "read-back": Mode(amazon=False, report=False),
    "read-back-forced": Mode(amazon=False, report=False, operators=True, lease=True),
    # Ceph's DELETE looks at no condition: a late one removes whatever is there, and nothing can be done about it.
    "ceph": Mode(
        amazon=False, report=False, late=False, manners=Manners(refuses_quotes=True, ignores_delete_condition=True)
    ),
    "localstack": Mode(amazon=False, report=False, late=False, manners=Manners(no_if_match=True)),
}


_AIMS = (("", ""), ("PUT", "/lock"), ("PUT", "/current"), ("PUT", ".enc"), ("DELETE", "/lock"), ("GET", "/lock"))


@dataclass(slots=True)
class Ended:
    """A history that broke nothing, and what happened in it."""

    seen: Counter[str]
    history: list[tuple[object, ...]]


class Broken(AssertionError):
    """A history that broke an invariant; the message is the history."""


def simulate(name: str, seed: int) -> Ended:
    """Run one history. Raises Broken."""
    made = _Made(name, seed)
    with _quiet():
        try:
            made.world.run()
            made.watch.finish(made.crashed)
            made.calm()
        except Violation as broken:
            raise Broken(told(name, seed, str(broken), made.world.history)) from None
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise Broken(told(name, seed, reason, made.world.history)) from error
    made.watch.seen["requests"] = made.network.requests
    return Ended(made.watch.seen, made.world.history)


def told(name: str, seed: int, reason: str, history: list[tuple[object, ...]]) -> str:
    """The history, one line for each event."""
    lines = [f"mode {name}, seed {seed}: {reason}"]
    lines += [f"{now:9.3f} " + " ".join(str(word) for word in words if word != "") for now, *words in history]
    return "\n".join(lines)


class _Made:
    """A world with its bucket, network, watcher and processes."""

    def __init__(self, name: str, seed: int) -> None:
        self.mode = mode = MODES[name]
        self.world = world = World((name, seed))
        self.random = random = Random(f"{seed} {name}")
        manners = mode.manners
        manners = Manners(
            opaque=random.random() < 0.5, absent=random.choice((404, 412)), clock=random.uniform(-100, 100),
            refuses_quotes=manners.refuses_quotes, ignores_delete_condition=manners.ignores_delete_condition,
            no_if_match=manners.no_if_match,
        )  # fmt: skip
        self.watch = Watch(exclusive=not mode.lease and not mode.operators, leases=mode.lease and not mode.operators)
        self.bucket = self.watch.bucket = SimBucket(manners, lambda: world.now)
        kinds = random.sample(FAULTS, random.randint(0 if mode.late else 1, len(FAULTS))) + ["late"] * (
            2 if mode.late else 0
        )
        latest = random.choice((2.0, 15.0, 60.0))
        weather = Weather(
            chance=random.choice((0.02, 0.1, 0.25)),
            kinds=tuple(kinds),
            delays=(0.3, 3.0, latest),
            aim=random.choice(_AIMS),
            silence=random.choice((0.2, 0.2, 0.9)),
        )
        if mode.aim is not None:
            kinds = ["late", *random.choice(((), ("412", "late"), ("503", "unanswered")))]
            weather = Weather(chance=0.02, kinds=tuple(kinds), delays=(60.0,), aim=mode.aim, silence=0.7)
        self.network = Network(world, self.bucket, self.watch, weather)
        self.lease = random.choice((10, 15, 60) if mode.aim is None else (20, 60)) if mode.lease else None
        read, total = random.choice((2, 5, 60)), random.choice((20, 120))
        self.limits = Limits(read=read, total=total) if mode.aim is None else Limits()
        self.crashes = random.choice((0.0, 0.4) if mode.lease else (0.0, 0.0, 0.4))
        self.stalls = random.choice((0.0, 0.02, 0.05)) if mode.lease or mode.operators else 0.0
        self.tick = random.choice((1, 10**9))
        self.skewed = random.random() < 0.5
        for number in range(random.choice((2, 2, 3))):
            self.spawn(f"w{number}", Actor.write_some, 2 * random.random(), random.choice((1, 2, 2)))
        if mode.operators:
            self.spawn("op", Actor.break_locks, 3 * random.random(), 0)
        if random.random() < 0.3:
            self.spawn("reader", Actor.read_some, 3 * random.random(), 0)

    def spawn(self, name: str, life: Callable[[Actor], None], when: float, cycles: int) -> None:
        random = self.random
        skew = random.uniform(-200, 200) if self.skewed else 0.0

        def main(process: Process) -> None:
            life(self.actor(process, cycles))

        process = Process(self.world, name, main, skew=skew, tick=self.tick)
        process.stalls = self.stall
        process.start(when)
        if random.random() < self.crashes:
            self.world.at(when + 12 * random.random(), lambda: self.crash(process, life, cycles))

    def stall(self, process: Process) -> tuple[float, bool]:
        if not self.stalls or self.world.random.random() >= self.stalls:
            return 0.0, False
        return 40 * self.world.random.random(), self.world.random.random() < 0.5

    def crash(self, process: Process, life: Callable[[Actor], None], cycles: int) -> None:
        if process.ended:
            return
        self.world.note(process.name, "crashes")
        process.kill()
        if self.random.random() < 0.7:
            again = f"{process.name}'"
            self.spawn(again, life, self.world.now + 10 * self.random.random(), cycles)

    def actor(self, process: Process, cycles: int) -> Actor:
        client = S3Client(
            region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), env={}, limits=self.limits,
            clock=process.clock, transport=SimTransport(process, self.network.exchange),
            endpoint_url=None if self.mode.amazon else f"http://{HOST}",
        )  # fmt: skip
        client.caller.credentials = None  # unsigned: signatures are tested elsewhere, and take a sixth of the time
        report = StoreReport(host=HOST, bucket=BUCKET, exclusive=True, leases=True)
        if not self.mode.amazon and not self.mode.report:
            probe._proven[client] = {BUCKET: report}  # the proof itself needs threads; what follows it does not
        store = Store(
            client, bucket=BUCKET, factory=FACTORY, stack=STACK, encrypter=SimEncrypter(process.clock.token),
            store_report=report if self.mode.report and not self.mode.amazon else None,
        )  # fmt: skip
        habits = Habits(
            cycles=cycles,
            lease=self.lease,
            total=self.limits.total,
            collects=self.mode.collects,
            slow=bool(self.mode.aim),
        )
        return Actor(process, store, self.watch, habits)

    def crashed(self, id: str) -> bool:
        return any(process.dead and id in view.ids for process, view in self.watch.views.items())

    def calm(self) -> None:
        """Nothing goes wrong any more; an auditor looks at what is left."""
        self.network.weather = Weather(chance=0, kinds=())
        process = Process(self.world, "auditor", lambda process: self.actor(process, 0).audit(), skew=0, tick=1)
        process.start(self.world.now)
        self.world.run()


@contextmanager
def _quiet() -> Iterator[None]:
    """The library's log would cost more than the rest."""
    logger = logging.getLogger("unobin_s3")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
