# SPDX-License-Identifier: MIT
"""The last resort for a snapshot that could not be uploaded: a file, and the command that uploads it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from .errors import ConfigurationError
from .place import Place

_logger = logging.getLogger(__name__)


class Spill:
    """A folder for sealed envelopes, mode 0600. `allowed` False: the encrypter does not seal, so nothing is kept."""

    def __init__(self, folder: str, *, allowed: bool) -> None:
        self._folder = Path(folder)
        self._allowed = allowed
        if not self._folder.is_dir():
            raise ConfigurationError(f"spill: {folder} is not a folder; make it first")

    def save(self, sealed: bytes, place: Place, error: BaseException) -> None:
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
        layout = place.layout
        command = f"unobin-s3 push {path} --bucket {place.bucket} --factory {layout.factory} --stack {layout.stack}"
        command += f" --prefix {layout.prefix}" if layout.prefix else ""
        error.add_note(f"the sealed snapshot was kept; upload it with: {command}")
        _logger.error("the snapshot was kept in %s", path)
