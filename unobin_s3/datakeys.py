# SPDX-License-Identifier: MIT
"""The data keys of one KMS encrypter: made, unwrapped, kept within bounds. Knows no cipher and no blob."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from .aws import kms
from .errors import ConfigurationError, DecryptionError, ServiceError, TransportError

Cipher = TypeVar("Cipher")

_KEPT = 32  # unwrapped keys; reading history meets about one for each process that wrote it
_PATIENCE = 120.0  # seconds; one call takes no longer
# What KMS says of one key and for certain, so that the next key may be tried.
_NOT_THIS_KEY = kms.WRONG_KEY | {
    "AccessDeniedException",
    "NotFoundException",
    "DisabledException",
    "KMSInvalidStateException",
}


@dataclass(slots=True, repr=False, eq=False)
class KeptKey(Generic[Cipher]):
    """A data key ready for use. Only the cipher object knows its bytes."""

    cipher: Cipher
    wrapped: bytes
    arn: str  # of the key that wrapped it
    born: tuple[float, float]
    messages: int = 0


class DataKeys(Generic[Cipher]):
    """One key to seal with and a few unwrapped ones, each for `max_age` seconds. Safe to use from threads."""

    def __init__(
        self,
        connect: Callable[[], kms.Service],
        key_ids: Sequence[str],
        cipher: Callable[[], Callable[[bytes], Cipher]],
        *,
        max_age: float,
        max_messages: int,
    ) -> None:
        if not 0 < max_age < math.inf or not 1 <= max_messages <= 2**32:
            raise ConfigurationError("kms encrypter: max_age must be positive seconds, max_messages 1 to 2^32")
        self._connect, self._key_ids, self._cipher = connect, key_ids, cipher
        self._max_age, self._max_messages = max_age, max_messages
        self._service: kms.Service | None = None
        self._sealing: KeptKey[Cipher] | None = None
        self._opened: dict[bytes, KeptKey[Cipher]] = {}  # by wrapped bytes, the least recently used first
        self._new_locks()

    @property
    def arn(self) -> str:
        """Of the key that wrapped the last data key made here; "" before that."""
        return self._sealing.arn if self._sealing else ""

    def for_sealing(self) -> KeptKey[Cipher]:
        """The key for one more message. Threads that need a new one at once cost one call."""
        key = self._take()
        if key is None:
            with self._asking() as service:
                key = self._take()
                if key is None:
                    key = self._keep(lambda: kms.generate_data_key(*service, self._key_ids[0]), service)
                    key.messages = 1
                    self._sealing = key
        return key

    def for_opening(self, wrapped: bytes) -> KeptKey[Cipher]:
        """The key that `wrapped` holds. Raises DecryptionError when none of the key ids wrapped it."""
        key = self._find(wrapped)
        if key is None:
            with self._asking() as service:
                key = self._find(wrapped)
                if key is None:
                    key = self._keep(lambda: self._unwrap(service, wrapped), service)
        return key

    def _take(self) -> KeptKey[Cipher] | None:
        with self._guard():
            key = self._sealing
            if key is None or key.messages >= self._max_messages or self._too_old(key):
                return None
            key.messages += 1
            return key

    def _find(self, wrapped: bytes) -> KeptKey[Cipher] | None:
        with self._guard():
            key = self._opened.pop(wrapped, None)
            if key is not None and not self._too_old(key):
                self._opened[wrapped] = key
                return key
            own = self._sealing  # however many others were read since it was made
            return own if own is not None and own.wrapped == wrapped and not self._too_old(own) else None

    def _keep(self, ask: Callable[[], kms.DataKey], service: kms.Service) -> KeptKey[Cipher]:
        born = _instant(service)  # before the call, so that waiting for it does not lengthen a key's life
        data = ask()
        key = KeptKey(self._cipher()(data.plaintext), data.wrapped, data.key_arn, born)
        with self._lock:
            self._opened[key.wrapped] = key
            if len(self._opened) > _KEPT:
                del self._opened[next(iter(self._opened))]
        return key

    def _unwrap(self, service: kms.Service, wrapped: bytes) -> kms.DataKey:
        refusals: list[ServiceError] = []
        for key_id in self._key_ids:
            try:
                return kms.decrypt(*service, wrapped, key_id)
            except ServiceError as error:
                if error.code not in _NOT_THIS_KEY:
                    raise
                refusals.append(error)
        for refusal in refusals:  # a missing right or key is what to mend first
            if refusal.code not in kms.WRONG_KEY:
                raise refusal
        raise DecryptionError(
            f"kms encrypter: decrypt data key: {'; '.join(map(str, refusals))} "
            "(keys that sealed older snapshots belong in older_keys)"
        )

    def _too_old(self, key: KeptKey[Cipher]) -> bool:
        now = _instant(self._service) if self._service else key.born
        return max(now[0] - key.born[0], now[1] - key.born[1]) >= self._max_age

    def _new_locks(self) -> None:
        # `_lock` guards the fields and is never held while waiting; who holds `_ask` may ask KMS.
        self._lock, self._ask, self._pid = threading.Lock(), threading.Lock(), os.getpid()

    def _guard(self) -> threading.Lock:
        if self._pid != os.getpid():  # forked, perhaps while a thread that is not here held them
            self._new_locks()
        return self._lock

    @contextmanager
    def _asking(self) -> Iterator[kms.Service]:
        if not self._ask.acquire(timeout=_PATIENCE):
            raise TransportError("kms encrypter: another thread still waits for KMS after 2 minutes", sent=False)
        try:
            self._service = self._service or self._connect()
            yield self._service
        finally:
            self._ask.release()


def _instant(service: kms.Service) -> tuple[float, float]:
    """Both clocks: the monotonic one stands still in a frozen Lambda, the other one may be set back."""
    clock = service[0].clock
    return clock.monotonic(), clock.time()
