# SPDX-License-Identifier: MIT
"""Where one stack lives: client, bucket, keys, and the SSE-KMS key that goes with every put."""

from __future__ import annotations

from typing import NamedTuple

from .aws.s3 import ObjectInfo, S3Client
from .errors import NotFound, ServiceError
from .holder import LockInfo, decode_lock
from .state.layout import Layout

# Seconds that the way out (read back, give back) may take beyond a deadline that has passed.
GRACE = 10.0
_SMALL = 64 * 1024  # pointers and locks are under 1 kB


class Place(NamedTuple):
    """The objects of one stack, each named once. Raises what the client raises."""

    client: S3Client
    bucket: str
    layout: Layout
    kms_key_id: str | None = None
    vouched: bool = False  # a store report says that If-Match is honoured, on DELETE too

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.layout.directory}"

    def url(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def deadline(self, seconds: float | None = None) -> float:
        """A moment of the client's clock; by default that of one public call."""
        return self.client.caller.deadline(seconds)

    def grace(self, deadline: float) -> float:
        """The deadline of the way out: what is left, and at least GRACE seconds from now."""
        return max(deadline, self.deadline(GRACE))

    def create(self, key: str, body: bytes, deadline: float) -> str:
        return self.client.put_object(
            self.bucket, key, body, if_none_match=True, kms_key_id=self.kms_key_id, deadline=deadline
        )

    def replace(self, key: str, body: bytes, etag: str, deadline: float) -> str:
        return self.client.put_object(
            self.bucket, key, body, if_match=etag, kms_key_id=self.kms_key_id, deadline=deadline
        )

    def put(self, key: str, body: bytes, deadline: float) -> str:
        return self.client.put_object(self.bucket, key, body, kms_key_id=self.kms_key_id, deadline=deadline)

    def get(self, key: str, deadline: float, *, verify: bool = False) -> ObjectInfo:
        return self.client.get_object(self.bucket, key, verify=verify, deadline=deadline)

    def get_small(self, key: str, deadline: float) -> ObjectInfo | None:
        """A pointer or lock, or None when it is not there (a missing bucket is an error)."""
        try:
            return self.client.get_object(self.bucket, key, limit=_SMALL, deadline=deadline)
        except NotFound as error:
            if error.code == "NoSuchBucket":
                raise
            return None

    def read_lock(self, deadline: float) -> LockInfo | None:
        """The lock as it stands; one too large to be a lock comes back without an id, but with its ETag."""
        try:
            found = self.get_small(self.layout.lock, deadline)
        except ServiceError as error:
            if error.code != "ResponseTooLarge":
                raise
            found = self.client.head_object(self.bucket, self.layout.lock, deadline=deadline)
        if found is None:
            return None
        return decode_lock(found.body, etag=found.etag, last_modified=found.last_modified, date=found.date)
