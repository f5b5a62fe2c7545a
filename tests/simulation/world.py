# SPDX-License-Identifier: MIT
"""Virtual time, and processes that live in it: greenlets of one thread, resumed in an order that the seed decides.

Nothing here knows of S3. Code under test meets this world as a Clock, and as a transport that waits by `Process.block`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from greenlet import getcurrent, greenlet

from unobin_s3.aws.caller import Clock

EPOCH = 1_800_000_000  # world time 0, in unix seconds
_MOST_EVENTS = 40_000  # a history of this size does not end


class Violation(BaseException):
    """An invariant was broken. No Exception, so that no code under test can swallow it."""


class Crash(BaseException):
    """The process was killed: it runs its `finally` blocks like any Python code, but can reach nothing any more."""


class World:
    """The one clock that all others are derived from, the events to come, and the history so far."""

    def __init__(self, seed: object) -> None:
        self.random = Random(repr(seed))
        self.now = 0.0
        self.history: list[tuple[object, ...]] = []
        self.processes: list[Process] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._failure: BaseException | None = None

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._events, (when, self._count, action))

    def note(self, *words: object) -> None:
        self.history.append((self.now, *words))

    def run(self) -> None:
        """Until nothing is left to happen. Raises what a process raised, a Violation or a bug."""
        self.main = getcurrent()
        try:
            while self._events and self._failure is None:
                if self._count > _MOST_EVENTS:
                    raise Violation("the history does not end")
                self.now, _, action = heappop(self._events)
                action()
            if self._failure is not None:
                raise self._failure
        finally:
            for process in self.processes:
                process.kill()

    def failed(self, error: BaseException) -> None:
        self._failure = self._failure or error


class Process:
    """One run of one program: its own greenlet, its own clocks, and perhaps a sudden end."""

    def __init__(self, world: World, name: str, main: Callable[[Process], None], *, skew: float, tick: int) -> None:
        self.world, self.name = world, name
        self.random = Random(f"{name} {world.random.random()}")
        self.clock = SimClock(self, skew, tick)
        self.dead = False
        self.ended = False
        self.frozen = 0.0  # seconds during which its monotonic clock stood still
        self.stalled = 0.0  # seconds during which it could do nothing, whatever its clocks say
        self.stalls: Callable[[Process], tuple[float, bool]] = lambda _: (0.0, False)
        self._token = 0
        self._greenlet = greenlet(lambda _: self._live(main))
        world.processes.append(self)

    def start(self, when: float) -> None:
        token = self._token
        self.world.at(when, lambda: self.wake(token, None))

    def _live(self, main: Callable[[Process], None]) -> None:
        try:
            main(self)
        except Crash:
            pass
        except BaseException as error:
            self.world.failed(error)
        self.ended = True

    def expect(self) -> int:
        """A token for the wait to come: only a `wake` with it ends that wait, and only the first."""
        self._token += 1
        return self._token

    def block(self) -> Any:
        """Give the world its turn until `wake`; returns what that was given."""
        value = self.world.main.switch()
        self.check()
        return value

    def wake(self, token: int, value: object) -> None:
        if token != self._token or self.dead or self.ended:
            return
        seconds, frozen = self.stalls(self)
        self._token += 1
        if seconds <= 0:
            self._greenlet.switch(value)
            return
        self.world.note(self.name, "is frozen" if frozen else "stalls", f"for {seconds:.1f} s")
        token, resumed = self._token, self.world.now + seconds

        def thaw() -> None:
            if token == self._token and not self.dead:
                self._token += 1
                self.stalled += seconds
                self.frozen += seconds if frozen else 0
                self._greenlet.switch(value)

        self.world.at(resumed, thaw)

    def check(self) -> None:
        if self.dead:
            raise Crash

    def kill(self) -> None:
        """End it here and now: no request, no sleep, no time passes for it any more."""
        if self.dead or self.ended:
            return
        self.dead = True
        if self._greenlet:
            self._greenlet.switch(None)


class SimClock(Clock):
    """One process's view of time: `skew` seconds off, in steps of `tick` nanoseconds."""

    def __init__(self, process: Process, skew: float, tick: int) -> None:
        self._process, self._skew, self._tick = process, skew, tick

    def monotonic(self) -> float:
        return 1000 + self._process.world.now - self._process.frozen

    def time_ns(self) -> int:
        now = int((EPOCH + self._process.world.now + self._skew) * 1e9)
        return now // self._tick * self._tick

    def time(self) -> float:
        return EPOCH + self._process.world.now + self._skew

    def sleep(self, seconds: float, cancel: threading.Event | None = None) -> None:
        process = self._process
        process.check()
        token = process.expect()
        process.world.at(process.world.now + seconds, lambda: process.wake(token, None))
        process.block()

    def random(self) -> float:
        return self._process.random.random()

    def token(self, size: int) -> bytes:
        return self._process.random.randbytes(size)
