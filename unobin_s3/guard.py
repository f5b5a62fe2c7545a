# SPDX-License-Identifier: MIT
"""What a Store refuses to take for granted: clear text beside sealed history, another stack's snapshot, no pointer."""

from __future__ import annotations

from .errors import NoCurrentSnapshot, PointerInvalid, PointerMissing, StateError
from .place import Place
from .state.envelope import read_envelope
from .state.snapshot import Snapshot


def refuse_plaintext(place: Place, newest: str, deadline: float) -> None:
    """Raise StateError if `newest` ("": any listed snapshot) is sealed: the caller is about to write clear text."""
    if not newest:
        found = place.client.list_objects_v2(place.bucket, place.layout.snapshots, max_keys=1, deadline=deadline)
        newest = next((rev for item in found if (rev := place.layout.rev_of(item.key))), "")
    if not newest:
        return
    key = place.layout.snapshot(newest)
    name = read_envelope(place.get(key, deadline).body).encrypter_name
    if name not in ("", "noop"):
        raise StateError(
            f"{place.url(key)} is sealed with {name}, and Noop would write clear text beside it; use the same "
            "encrypter, or Store(allow_plaintext=True)",
            bucket=place.bucket, key=key, rev=newest,
        )  # fmt: skip


def check_owner(place: Place, snapshot: Snapshot, rev: str) -> None:
    """Raise StateError if the snapshot says that it is of another factory or stack; "" says nothing."""
    layout = place.layout
    for name, found, own in (
        ("factory", snapshot.factory.name, layout.factory),
        ("stack", snapshot.stack, layout.stack),
    ):
        if found and found != own:
            raise StateError(
                f"the snapshot {rev or 'to be written'} is of {name} {found!r}, and this store is of {own!r}; check "
                "the names (reading: get(rev, any_stack=True) allows it)",
                bucket=place.bucket, key=layout.directory, rev=rev,
            )  # fmt: skip


def absent(place: Place, deadline: float, *, allowed: bool) -> StateError:
    """The error for a missing pointer: is it the first run, or did the pointer get lost? One LIST."""
    found = place.client.list_objects_v2(place.bucket, place.layout.snapshots, max_keys=1, deadline=deadline)
    if next(found, None) is None or allowed:
        return NoCurrentSnapshot(
            f"no current snapshot: nothing was written yet at {place}", bucket=place.bucket, key=place.layout.current
        )
    return PointerMissing(
        f"there are snapshots at {place} but no pointer: a first write was cut short, or somebody deleted it. List "
        "them and point it at one (set_current, or `unobin-s3 rollback REV`), or start anew with allow_missing=True",
        bucket=place.bucket, key=place.layout.current,
    )  # fmt: skip


def dangling(place: Place, rev: str) -> PointerInvalid:
    """The error for a pointer to a snapshot that is not there."""
    return PointerInvalid(
        f"the pointer {place.url(place.layout.current)} names {rev}, and there is no such snapshot; list the snapshots "
        "and point it at one (set_current, or `unobin-s3 rollback REV`)",
        bucket=place.bucket, key=place.layout.current, rev=rev,
    )  # fmt: skip
