# SPDX-License-Identifier: MIT
"""ListObjectsV2 of the simulated S3: a pure function of the objects and the query."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote_plus

from .messages import Answer, Refusal, answer_xml, tags


@dataclass(frozen=True, slots=True)
class Stored:
    """One object. `headers` are those a GET gives back."""

    body: bytes
    etag: str  # quoted
    modified: int  # unix seconds
    headers: dict[str, str]


def list_objects(bucket: str, objects: Mapping[str, Stored], query: Mapping[str, str]) -> Answer:
    """One page, at most 1,000 names long. Raises Refusal for arguments that make no sense."""
    prefix, delimiter, token = (query.get(name, "") for name in ("prefix", "delimiter", "continuation-token"))
    try:
        limit = min(int(query.get("max-keys", "1000")), 1000)
        after = base64.b64decode(token, validate=True).decode() if token else query.get("start-after", "")
    except ValueError:
        raise Refusal(400, "InvalidArgument", "max-keys or the continuation token is incorrect") from None
    found = _names(objects, prefix, delimiter, after, limit + 1)
    names, more = found[:limit], 0 < limit < len(found)
    in_url = query.get("encoding-type") == "url"

    def shown(text: str) -> str:
        return quote_plus(text, safe="/") if in_url else text

    about = {"Name": bucket, "Prefix": shown(prefix), "Delimiter": shown(delimiter), "MaxKeys": str(limit)}
    about |= {"KeyCount": str(len(names)), "IsTruncated": "true" if more else "false"}
    about |= {"EncodingType": "url"} if in_url else {}
    # Base64 with its +, / and =, as on AWS: a token has to be encoded to come back.
    about |= {"NextContinuationToken": base64.b64encode(names[-1].encode()).decode()} if more else {}
    rolled = {name for name in names if delimiter and delimiter in name[len(prefix) :]}
    entries = [_entry(shown(name), None if name in rolled else objects[name]) for name in names]
    return answer_xml("ListBucketResult", tags(**about) + "".join(entries))


def _names(keys: Iterable[str], prefix: str, delimiter: str, after: str, limit: int) -> list[str]:
    """Keys and common prefixes above `after`. Code points sort as their UTF-8 does, which is S3's order."""
    names: dict[str, None] = {}
    for key in sorted(key for key in keys if key.startswith(prefix)):
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        name = key if cut < 0 else key[: cut + len(delimiter)]
        if name > after:
            names[name] = None
        if len(names) == limit:
            break
    return list(names)


def _entry(name: str, found: Stored | None) -> str:
    if found is None:
        return f"<CommonPrefixes>{tags(Prefix=name)}</CommonPrefixes>"
    modified = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(found.modified))
    about = {"LastModified": modified, "ETag": found.etag, "Size": str(len(found.body))}
    return f"<Contents>{tags(Key=name, **about, StorageClass='STANDARD')}</Contents>"
