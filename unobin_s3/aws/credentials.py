# SPDX-License-Identifier: MIT
"""The masked value a request is signed with, and the cache that renews it ahead of its end.

Where credentials come from belongs in providers.py; nothing here reads a file, a variable or the network.
"""

from __future__ import annotations

import logging
import math
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, NoReturn, Protocol, SupportsIndex

from ..errors import ConfigurationError, CredentialsError, UnobinS3Error

logger = logging.getLogger(__name__)

# As botocore: from 15 minutes before the end a renewal is tried, from 10 minutes it is urgent. Sets that live less than
# an hour get a quarter and a sixth of their life, or short ones would be renewed at each request.
ADVISORY, URGENT = 900.0, 600.0
# Seconds until the next try after a failed renewal while the present set still serves.
PAUSE, URGENT_PAUSE = 60.0, 10.0


class Secret(str):
    """A string whose repr is masked, so that dumps of locals, headers and settings hide it. Not picklable."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("secrets cannot be pickled")

    def __deepcopy__(self, memo: object) -> Secret:
        return self


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Credentials:
    """One set of AWS credentials, whole and unchanging. repr and str are masked; pickling raises TypeError.

    Raises ConfigurationError for an empty value, one with blanks, control or non-ASCII characters (mostly a
    trailing line feed), or a time without zone. An empty `session_token` is none; `expires_at` None is never.
    """

    access_key_id: str
    secret_access_key: str
    session_token: str | None
    expires_at: datetime | None

    def __init__(
        self,
        access_key_id: str,
        secret_access_key: str,
        session_token: str | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        # Rebound before anything can fail: these names are what a traceback with locals shows.
        secret_access_key, session_token = _masked(secret_access_key), _masked(session_token) or None
        given = (access_key_id, secret_access_key, session_token, expires_at)
        for name, value in zip(self.__slots__, given, strict=True):
            object.__setattr__(self, name, value)
        for name, value in zip(self.__slots__[:3], given, strict=False):  # when all are there, which repr needs
            seen = isinstance(value, str) and re.fullmatch(r"[\x21-\x7e]+", value)
            if not seen and (name, value) != ("session_token", None):
                raise ConfigurationError(f"{name} is empty, or has a blank, line break or odd character in it")
        if expires_at is not None and expires_at.utcoffset() is None:
            raise ConfigurationError("expires_at has no time zone")

    def __repr__(self) -> str:
        key, end = f"...{str(self.access_key_id)[-4:]}", self.expires_at and self.expires_at.isoformat()
        return f"Credentials({key!r}, '***', session_token={self.session_token!r}, expires_at={end})"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("credentials cannot be pickled; let the other process find its own")

    def __copy__(self) -> Credentials:
        return self

    def __deepcopy__(self, memo: object) -> Credentials:
        return self


def _masked(value: str | None) -> str:
    return Secret(value) if isinstance(value, str) else Secret("")


def parsed(key: str, secret: str, token: str | None, expiration: str | None) -> Credentials | str:
    """Credentials from texts, or what is wrong with them: returned, so that no traceback holds them."""
    try:
        return Credentials(key, secret, token, datetime.fromisoformat(expiration) if expiration else None)
    except ConfigurationError as error:
        return str(error)
    except ValueError:
        return "the expiration is not a time in ISO 8601"


class CredentialSource(Protocol):
    """Where the caller gets what it signs with. Both methods are called from any thread and may block."""

    def get(self) -> Credentials:
        """Raises CredentialsError when there are none, ConfigurationError when the settings make no sense."""

    def renew(self, rejected: Credentials) -> Credentials | None:
        """Called after the service answered ExpiredToken. None: this source has nothing newer."""


class StaticSource:
    """One fixed set; it cannot be renewed."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def get(self) -> Credentials:
        return self._credentials

    def renew(self, rejected: Credentials) -> Credentials | None:
        return None


class _Held(NamedTuple):
    """What is served now, with its times in unix seconds. Replaced whole, so that readers need no lock."""

    credentials: Credentials
    renew_at: float
    urgent_at: float
    expires_at: float

    @classmethod
    def since(cls, now: float, credentials: Credentials) -> _Held:
        end = math.inf if credentials.expires_at is None else credentials.expires_at.timestamp()
        life = end - now
        return cls(credentials, end - min(ADVISORY, life / 4), end - min(URGENT, life / 6), end)


class CachedSource:
    """Keeps what `load` returned and renews it ahead of its end. Thread-safe; one renewal at a time.

    While one thread renews, others are served the present set while it is valid, and wait only if it is not.
    A failed renewal is logged and tried again after a pause; it is raised only when nothing valid is left.
    All that waited for one failed attempt share its failure. `now` gives unix seconds.
    """

    def __init__(self, load: Callable[[], Credentials], now: Callable[[], float]) -> None:
        self._load, self._now = load, now
        self._held: _Held | None = None
        self._rounds = 0  # loads that came to an end, well or not
        self._failure: Exception | None = None  # of the last round
        self._lock, self._pid = threading.Lock(), os.getpid()

    def get(self) -> Credentials:
        """The present set. Raises what `load` raises when there is no valid one."""
        held, rounds = self._held, self._rounds
        if held is not None:
            now = self._now()
            if now < held.renew_at:
                return held.credentials
            if now < held.expires_at:
                return self._renewed_ahead(held, now)
        with self._guard():
            held = self._held
            if held is not None and self._now() < held.expires_at:
                return held.credentials
            return self._round(rounds)

    def renew(self, rejected: Credentials) -> Credentials | None:
        """A set other than `rejected`, whatever its expiry; no load when another thread already got one."""
        rounds = self._rounds
        with self._guard():
            if self._held is not None and self._held.credentials != rejected:
                return self._held.credentials
            if self._rounds != rounds and self._failure is None:
                return None  # somebody asked while this thread waited, and there was nothing newer
            fresh = self._round(rounds)
            return None if fresh == rejected else fresh

    def _renewed_ahead(self, held: _Held, now: float) -> Credentials:
        guard = self._guard()
        if not guard.acquire(blocking=False):
            return held.credentials
        try:
            newer = self._held if self._held is not held else None
            return newer.credentials if newer else self._round(self._rounds)
        except Exception as error:
            pause = PAUSE if now < held.urgent_at else URGENT_PAUSE
            self._held = held._replace(renew_at=min(now + pause, held.expires_at))
            # Only our own messages are known to be free of secrets.
            reason = str(error) if isinstance(error, UnobinS3Error) else type(error).__name__
            left = held.expires_at - now
            logger.warning("AWS credentials not renewed, the present ones last %.0f s more: %s", left, reason)
            return held.credentials
        finally:
            guard.release()

    def _round(self, since: int) -> Credentials:
        """One load, under the lock; or the failure of one that ended after `since`, for those that waited for it."""
        if self._rounds != since and self._failure is not None:
            raise CredentialsError(str(self._failure)) from self._failure
        try:
            fresh = self._load()
            now = self._now()
            if fresh.expires_at is not None and fresh.expires_at.timestamp() <= now:
                raise CredentialsError(
                    f"the AWS credentials just loaded expired at {fresh.expires_at.isoformat()}; "
                    "renew them where they come from, or set this machine's clock"
                )
            self._failure, self._held = None, _Held.since(now, fresh)
            return fresh
        except Exception as error:
            self._failure = error
            raise
        finally:
            self._rounds += 1

    def _guard(self) -> threading.Lock:
        # A child forked while another thread was renewing inherits a lock that nobody will ever release.
        if self._pid != os.getpid():
            self._lock, self._pid = threading.Lock(), os.getpid()
        return self._lock
