# SPDX-License-Identifier: MIT
"""The contenders' environments, each its own venv below .cache/: nobody is slowed by what another one brings along.

Importing httpx, for one, takes up to 120 ms longer where click, rich or pygments can be imported too.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "benchmarks"
# What each environment has. `own` gets the wheel of this tree besides, at each run.
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "own": ("httpx", "cryptography"),
    "boto3": ("boto3",),
    "boto3+cryptography": ("boto3", "cryptography"),
    "minio": ("minio",),
    "obstore": ("obstore",),
    "s3fs": ("s3fs",),
    "awscrt": ("awscrt",),
    "tool": ("cryptography", "certifi", "matplotlib"),
}
_NOT_COUNTED = ("__pycache__", "unobin_s3")


@dataclass(frozen=True)
class Size:
    """Installed: bytes unpacked and zipped, and how many files; no .pyc."""

    unpacked: int
    zipped: int
    files: int


def python(name: str) -> str:
    return str(CACHE / "venvs" / name / "bin" / "python")


def set_up() -> Path:
    """Make what is missing, build our wheel and install it. Returns the wheel."""
    for name, wanted in REQUIREMENTS.items():
        done = CACHE / "venvs" / name / "done"
        if not done.exists():
            print(f"setting up {name}", file=sys.stderr)
            _run(sys.executable, "-m", "venv", "--clear", "--without-pip", str(CACHE / "venvs" / name))
            _pip(name, "install", *wanted)
            done.touch()
    folder = CACHE / "wheel"
    for old in folder.glob("*.whl"):
        old.unlink()
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT))
    wheel = next(folder.glob("*.whl"))
    _pip("own", "install", "--no-deps", "--force-reinstall", str(wheel))
    if not (CACHE / "ca.pem").exists():
        _run(python("tool"), str(ROOT / "benchmarks" / "certificates.py"), str(CACHE))
    return wheel


def versions() -> dict[str, str]:
    """Of the contenders and what they stand on."""
    script = (
        "import json; from importlib.metadata import distributions as d\n"
        "print(json.dumps({i.metadata['Name']: i.version for i in d()}))"
    )
    found: dict[str, str] = {}
    for name in REQUIREMENTS:
        if name != "tool":
            found |= json.loads(_run(python(name), "-c", script))
    wanted = "unobin-s3 httpx httpcore cryptography boto3 botocore urllib3 minio obstore s3fs aiobotocore awscrt"
    return {name: found[name] for name in wanted.split()}


def packages(name: str) -> int:
    return sum(1 for found in _site(name).glob("*.dist-info") if not found.name.startswith("unobin_s3"))


def installed_size(name: str) -> Size:
    """Of everything in an environment but our own wheel."""
    packed, unpacked, files = io.BytesIO(), 0, 0
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(_site(name).rglob("*")):
            inside = path.relative_to(_site(name))
            if path.is_file() and not any(part.startswith(_NOT_COUNTED) for part in inside.parts):
                archive.write(path, str(inside))
                unpacked += path.stat().st_size
                files += 1
    return Size(unpacked, len(packed.getvalue()), files)


def wheel_size(wheel: Path) -> Size:
    with zipfile.ZipFile(wheel) as archive:
        return Size(sum(item.file_size for item in archive.infolist()), wheel.stat().st_size, len(archive.infolist()))


def _site(name: str) -> Path:
    return next((CACHE / "venvs" / name / "lib").glob("python*/site-packages"))


def _pip(name: str, command: str, *arguments: str) -> None:
    _run(sys.executable, "-m", "pip", "--python", python(name), "-q", command, *arguments)


def _run(*command: str) -> str:
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout
