# SPDX-License-Identifier: MIT
"""The last resort for a snapshot that could not be uploaded: a file, and the command that uploads it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from .errors import ConfigurationError
from .place import Place

_KEY_FLAGS = {"env-key": ("--env-key", "env-var"), "kms": ("--kms", "key-id")}
_logger = logging.getLogger(__name__)


class Spill:
    """A folder for sealed envelopes, mode 0600. `allowed` False: the encrypter does not seal, so nothing is kept."""

    def __init__(self, folder: str, *, allowed: bool) -> None:
        self._folder = Path(folder)
        self._allowed = allowed
        if not self._folder.is_dir():
            raise ConfigurationError(f"spill: {folder} is not a folder; make it first")

    def save(
        self, sealed: bytes, place: Place, error: BaseException, sealed_by: tuple[str, Mapping[str, object] | None]
    ) -> None:
        """Keep `sealed` and add to `error` where it is and how to upload it. Never raises: the error matters more."""
        if not self._allowed:
            error.add_note("the snapshot was not kept: it is not sealed (spill_plaintext=True would keep it)")
            return
        path = self._folder / f"unobin-{place.client.clock.time_ns()}-{place.client.clock.token(4).hex()}.json.enc"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:
                file.write(sealed)
                file.flush()
                os.fsync(file.fileno())
        except OSError as failed:
            error.add_note(f"and the snapshot could not be kept in {path}: {failed}")
            return
        error.add_note(f"the sealed snapshot was kept; upload it with: {_command(path, place, *sealed_by)}")
        _logger.error("the snapshot was kept in %s", path)


def _command(path: Path, place: Place, name: str, config: Mapping[str, object] | None) -> str:
    from shlex import join

    layout, endpoint = place.layout, place.client.settings.endpoint
    words = ["unobin-s3", "push", str(path), "--bucket", place.bucket]
    words += ["--factory", layout.factory, "--stack", layout.stack]
    words += ["--prefix", layout.prefix] if layout.prefix else []
    words += (
        ["--endpoint-url", f"{endpoint.scheme}://{endpoint.host}{endpoint.base_path}"] if endpoint.configured else []
    )
    words += ["--kms-key-id", place.kms_key_id] if place.kms_key_id else []
    if name in _KEY_FLAGS:
        flag, member = _KEY_FLAGS[name]
        words += [flag, str((config or {}).get(member, ""))]
    return join([*words, "--noop"] if name == "noop" else words)
