# SPDX-License-Identifier: MIT
"""Encrypted, versioned state snapshots in S3, with one fenced pointer and one exclusive lock.

    from unobin_s3 import EnvKey, S3Client, Snapshot, Store

    store = Store(S3Client(), bucket="my-state", factory="network", stack="prod", encrypter=EnvKey("UB_STATE_KEY"))
    with store.lock():
        snapshot = store.current()
        store.set_current(store.write(snapshot))

Everything public is here; what the modules hold besides may change. Importing sends nothing and reads nothing.
"""

from .aws.credentials import Credentials
from .aws.s3 import ObjectInfo, S3Client
from .aws.settings import Limits
from .encrypters import KMS, Encrypter, EnvKey, Noop
from .errors import (
    AccessDenied,
    ConditionalWritesUnsupported,
    ConfigurationError,
    Conflict,
    CredentialsError,
    DecryptionError,
    EnvelopeError,
    LeaseUnsupported,
    LockCancelled,
    LockError,
    LockHeld,
    LockLost,
    NoCurrentSnapshot,
    NotFound,
    OutcomeUnknown,
    PointerInvalid,
    PointerMissing,
    PointerMoved,
    PreconditionFailed,
    ServiceError,
    SnapshotFormatError,
    StateError,
    Throttled,
    TransportError,
    UnobinS3Error,
)
from .holder import LockInfo
from .lock import Lock
from .probe import StoreReport, probe_store
from .state.envelope import open_envelope, seal
from .state.revision import sort_revisions
from .state.snapshot import Binding, Entry, FactoryInfo, Snapshot, decode_snapshot, encode_snapshot
from .store import UNSET, Store

__version__ = "0.1.0"

__all__ = [
    "KMS",
    "UNSET",
    "AccessDenied",
    "Binding",
    "ConditionalWritesUnsupported",
    "ConfigurationError",
    "Conflict",
    "Credentials",
    "CredentialsError",
    "DecryptionError",
    "Encrypter",
    "Entry",
    "EnvKey",
    "EnvelopeError",
    "FactoryInfo",
    "LeaseUnsupported",
    "Limits",
    "Lock",
    "LockCancelled",
    "LockError",
    "LockHeld",
    "LockInfo",
    "LockLost",
    "NoCurrentSnapshot",
    "Noop",
    "NotFound",
    "ObjectInfo",
    "OutcomeUnknown",
    "PointerInvalid",
    "PointerMissing",
    "PointerMoved",
    "PreconditionFailed",
    "S3Client",
    "ServiceError",
    "Snapshot",
    "SnapshotFormatError",
    "StateError",
    "Store",
    "StoreReport",
    "Throttled",
    "TransportError",
    "UnobinS3Error",
    "decode_snapshot",
    "encode_snapshot",
    "open_envelope",
    "probe_store",
    "seal",
    "sort_revisions",
]
