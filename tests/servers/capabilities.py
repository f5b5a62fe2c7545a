# SPDX-License-Identifier: MIT
"""What each server is known to do: the one table that the conformance suite holds every server to.

Rows are guarantees. A server "works" where the table has no entry for it; every other cell says how it falls short,
and where our answer to that is a refusal, it begins with "refused:" and names the error. tests/servers/MATRIX.md is
written from what a run saw, so a cell that changes is seen in a diff.
"""

from __future__ import annotations

WORKS = "works"
NO_EXCLUSION = "refused: ConditionalWritesUnsupported"
NO_LEASE = "refused: LeaseUnsupported"

# Name of the check -> what the README's readers see.
GUARANTEES = {
    "objects": "put, get, head, list and delete",
    "keys": "awkward keys, exact",
    "paging": "long lists, page by page",
    "secret": "a wrong secret is refused",
    "key_id": "an unknown access key is refused",
    "clock": "a clock 20 minutes off is refused, and put right by the client",
    "create": "create only if absent",
    "swap": "replace only if unchanged",
    "guarded_delete": "delete only if unchanged",
    "unlocked_cycle": "state without a lock: write, point, read, list, delete",
    "locked_cycle": "state under the lock, fenced",
    "second_writer": "a second writer is kept out and told who holds the lock",
    "lost_answers": "lost answers: nothing doubled, nothing stuck",
    "exclusion": "8 processes, never two holders, no turn lost",
    "lease": "the lease of a dead holder is taken over, a live one is not",
}

# Name of the server -> how people call it. Sites of one server differ in their bucket.
SITES = {
    "testing": "the built-in testing server",
    "ministack": "MiniStack 1.5.33",
    "moto": "moto 5",
    "rclone": "rclone serve s3",
    "swift": "OpenStack Swift 2.38",
    "ceph": "Ceph RGW",
    "ceph-versioned": "Ceph RGW, versioned bucket",
}
BUILT_FROM_GO = {"minio": "MinIO (2026-02)", "versitygw": "versitygw 1.8.0, posix"}

_CANNOT_LOCK = {
    "locked_cycle": NO_EXCLUSION,
    "second_writer": NO_EXCLUSION,
    "exclusion": NO_EXCLUSION,
    "lease": NO_EXCLUSION,
}
_UNSIGNED = {"secret": "not checked", "key_id": "not checked", "clock": "not checked"}

SHORTFALLS: dict[str, dict[str, str]] = {
    "testing": {},
    "ministack": {},
    "moto": _UNSIGNED,
    "rclone": {"create": "condition ignored", "swap": "condition ignored", "guarded_delete": "condition ignored"}
    | _CANNOT_LOCK,
    "swift": {"swap": "refused: 501 NotImplemented"} | _CANNOT_LOCK,
    "ceph": {"swap": "only with the ETag unquoted", "guarded_delete": "condition ignored", "lease": NO_LEASE},
    "ceph-versioned": {
        "create": "condition ignored",
        "swap": "refused even when right",
        "guarded_delete": "condition ignored",
    }
    | _CANNOT_LOCK,
    "minio": {"guarded_delete": "condition ignored", "lease": NO_LEASE},
    "versitygw": {},
}

# How much is asked of a store in one run: keys in a long list (2,500), turns of each of 8 processes (5).
KEYS = {"swift": 250, "ceph-versioned": 250}
TURNS = {"testing": 50, "ministack": 50, "minio": 50, "versitygw": 50}


def expected(site: str, guarantee: str) -> str:
    return SHORTFALLS[site].get(guarantee, WORKS)
