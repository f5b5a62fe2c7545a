# SPDX-License-Identifier: MIT
"""The two KMS calls of envelope encryption, and what KMS's refusals mean for the owner of a key.

JSON 1.1 over POST; both calls change nothing and may be repeated. How long a data key lives, and what it
seals, may not live here. docs.aws.amazon.com/kms/latest/APIReference: API_GenerateDataKey, API_Decrypt.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from ..errors import ConfigurationError, NotFound, ServiceError
from .caller import Call, Caller
from .credentials import Credentials, CredentialSource
from .endpoint import Endpoint
from .settings import Settings
from .transport import Response, Transport
from .xml import ErrorDocument

if TYPE_CHECKING:
    import httpx

Identity: TypeAlias = Credentials | CredentialSource | None
Wire: TypeAlias = "Transport | httpx.BaseTransport | None"
Service: TypeAlias = tuple[Caller, Endpoint]

MAX_WRAPPED = 6144  # bytes, the API's limit for a CiphertextBlob
# What KMS says when another key wrapped the blob, or none did.
WRONG_KEY = frozenset({"IncorrectKeyException", "InvalidCiphertextException"})

_ARN = re.compile(r"(arn:[a-z-]+:kms:([a-z0-9-]+):[0-9]*:)(key|alias)/.+")
_HINTS = {
    "AccessDeniedException": "allow kms:{} on this key to these credentials, in the key's policy or theirs",
    "NotFoundException": "no such key or alias there; check key_id and region, or give the key's ARN",
    "DisabledException": "the key is disabled; enable it",
    "KMSInvalidStateException": "the key cannot be used in its state; is it scheduled for deletion?",
    "InvalidKeyUsageException": "the key is not for encryption; use a symmetric one",
    "ThrottlingException": "the account's quota of KMS requests is used up; try again later",
    "IncorrectKeyException": "another key wrapped this data key",
    "InvalidCiphertextException": "this is no data key of that account and region, or it was changed",
}


@dataclass(frozen=True, slots=True, repr=False)
class DataKey:
    """A data key in clear, as KMS wrapped it, and the ARN of the key that did. Neither shown nor pickled."""

    plaintext: bytes
    wrapped: bytes
    key_arn: str

    def __reduce__(self) -> NoReturn:
        raise TypeError("a data key cannot be pickled")


def connect(
    key_id: str, region: str | None, credentials: Identity, endpoint_url: str | None, profile: str | None, wire: Wire
) -> Service:
    """How to reach KMS, found as the AWS SDKs do; the region in a key's ARN beats all others."""
    settings = Settings(
        "kms", region=key_region(key_id) or region, credentials=credentials,
        endpoint_url=endpoint_url, profile=profile, transport=wire,
    )  # fmt: skip
    return settings.caller, settings.endpoint


def key_region(key_id: str) -> str | None:
    """The region in the ARN of a key or alias; None for a bare id; ConfigurationError for another ARN."""
    arn = _ARN.fullmatch(key_id)
    if arn is None and key_id.startswith("arn:"):
        raise ConfigurationError(f"{key_id!r} is not the ARN of a KMS key or alias")
    return arn[2] if arn else None


def generate_data_key(caller: Caller, endpoint: Endpoint, key_id: str) -> DataKey:
    """A new 256-bit data key, wrapped by `key_id` (id, ARN, alias or its ARN) without encryption context."""
    return _post(caller, endpoint, "GenerateDataKey", key_id, {"KeyId": key_id, "KeySpec": "AES_256"})


def decrypt(caller: Caller, endpoint: Endpoint, wrapped: bytes, key_id: str) -> DataKey:
    """Unwrap with `key_id` and no other: KMS refuses what another key wrapped; its answer is compared too."""
    blob = base64.b64encode(wrapped).decode()
    return _post(caller, endpoint, "Decrypt", key_id, {"CiphertextBlob": blob, "KeyId": key_id})


def _post(caller: Caller, endpoint: Endpoint, operation: str, key_id: str, members: dict[str, str]) -> DataKey:
    region = key_region(key_id) or endpoint.region
    if region != endpoint.region and not endpoint.configured:
        endpoint = endpoint.with_region(region)
    call = Call(
        operation=operation, service="kms", region=region, method="POST",
        scheme=endpoint.scheme, host=endpoint.host, path=f"{endpoint.base_path}/",
        headers={"content-type": "application/x-amz-json-1.1", "x-amz-target": f"TrentService.{operation}"},
        body=json.dumps(members).encode(), limit=65536, read_error=_read_error,
    )  # fmt: skip
    try:
        return _data_key(operation, key_id, members.get("CiphertextBlob"), _object(caller.send(call).body))
    except ServiceError as error:
        hint = _HINTS.get(error.code, "").format(operation)
        raise (NotFound if error.code == "NotFoundException" else type(error))(
            f"KMS key {key_id} in {region}: {error}" + (f"; {hint}" if hint else ""),
            operation=operation, status=error.status, code=error.code, request_id=error.request_id,
        ) from None  # fmt: skip


def _data_key(operation: str, key_id: str, blob: str | None, answer: dict[str, object]) -> DataKey:
    """Read the answer strictly. No error quotes it: it holds a key."""
    plaintext, wrapped = _binary(answer.get("Plaintext")), _binary(blob or answer.get("CiphertextBlob"))
    arn = _ARN.fullmatch(str(answer.get("KeyId")))
    if len(plaintext) != 32 or not 1 <= len(wrapped) <= MAX_WRAPPED or arn is None or arn[3] != "key":
        raise ServiceError("the answer is not a data key; check the endpoint URL", code="InvalidResponse")
    asked = _ARN.fullmatch(key_id)
    if "alias/" in key_id:  # what it stands for only KMS knows, which compared it
        same = asked is None or asked[1] == arn[1]
    else:
        same = arn[0] == key_id if asked else arn[0].endswith(f":key/{key_id}")
    if not same:
        raise ServiceError(f"{operation} was answered with the key {arn[0]}", code="IncorrectKeyException")
    return DataKey(plaintext, wrapped, arn[0])


def _object(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body.decode())
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _binary(value: object) -> bytes:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except ValueError:
        return b""


def _read_error(response: Response) -> ErrorDocument | None:
    """AWS JSON 1.1: the code in `__type`, perhaps after a name space; the text in `message` or `Message`."""
    answer = _object(response.body)
    code, text = answer.get("__type"), answer.get("message", answer.get("Message"))
    if not isinstance(code, str) or not code:
        return None
    return ErrorDocument(code.rpartition("#")[2], text if isinstance(text, str) else "")
