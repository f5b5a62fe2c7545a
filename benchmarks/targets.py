# SPDX-License-Identifier: MIT
"""What this project wants to reach, and whether a run did."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from .stats import Row

OURS = "unobin_s3"
# CPython's C encoder of JSON indents from 3.13 on; before, what indents runs as Python code.
_SEAL = 1.8 if sys.version_info >= (3, 13) else 2.5


@dataclass(frozen=True)
class Target:
    """`row` of `ours` by that of `theirs` (the value itself where there is no `theirs`) must be at most `limit`."""

    row: str
    limit: float
    theirs: str = ""
    ours: str = OURS
    inverse: bool = False  # theirs by ours, at least `limit`
    plus: float = 0.0  # taken off the value first, such as the size of the body from the memory

    @property
    def wanted(self) -> str:
        sign = "≥" if self.inverse else "≤"
        return f"{sign} {self.limit:g} x {self.theirs}" if self.theirs else f"{sign} {self.limit:g}"

    def value(self, rows: dict[str, Row]) -> float | None:
        row = rows.get(self.row)
        if row is None:
            return None
        if not self.theirs:
            found = row.median(self.ours)
            return None if found is None else found - self.plus
        return row.ratio(self.theirs, self.ours) if self.inverse else row.ratio(self.ours, self.theirs)

    def met(self, value: float) -> bool:
        return value >= self.limit if self.inverse else value <= self.limit


TARGETS = (
    Target("cold-start", 0.36, "boto3"),
    Target("cold-start", 0.60, "minio"),
    Target("cold-start", 0.85, "httpx.Client"),
    Target("cold-start", 0.40, "boto3", ours="unobin_s3 + AES-GCM"),
    Target("cold-memory", 30),
    Target("cold-memory", 38, ours="unobin_s3 + AES-GCM"),
    *(
        Target(row, limit, theirs)
        for row in ("put-4kib", "get-4kib")
        for theirs, limit in (("boto3", 0.25), ("minio", 0.90), ("httpx.Client", 0.85))
    ),
    Target("put-1mib", 0.60, "boto3"),
    Target("get-1mib", 0.65, "boto3"),
    Target("sign", 6),
    Target("sign", 9, "boto3", inverse=True),
    Target("sign", 2, "awscrt", inverse=True),
    Target("list", 0.03, "boto3"),
    Target("list", 0.7, "obstore"),
    Target("list-memory", 4),
    Target("seal-1mib", _SEAL, "json.dumps", ours="encode + seal"),
    Target("open-1mib", 2.2, "json.loads", ours="open + decode"),
    Target("put-64mib", 1.0, "boto3"),
    Target("put-64mib-memory", 30, plus=64),
    Target("cycle-requests", 6),
    Target("cycle-trips", 6.2),
    Target("handover", 0.25, ours="8 waiting"),
    Target("handover-requests", 2.5, ours="8 waiting"),
    Target("wheel", 110, ours="wheel"),
)


# What stands in the way where a target is missed, by the beginning of the row's name.
LIMITS = {
    "cold-start": "Importing httpx and httpcore is three quarters of all that is imported, our 43 modules and their "
    "dataclasses are the rest; all modules are imported at once, on purpose. The CA bundle is parsed in a thread "
    "beside it, which a machine with both processors busy does not hide.",
    "cold-memory": "httpx with a transport alone takes 27 MB.",
    "put-4kib": "h11 and httpcore take three quarters of the time of a request.",
    "get-4kib": "h11 and httpcore take three quarters of the time of a request.",
    "put-1mib": "SHA-256 of the body, which every signer pays: 2.6 ms a MiB on a processor without SHA extensions.",
    "get-1mib": "h11 copies every piece of an answer several times; boto3 reads through http.client.",
    "sign": "The speed of the machine; the ratios beside it do not depend on it.",
    "list": "h11 copies every piece of a page several times on its way.",
    "seal": "Before Python 3.13 the C encoder of json does not indent, so the layout is written in Python code.",
    "open": "Strict base64 alone is half of json.loads; each entry becomes two checked objects, in Python code.",
    "put-64mib": "SHA-256 of the body.",
    "cycle-trips": "What proxy and processors add to six requests; minio's six, which seal nothing, take as long.",
    "handover": "The poll of 0.5 s.",
    "wheel": "Commands and the testing server are three tenths of it; the core alone would still be over the target.",
}


def limits(missed: list[str]) -> list[str]:
    """What limits these rows, each reason once."""
    return list(dict.fromkeys(why for row in missed for start, why in LIMITS.items() if row.startswith(start)))


def judged(rows: dict[str, Row]) -> list[dict[str, object]]:
    """Each target that this run can speak about."""
    found: list[dict[str, object]] = []
    for target in TARGETS:
        value = target.value(rows)
        if value is not None:
            row = rows[target.row]
            what = row.title + ("" if target.ours == OURS else f" ({target.ours})")
            what += f", {row.unit} beyond the body" if target.plus else "" if target.theirs else f", {row.unit}"
            found.append(
                {"row": target.row, "what": what, "wanted": target.wanted, "value": value, "met": target.met(value)}
            )
    return found
