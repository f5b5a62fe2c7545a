# SPDX-License-Identifier: MIT
"""The data keys of one KMS encrypter: made, unwrapped, kept within bounds. Knows no blob, and no cipher by itself."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from .aws import kms
from .errors import ConfigurationError, DecryptionError, ServiceError, TransportError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEPT = 32  # unwrapped keys; reading history meets about one for each process that wrote it
_PATIENCE = 120.0  # seconds; one call takes no longer
# What KMS says of one key and for certain, so that the next key may be tried.
_OUT_OF_ORDER = {"AccessDeniedException", "NotFoundException", "DisabledException", "KMSInvalidStateException"}
_NOT_THIS_KEY = kms.WRONG_KEY | _OUT_OF_ORDER


class KeptKey:
    """A data key ready for use; `arn` is that of the key that wrapped it. Only the cipher object knows its bytes."""

    def __init__(self, cipher: AESGCM, wrapped: bytes, arn: str, born: tuple[float, float]) -> None:
        self.cipher, self.wrapped, self.arn, self.born = cipher, wrapped, arn, born
        self.messages = 0


class DataKeys:
    """One key to seal with and a few unwrapped ones, each for `max_age` seconds. Safe to use from threads.

    `cipher` gives the class, so that no frame holds a key should its import fail.
    """

    def __init__(
        self,
        connect: Callable[[], kms.Service],
        key_ids: Sequence[str],
        cipher: Callable[[], type[AESGCM]],
        max_age: float,
        max_messages: int,
    ) -> None:
        if not 0 < max_age < math.inf or not 1 <= max_messages <= 2**32:
            raise ConfigurationError("kms encrypter: max_age must be positive seconds, max_messages 1 to 2^32")
        self._connect, self._key_ids, self._cipher = connect, key_ids, cipher
        self._max_age, self._max_messages = max_age, max_messages
        self._service = cache(lambda: self._connect())
        self._sealing: KeptKey | None = None
        self._opened: dict[bytes, KeptKey] = {}  # by wrapped bytes, the least recently used first
        self._new_locks()

    @property
    def arn(self) -> str:
        """Of the key that wrapped the last data key made here; "" before that."""
        return self._sealing.arn if self._sealing else ""

    def get(self, wrapped: bytes | None = None) -> KeptKey:
        """The key that `wrapped` holds, or one to seal one more message with. Threads at once cost one call.

        Raises DecryptionError when none of the key ids wrapped it.
        """
        found = self._find(wrapped)
        if found:
            return found
        if not self._ask.acquire(timeout=_PATIENCE):
            raise TransportError("kms encrypter: another thread still waits for KMS after 2 minutes", sent=False)
        try:
            return self._find(wrapped) or self._asked(wrapped)
        finally:
            self._ask.release()

    def _find(self, wrapped: bytes | None) -> KeptKey | None:
        with self._guard():
            own = self._sealing if self._sealing and not self._too_old(self._sealing) else None
            if wrapped is None:
                if own is None or own.messages >= self._max_messages:
                    return None
                own.messages += 1
                return own
            found = self._opened.pop(wrapped, None)
            if found and not self._too_old(found):
                self._opened[wrapped] = found
                return found
            # Own writes stay readable however many others were read since.
            return own if own and own.wrapped == wrapped else None

    def _asked(self, wrapped: bytes | None) -> KeptKey:
        born = self._instant()  # before the call, so that waiting for it does not lengthen a key's life
        data = kms.generate_data_key(*self._service(), self._key_ids[0]) if wrapped is None else self._unwrap(wrapped)
        key = KeptKey(self._cipher()(data.plaintext), data.wrapped, data.key_arn, born)
        with self._lock:
            self._opened[key.wrapped] = key
            if len(self._opened) > _KEPT:
                del self._opened[next(iter(self._opened))]
            if wrapped is None:
                key.messages, self._sealing = 1, key
        return key

    def _unwrap(self, wrapped: bytes) -> kms.DataKey:
        refusals: list[ServiceError] = []
        for key_id in self._key_ids:
            try:
                return kms.decrypt(*self._service(), wrapped, key_id)
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

    def _instant(self) -> tuple[float, float]:
        """Both clocks: the monotonic one stands still in a frozen Lambda, the other one may be set back."""
        clock = self._service()[0].clock
        return clock.monotonic(), clock.time()

    def _too_old(self, key: KeptKey) -> bool:
        elapsed, wall = self._instant()
        return max(elapsed - key.born[0], wall - key.born[1]) >= self._max_age

    def _new_locks(self) -> None:
        # `_lock` guards the fields and is never held while waiting; who holds `_ask` may ask KMS.
        self._lock, self._ask, self._pid = threading.Lock(), threading.Lock(), os.getpid()

    def _guard(self) -> threading.Lock:
        if self._pid != os.getpid():  # forked, perhaps while a thread that is not here held them
            self._new_locks()
        return self._lock
