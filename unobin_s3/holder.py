# SPDX-License-Identifier: MIT
"""Who holds a lock: the lock's JSON body, read and written, and this process's own name for it. No requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from .state import gojson
from .state.revision import format_time, parse_time

LEASE_MIN, LEASE_MAX = 10, 86400  # seconds
# What a waiter adds to a lease before it takes over: dates of a store are whole seconds, cut off on both sides.
LEASE_MARGIN = 2.0
_USER_VARIABLES = ("LOGNAME", "USER", "LNAME", "USERNAME")
_RUN_URLS = ("CI_JOB_URL", "BUILD_URL", "CIRCLE_BUILD_URL", "BUILDKITE_BUILD_URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockInfo:
    """A lock as it stands in the bucket. Text that could not be read is "", and an unreadable lock has no `id`.

    `lease`: seconds after `last_modified` at which others may take over, None = never. `beat` counts renewals.
    `etag`, `last_modified` and `date` are the store's, from the answer that brought the body.
    """

    id: str = ""
    who: str = ""
    created: str = ""
    lease: int | None = None
    beat: int = 0
    run_url: str = ""
    etag: str = ""
    last_modified: datetime | None = None
    date: datetime | None = None

    @property
    def since(self) -> str:
        """`created` to the second, as messages show it; "" when it is not known."""
        nanos = parse_time(self.created)
        return "" if nanos is None or self.created.startswith("0001-01-01") else format_time(nanos // 10**9 * 10**9)

    @property
    def age(self) -> float | None:
        """Seconds since the last write of the lock, by the store's own clock; None when it did not say."""
        if self.date is None or self.last_modified is None:
            return None
        return (self.date - self.last_modified).total_seconds()

    @property
    def expired(self) -> bool:
        """Whether a lease ran out so surely that it may be taken over. A lock without a lease never expires."""
        return self.lease is not None and self.age is not None and self.age >= self.lease + LEASE_MARGIN

    def renewed(self) -> LockInfo:
        """The same lock one beat later: no two bodies of a lock are equal, and so no two ETags."""
        return replace(self, beat=self.beat + 1)

    def described(self) -> str:
        """Holder and start, for messages."""
        text = f"by {self.who}" if self.who else "by an unknown holder"
        text += f" since {self.since}" if self.since else ""
        text += f", lock id {self.id}" if self.id else ""
        return f"{text}, {self.run_url}" if self.run_url else text


def encode_lock(info: LockInfo) -> bytes:
    """Compact JSON in Go's order; our optional members follow, and Go ignores them."""
    body = gojson.Struct(id=info.id, who=info.who, created=info.created)
    if info.lease is not None:
        body.update(lease=info.lease, beat=info.beat)
    if info.run_url:
        body["run-url"] = info.run_url
    return gojson.dumps(body, indent=False)


def decode_lock(
    body: bytes, *, etag: str = "", last_modified: datetime | None = None, date: datetime | None = None
) -> LockInfo:
    """What can be read of a lock. Never fails: an operator must be able to look at, and clear, any lock."""
    info = LockInfo(etag=etag, last_modified=last_modified, date=date)
    try:
        value = gojson.loads(body)
    except ValueError:
        return info
    if not isinstance(value, dict):
        return info
    lease, beat = value.get("lease"), value.get("beat")
    # type() is: True is an int to isinstance.
    valid = type(lease) is int and LEASE_MIN <= lease <= LEASE_MAX
    return replace(
        info,
        id=_text(value, "id"),
        who=_text(value, "who"),
        created=_text(value, "created"),
        lease=lease if valid else None,
        beat=beat if type(beat) is int and 0 <= beat < 2**63 else 0,
        run_url=_text(value, "run-url"),
    )


def _text(value: Mapping[str, object], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


def own_name(env: Mapping[str, str]) -> str:
    """`user@host`, or in Lambda `function/request@lambda`. Always one `@`; never raises.

    Lambda gives no request id in the environment; the trace id (or else the log stream) tells runs apart there.
    """
    function = env.get("AWS_LAMBDA_FUNCTION_NAME")
    if function:
        trace = re.search(r"Root=([0-9A-Za-z-]+)", env.get("_X_AMZN_TRACE_ID", ""))
        request = trace[1] if trace else env.get("AWS_LAMBDA_LOG_STREAM_NAME", "unknown").rpartition("]")[2]
        return f"{_clean(function)}/{_clean(request)}@lambda"
    return f"{_clean(_user(env))}@{_clean(_host())}"


def run_url(env: Mapping[str, str]) -> str:
    """The page of the CI run that this process belongs to, or ""."""
    if env.get("GITHUB_RUN_ID"):
        server = env.get("GITHUB_SERVER_URL", "https://github.com")
        return f"{server}/{env.get('GITHUB_REPOSITORY', '')}/actions/runs/{env['GITHUB_RUN_ID']}"
    return next((env[name] for name in _RUN_URLS if env.get(name)), "")


def _clean(text: str) -> str:
    """No `@`, no control characters, nothing that UTF-8 cannot hold, and never empty."""
    kept = "".join("_" if char == "@" or not char.isprintable() else char for char in text)
    return kept[:200] or "unknown"


def _user(env: Mapping[str, str]) -> str:
    named = next((env[name] for name in _USER_VARIABLES if env.get(name)), "")
    if named:
        return named
    try:
        import os
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, AttributeError, KeyError, OSError):
        return ""  # a random uid of a container has no entry


def _host() -> str:
    import socket

    try:
        return socket.gethostname()
    except OSError:
        return ""
