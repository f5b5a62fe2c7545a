# SPDX-License-Identifier: MIT
"""What seals a snapshot before it leaves the process: Noop, EnvKey, KMS, and the protocol for one's own.

The only importer of cryptography, and only when a key is used; its exceptions stop here. One algorithm and no options:
AES-256-GCM with a random 96-bit nonce, `nonce || ciphertext || tag`, no additional data, as the Go tool writes it. The
envelope around the result may not live here, nor anything that knows of buckets.
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn, Protocol

from . import environ
from .aws import kms
from .datakeys import DataKeys
from .errors import ConfigurationError, DecryptionError
from .state.gojson import JSONError, Names, decode_base64, loads

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_SIZE = 32
# NIST SP 800-38D: 96 bits is the one nonce length that GCM uses as it is (8.2); the full tag (5.2.1.2).
_NONCE_SIZE = 12
_TAG_SIZE = 16
# The library's limit, below GCM's own of 2^36 - 32. Beyond it the library raises, or panics.
_MAX_SIZE = 2**31 - 1


class Encrypter(Protocol):
    """Seals and opens whole bodies. Implementations must be safe to use from threads."""

    @property
    def name(self) -> str:
        """Recorded in each envelope, and compared with it before anything is opened."""

    @property
    def authenticates(self) -> bool:
        """Whether `decrypt` notices every change of a blob; if not, the object's checksum is verified."""

    def encrypt(self, plaintext: bytes) -> bytes:
        """Seal `plaintext`. Raises ConfigurationError for an unusable key."""

    def decrypt(self, blob: bytes) -> bytes:
        """Open `blob`; nothing is given out before all of it is authenticated.

        Raises DecryptionError whatever is wrong with the blob, ConfigurationError for an unusable key.
        """

    def describe(self) -> tuple[str, Mapping[str, object] | None]:
        """The name, and what the envelope records in clear so that people find the key: never a secret.

        Asked for after `encrypt`, which may learn it.
        """


class Noop:
    """Stores clear text. For trying out, or where the bucket's own encryption is enough."""

    __slots__ = ()
    name = "noop"
    authenticates = False

    def encrypt(self, plaintext: bytes) -> bytes:
        return plaintext

    def decrypt(self, blob: bytes) -> bytes:
        return blob

    def describe(self) -> tuple[str, Mapping[str, object] | None]:
        return self.name, None

    def __repr__(self) -> str:
        return "Noop()"


class EnvKey:
    """AES-256-GCM under a key in an environment variable: standard base64 of exactly 32 bytes.

    `EnvKey("STATE_KEY", "OLD_STATE_KEY")` seals with the first and opens with the first that fits: a key is rotated by
    naming the old one second until every kept snapshot is sealed anew.

    The variable is read at each use (15 microseconds) and nothing of it is kept: a change is seen at once, and no repr,
    pickle or dump of this object can show a key. Unset and empty are the same.

    The key may live long, with a random nonce for each message: NIST SP 800-38D section 8.3 allows 2^32 of them (a
    nonce then repeats with a chance of 2^-32), which is one write a second for 136 years.
    """

    __slots__ = ("_names",)
    name = "env-key"
    authenticates = True

    def __init__(self, env_var: str, *older_names: str) -> None:
        """`older_names` are for reading only. No variable is looked at before it is needed."""
        for name in (env_var, *older_names):
            if not isinstance(name, str) or not name or "=" in name or "\0" in name:
                raise ConfigurationError(f"env-key encrypter: {name!r} cannot be the name of a variable")
        self._names = (env_var, *older_names)

    def encrypt(self, plaintext: bytes) -> bytes:
        """Seal with the first variable's key. Raises ConfigurationError if it is not set or not a key."""
        nonce = secrets.token_bytes(_NONCE_SIZE)
        return nonce + _seal(_env_cipher(self._names[0]), nonce, plaintext)

    def decrypt(self, blob: bytes) -> bytes:
        """Open with the first key that fits; variables that are not set are passed over if any is set."""
        given = [name for name in self._names if environ.read().get(name)] or [self._names[0]]
        for name in given:
            plaintext = _open(_env_cipher(name), blob)
            if plaintext is not None:
                return plaintext
        unset = [name for name in self._names if name not in given]
        tried = " and ".join(given) + (f"; not set: {', '.join(unset)}" if unset else "")
        raise DecryptionError(f"env-key encrypter: {_why(blob)} (tried the key in {tried})")

    def describe(self) -> tuple[str, Mapping[str, object] | None]:
        """The name of the first variable."""
        return self.name, {"env-var": self._names[0]}

    def __repr__(self) -> str:
        return f"EnvKey({', '.join(map(repr, self._names))})"


class KMS:
    """Envelope encryption: AES-256-GCM under a data key that AWS KMS makes and wraps, stored with each blob.

    One data key seals many messages and unwrapped ones are kept, so N writes cost one KMS call, and reading own writes
    none. Both end with `max_age`, one hour: a warm Lambda lives for days, and this long a leaked data key seals, and a
    right that was withdrawn still opens. `max_messages` is 2^20: a random 96-bit nonce then repeats with a chance of
    2^-57. NIST SP 800-38D section 8.3 allows 2^32 and 2^-32; the difference is left for forked children, who inherit
    the key but not the count.

    The blob does not choose its key: it is unwrapped with `key_id`, else with one of `older_keys`, and no other. Needs
    kms:GenerateDataKey to write, kms:Decrypt to read. Safe to use from threads, which get a new key from one call.
    Cannot be pickled.
    """

    name = "kms"
    authenticates = True

    def __init__(
        self,
        key_id: str,
        *,
        region: str | None = None,
        credentials: kms.Identity = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        transport: kms.Wire = None,
        older_keys: Sequence[str] = (),
        config: Mapping[str, object] | None = None,
        max_age: float = 3600.0,
        max_messages: int = 2**20,
    ) -> None:
        """`key_id`: id, ARN, alias or alias ARN. `config`: what the envelope records besides, never a secret.

        An ARN's region beats `region`. Nothing is read or sent before the first use; all else as in S3Client.
        """
        self._key_ids = (key_id, *((older_keys,) if isinstance(older_keys, str) else older_keys))
        for key in self._key_ids:
            if not isinstance(key, str) or not key:
                raise ConfigurationError("kms encrypter: key-id is required, and every older key must be one")
            kms.key_region(key)
        self._config = dict(config or {})
        self._data_keys = DataKeys(
            lambda: kms.connect(key_id, region, credentials, endpoint_url, profile, transport),
            self._key_ids, _aesgcm, max_age, max_messages,
        )  # fmt: skip

    def encrypt(self, plaintext: bytes) -> bytes:
        """Seal; asks KMS for a data key if none is within bounds, and then raises as S3Client does."""
        key = self._data_keys.get()
        return _kms_blob(key.cipher, key.wrapped, secrets.token_bytes(_NONCE_SIZE), plaintext)

    def decrypt(self, blob: bytes) -> bytes:
        """Open; asks KMS to unwrap a data key not lately seen, and then raises as S3Client does."""
        wrapped, payload = _parse_kms_blob(blob)
        key = self._data_keys.get(wrapped)
        plaintext = _open(key.cipher, payload)
        if plaintext is None:
            raise DecryptionError(f"kms encrypter: {_why(payload)} (data key wrapped by {key.arn})")
        return plaintext

    def describe(self) -> tuple[str, Mapping[str, object] | None]:
        """`config` and the key: its ARN once a data key was made, `key_id` as given before that."""
        return self.name, {**self._config, "key-id": self._data_keys.arn or self._key_ids[0]}

    def __repr__(self) -> str:
        return f"KMS({self._key_ids[0]!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a KMS encrypter cannot be pickled: it holds data keys; make one in each process")


# Go's compact JSON, as both tools write it. It is read in place, for the payload may be 64 MiB.
_MEMBERS = Names("version", "encrypted-key", "payload")
_KMS_BLOB = re.compile(rb'\{"version":1,"encrypted-key":"([A-Za-z0-9+/=]*)","payload":"')


def _kms_blob(cipher: AESGCM, wrapped: bytes, nonce: bytes, plaintext: bytes) -> bytes:
    """The nonce is an argument for the vectors' sake; callers pass a fresh random one."""
    # 12 bytes are 16 characters without padding, so nonce and ciphertext need not be joined to be encoded.
    key, head, tail = _text(wrapped), _text(nonce), _text(_seal(cipher, nonce, plaintext))
    return b"".join((b'{"version":1,"encrypted-key":"', key, b'","payload":"', head, tail, b'"}'))


def _text(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)


def _parse_kms_blob(blob: bytes) -> tuple[bytes, bytes]:
    """(wrapped data key, payload); DecryptionError for anything else."""
    head, view = _KMS_BLOB.match(blob), memoryview(blob)
    try:
        if head and blob.find(b'"', head.end()) == len(blob) - 2 and blob.endswith(b'"}'):
            wrapped, payload = decode_base64(view[slice(*head.span(1))]), decode_base64(view[head.end() : -2])
        else:
            wrapped, payload = _parse_other_json(blob)
    except JSONError:
        raise DecryptionError("kms encrypter: not a blob of KMS, or it was cut short or changed") from None
    if not 1 <= len(wrapped) <= kms.MAX_WRAPPED:
        raise DecryptionError(f"kms encrypter: KMS wraps no data key in {len(wrapped)} bytes; it was changed")
    return wrapped, payload


def _parse_other_json(blob: bytes) -> tuple[bytes, bytes]:
    """The same document with blanks, in another order, with other members: Go reads that, so it is read."""
    members, _ = _MEMBERS.split(loads(blob))
    version, key, payload = (members.get(name) for name in ("version", "encrypted-key", "payload"))
    if type(version) is int and version != 1:
        raise DecryptionError(f"kms encrypter: unsupported version {version} (this build expects 1)")
    if type(version) is not int or not isinstance(key, str) or not isinstance(payload, str):
        raise JSONError("not the members of a blob")
    return decode_base64(key), decode_base64(payload)


_HOW_TO = "set it to the base64 of 32 random bytes, for example: head -c32 /dev/urandom | base64"


def _env_cipher(name: str) -> AESGCM:
    aesgcm = _aesgcm()  # first, so that no frame holds the key should the import fail
    key = _parse_key(environ.read().get(name, ""))
    if isinstance(key, str):
        raise ConfigurationError(f"env-key encrypter: {name} {key}; {_HOW_TO}")
    return aesgcm(key)


def _parse_key(text: str) -> bytes | str:
    """The key, or what is wrong: returned, because a traceback with local variables would show what is nearly a key."""
    if not text:
        return "is not set"
    try:
        key = decode_base64(text)
    except JSONError:
        return "is not valid base64 (standard alphabet, with padding, no blanks)"
    return key if len(key) == _KEY_SIZE else f"decodes to {len(key)} bytes, want {_KEY_SIZE}"


def _aesgcm() -> type[AESGCM]:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except BaseException as error:
        # A wheel for another platform ends in ImportError, a missing part in a Rust panic, no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ConfigurationError(
            f"the cryptography package cannot be used here ({type(error).__name__}: {error}); install it for "
            "this Python and platform: python -m pip install --force-reinstall cryptography"
        ) from error
    return AESGCM


def _seal(cipher: AESGCM, nonce: bytes, plaintext: bytes) -> bytes:
    """Ciphertext and tag. The nonce is an argument for the vectors' sake; callers pass a fresh random one."""
    if len(plaintext) > _MAX_SIZE:
        raise ConfigurationError(f"{len(plaintext)} bytes are too many to seal at once (2 GiB)")
    return cipher.encrypt(nonce, plaintext, None)


def _open(cipher: AESGCM, blob: bytes) -> bytes | None:
    """What is in `nonce || ciphertext || tag`, or None if it does not authenticate."""
    from cryptography.exceptions import InvalidTag

    if not _NONCE_SIZE + _TAG_SIZE <= len(blob) <= _MAX_SIZE:
        return None
    view = memoryview(blob)  # no copy of what may be 64 MiB
    try:
        return cipher.decrypt(view[:_NONCE_SIZE], view[_NONCE_SIZE:], None)
    except InvalidTag:
        return None


def _why(blob: bytes) -> str:
    """Why `_open` gave nothing, as far as it can be known. GCM cannot tell a wrong key from changed data."""
    if len(blob) < _NONCE_SIZE + _TAG_SIZE:
        return f"ciphertext shorter than nonce and tag ({len(blob)} bytes): it was cut, or never sealed"
    return "cipher: message authentication failed: it was sealed with another key, or it was changed"
