# SPDX-License-Identifier: MIT
"""The policy command: the least rights that a kind of work needs, as an IAM policy. Sends nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..aws.kms import key_region
from ..errors import ConfigurationError
from ..state.layout import Layout
from . import screen, settings

_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}


def add(commands: Any) -> None:
    """Add `policy` to the command line."""
    groups = (settings.place, settings.key)
    parser = settings.command(
        commands, "policy", _policy, *groups, example="policy --mode write --kms alias/state > policy.json"
    )
    parser.add_argument(
        "--mode", choices=("read", "write", "gc"), default="read", help="for which kind of work; read by default"
    )


def _policy(options: Any) -> int:
    """Print the least rights for a kind of work as an IAM policy.

    read: status, list, show, pull, diff. write: besides, lock, push, rollback, copy to here and reencrypt. gc: lock and
    delete snapshots. Conditional requests are covered: If-None-Match needs s3:PutObject, If-Match on PUT s3:PutObject
    and s3:GetObject, If-Match on DELETE s3:DeleteObject and s3:GetObject. s3:ListBucket is not bound to the prefix when
    an object is read, or S3 would answer 403 instead of 404 for one that is absent. Sends no request.
    """
    layout = Layout(
        settings.value(options, "prefix") or "", settings.need(options, "factory"), settings.need(options, "stack")
    )
    region = settings.value(options, "region") or "*"
    partition = next((name for start, name in _PARTITIONS.items() if region.startswith(start)), "aws")
    bucket = f"arn:{partition}:s3:::{settings.need(options, 'bucket')}"
    statements = [*_bucket_rights(options.mode, bucket, layout), *_key_rights(options, partition, region)]
    policy = {"Version": "2012-10-17", "Statement": statements}
    if options.json:
        screen.document(options, "state-policy", {"mode": options.mode, "policy": policy})
    else:
        screen.say(screen.json_text(policy, indent=2))
    return 0


def _literal(name: str) -> str:
    """A name in which IAM sees no wildcard and no variable."""
    return re.sub(r"[*?$]", r"${\g<0>}", name)


def _allow(sid: str, actions: list[str], resource: object, condition: object = None) -> dict[str, object]:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}
    return statement if condition is None else {**statement, "Condition": condition}


def _bucket_rights(mode: str, bucket: str, layout: Layout) -> Iterable[dict[str, object]]:
    below = f"{bucket}/{_literal(layout.directory)}"
    # IfExists: GetObject carries no prefix, and needs the right all the same to tell absent from forbidden.
    listing = {"StringLikeIfExists": {"s3:prefix": f"{_literal(layout.snapshots)}*"}}
    yield _allow("List", ["s3:ListBucket"], bucket, listing)
    yield _allow("Read", ["s3:GetObject"], f"{below}/*")
    if mode == "read":
        return
    lock, pointer, probe, snapshots = (f"{below}/{name}" for name in ("lock", "current", "probe-*", "snapshots/*"))
    yield _allow("Lock", ["s3:PutObject", "s3:DeleteObject"], [lock, probe])
    if mode == "gc":
        # A take-over of a lease writes the pointer anew.
        yield _allow("Fence", ["s3:PutObject"], [pointer])
        yield _allow("Delete", ["s3:DeleteObject"], [snapshots])
    else:
        yield _allow("Write", ["s3:PutObject"], [pointer, snapshots])


def _key_rights(options: Any, partition: str, region: str) -> Iterable[dict[str, object]]:
    """The client's own key (--kms, --older-key) and the key of the store (--kms-key-id)."""
    making = [] if options.mode == "read" else ["kms:GenerateDataKey"]
    chosen = settings.chosen_key(options)
    if chosen and chosen[0] == "kms" and options.mode != "gc":
        for index, key in enumerate(chosen[1]):
            yield _key_right(f"Seal{index}", ["kms:Decrypt", *(making if not index else [])], key, partition, region)
    store_key = settings.value(options, "kms-key-id")
    if store_key:
        via = {"StringLike": {"kms:ViaService": f"s3.{region}.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}"}}
        yield _key_right("StoreKey", ["kms:Decrypt", *making], store_key, partition, region, via)


def _key_right(
    sid: str, actions: list[str], key: str, partition: str, region: str, condition: dict[str, Any] | None = None
) -> dict[str, object]:
    if key_region(key) is None and not re.fullmatch(r"(alias/)?[A-Za-z0-9/_-]+", key):
        raise ConfigurationError(f"{key!r} is not the id, alias or ARN of a KMS key")
    alias = re.search(r"(?:^|:)(alias/.+)", key)
    if alias:  # IAM knows keys by their id; an alias is a condition
        condition = {**(condition or {}), "ForAnyValue:StringEquals": {"kms:ResourceAliases": alias[1]}}
        return _allow(sid, actions, f"arn:{partition}:kms:{key_region(key) or region}:*:key/*", condition)
    return _allow(
        sid, actions, key if key.startswith("arn:") else f"arn:{partition}:kms:{region}:*:key/{key}", condition
    )
