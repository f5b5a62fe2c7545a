# SPDX-License-Identifier: MIT
"""What lies between a client and the bucket: delay, loss on either way, requests that arrive after they were given up,
and answers that a front end makes up. The transport that the client under test is given is here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unobin_s3.aws.transport import Request, Response
from unobin_s3.errors import TransportError

from .bucket import Effect, SimBucket, locate
from .watch import Trace, Watch
from .world import Process, World

# kind: what happens. "a": it took effect all the same.
FAULTS = ("refused", "lost", "unanswered", "slow", "409", "412", "500", "500a", "502", "502a", "503", "403")
_MADE_UP = {
    "403": (403, "AccessDenied"),
    "409": (409, "ConditionalRequestConflict"),
    "412": (412, "PreconditionFailed"),
    "500": (500, "InternalError"),
    "502": (502, ""),
    "503": (503, "SlowDown"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How often something goes wrong with a request, and what.

    `aim`: a method and the end of a key, of requests that are hit much more often than others. `silence`: how often a
    lost answer is noticed by a time limit only, not by a reset.
    """

    chance: float
    kinds: tuple[str, ...]
    delays: tuple[float, ...] = (40.0,)  # one of them, at most, between giving up and arriving
    aim: tuple[str, str] = ("", "")
    silence: float = 0.2


@dataclass(slots=True)
class Fate:
    """Seconds from the sending. None: it never happens."""

    kind: str
    arrives: float | None
    answered: float | None
    broken: float | None = None


class Network:
    """Carries every request of one world to one bucket."""

    def __init__(self, world: World, bucket: SimBucket, watch: Watch, weather: Weather) -> None:
        self.world, self.bucket, self.watch, self.weather = world, bucket, watch, weather
        self.requests = 0

    def _fate(self, request: Request, key: str) -> Fate:
        random, weather = self.world.random, self.weather
        aimed = request.method == weather.aim[0] and key.endswith(weather.aim[1])
        arrives = 0.004 + 0.05 * random.random()
        answered = arrives + 0.004 + 0.05 * random.random()
        if random.random() >= (0.4 if aimed else weather.chance):
            return Fate("", arrives, answered)
        kind = random.choice(weather.kinds)
        reset = None if random.random() < weather.silence else answered
        if kind == "lost":
            return Fate(kind, None, None, reset)
        if kind == "unanswered":
            return Fate(kind, arrives, None, reset)
        if kind == "late":
            return Fate(kind, answered + random.choice(weather.delays) * random.random(), None, reset)
        if kind == "slow":
            slow = 15 * random.random()
            return Fate(kind, arrives + slow * random.random(), answered + slow)
        conditional = "if-match" in request.headers or "if-none-match" in request.headers
        if kind in ("409", "412") and not conditional:
            kind = "500"
        return Fate(kind, arrives, answered)

    def exchange(self, process: Process, request: Request, limit: float) -> Response:
        process.check()
        world = self.world
        self.requests += 1
        key, _ = locate(request)
        fate = self._fate(request, key)
        trace = self.watch.sending(process, request, key)
        if fate.kind == "refused":
            self._lose(process, process.expect(), 0.02, trace, sent=False)
            return self._received(process, process.block(), trace)
        token = process.expect()
        given_up = limit if fate.broken is None else min(limit, fate.broken)
        if fate.arrives is not None:
            if "late" not in self.weather.kinds:
                fate.arrives = min(fate.arrives, 0.9 * given_up)
            answered = None if fate.answered is None else fate.answered - fate.arrives
            world.at(world.now + fate.arrives, lambda: self._arrive(process, token, request, fate, answered, trace))
        self._lose(process, token, given_up, trace)
        return self._received(process, process.block(), trace)

    def _arrive(
        self, process: Process, token: int, request: Request, fate: Fate, answered: float | None, trace: Trace
    ) -> None:
        """The request reaches the store, whether or not anybody still waits for its answer."""
        made_up = _MADE_UP.get(fate.kind.rstrip("a"))
        effect: Effect | None = None
        if made_up is None or fate.kind.endswith("a"):
            response, effect = self.bucket.apply(request)
            trace.version = self.watch.version
        if made_up is not None:
            status, code = made_up
            response = self.bucket.error(status, code) if code else Response(status, {}, b"<html>bad gateway</html>")
        trace.made_up = trace.made_up or (fate.kind if made_up else "")
        self.world.note(process.name, fate.kind, trace.text, response.status, "applied" if effect else "")
        if effect is not None:
            self.watch.applied(process, effect, trace)
        if answered is not None:
            self.world.at(self.world.now + answered, lambda: process.wake(token, response))

    def _lose(self, process: Process, token: int, after: float, trace: Trace, *, sent: bool = True) -> None:
        def lose() -> None:
            process.wake(token, TransportError("the simulated connection broke", sent=sent))

        self.world.at(self.world.now + after, lose)

    def _received(self, process: Process, value: object, trace: Trace) -> Response:
        if isinstance(value, TransportError):
            self.world.note(process.name, "hears nothing of" if value.sent else "cannot send", trace.text)
            trace.given_up = True
            raise value
        if not isinstance(value, Response):
            raise TypeError(value)
        self.watch.received(process, value, trace)
        return value


class SimTransport:
    """What S3Client takes as its transport."""

    def __init__(self, process: Process, exchange: Callable[[Process, Request, float], Response]) -> None:
        self._process, self._exchange = process, exchange

    def send(
        self, request: Request, *, connect: float, read: float, total: float, limit: int | None = None
    ) -> Response:
        return self._exchange(self._process, request, min(read, total))

    def close(self) -> None:
        """Nothing is kept."""
