# SPDX-License-Identifier: MIT
"""One HTTP exchange. The only importer of httpx, and it imports it when the first client needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """What goes on the wire, byte for byte: nothing is added but framing, nothing is re-encoded."""

    method: str
    scheme: str  # "http" or "https"
    host: str  # as in the Host header: lower case, port only where it is not the scheme's own
    target: str  # path and query, already percent-encoded; no dot segments
    headers: Mapping[str, str]  # lower-case names; without host and content-length, which are derived
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]  # lower-case names; repeated ones joined by ", "
    body: bytes


class Transport(Protocol):
    """Sends one request once. Raises TransportError (`sent` tells whether it may have reached the service)."""

    def send(self, request: Request, *, connect: float, read: float, total: float, limit: int | None = None) -> Response:
        """`connect`, `read` and `total` are seconds; an answer body over `limit` bytes is a TransportError."""

    def close(self) -> None: ...
