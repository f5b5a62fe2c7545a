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


def policy(options: Any) -> None:
    """Print it plain, to be used as it is, or in a document."""
    options.factory, options.stack = settings.need(options, "factory"), settings.need(options, "stack")
    layout = Layout(settings.value(options, "prefix") or "", options.factory, options.stack)
    region = settings.value(options, "region") or "*"
    partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    bucket = f"arn:{partition}:s3:::{settings.need(options, 'bucket')}"
    statements = [*_bucket_rights(options.mode, bucket, layout), *_key_rights(options, partition, region)]
    made = {"Version": "2012-10-17", "Statement": statements}
    if not screen.document(options, "state-policy", {"mode": options.mode, "policy": made}):
        screen.say(screen.json_text(made, indent=2))


def _allow(sid: str, actions: list[str], resource: object, condition: object = None) -> dict[str, object]:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}
    return statement if condition is None else {**statement, "Condition": condition}


def _bucket_rights(mode: str, bucket: str, layout: Layout) -> Iterable[dict[str, object]]:
    # ${*} is a star in which IAM sees no wildcard.
    directory = re.sub(r"[*?$]", r"${\g<0>}", layout.directory)
    lock, pointer, probe, snapshots = (
        f"{bucket}/{directory}/{name}" for name in ("lock", "current", "probe-*", "snapshots/*")
    )
    # IfExists: GetObject carries no prefix, and needs this right all the same to tell absent from forbidden.
    prefixes = [f"{directory}/snapshots/*", f"{directory}/probe-*"]
    yield _allow("List", ["s3:ListBucket"], bucket, {"StringLikeIfExists": {"s3:prefix": prefixes}})
    yield _allow("Read", ["s3:GetObject"], [f"{bucket}/{directory}/*"])
    if mode == "write":
        yield _allow("Write", ["s3:PutObject"], [pointer, snapshots])
    if mode == "gc":  # taking over a lease writes the pointer anew
        yield _allow("Fence", ["s3:PutObject"], [pointer])
        yield _allow("Delete", ["s3:DeleteObject"], [snapshots])
    if mode != "read":
        yield _allow("Lock", ["s3:PutObject", "s3:DeleteObject"], [lock, probe])


def _key_rights(options: Any, partition: str, region: str) -> Iterable[dict[str, object]]:
    """The client's own keys (--kms, --older-key) and the key of the store (--kms-key-id)."""
    making = [] if options.mode == "read" else ["kms:GenerateDataKey"]
    kind, keys = settings.chosen_key(options) or ("", [])
    for index, key in enumerate(keys if kind == "kms" and options.mode != "gc" else ()):
        yield _key_right(f"Seal{index}", ["kms:Decrypt", *(making if index == 0 else [])], key, partition, region)
    if store_key := settings.value(options, "kms-key-id"):
        via = f"s3.{region}.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}"
        condition = {"StringLike": {"kms:ViaService": via}}
        yield _key_right("StoreKey", ["kms:Decrypt", *making], store_key, partition, region, condition)


def _key_right(
    sid: str, actions: list[str], key: str, partition: str, region: str, condition: dict[str, Any] | None = None
) -> dict[str, object]:
    if key_region(key) is None and not re.fullmatch(r"(alias/)?[A-Za-z0-9/_-]+", key):
        raise ConfigurationError(f"{key!r} is not the id, alias or ARN of a KMS key")
    keys = f"arn:{partition}:kms:{key_region(key) or region}:*:key/"
    if alias := re.search(r"(?:^|:)(alias/.+)", key):  # IAM knows keys by their id; an alias is a condition
        named = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias[1]}}
        return _allow(sid, actions, f"{keys}*", {**(condition or {}), **named})
    return _allow(sid, actions, key if key.startswith("arn:") else keys + key, condition)
