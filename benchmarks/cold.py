# SPDX-License-Identifier: MIT
"""From nothing to the first answered PUT: each contender's shortest program, run by an interpreter of its own.

All load the same CA bundle (certifi's and one CA more) and put 4 KiB over TLS. `-P` keeps this tree out of sight.
"""

from __future__ import annotations

import json
import os
import subprocess
import time

from .contenders import ACCESS, REGION, SECRET
from .venvs import CACHE, python

# Printed by the child at its end: the moment on the clock that parent and child share, modules, and memory.
_REPORT = """
import json, sys, time
t, cpu, modules, rss = time.monotonic(), time.process_time(), len(sys.modules), 0.0
try:
    rss = next(int(l.split()[1]) / 1024 for l in open("/proc/self/status") if l.startswith("VmRSS"))
except OSError:
    pass
print(json.dumps([t, cpu, modules, rss]))
"""
_UNOBIN = """
from unobin_s3 import Credentials, S3Client
client = S3Client(region=REGION, credentials=Credentials(ACCESS, SECRET), endpoint_url=URL)
"""
PUTS: dict[str, tuple[str, str]] = {
    "unobin_s3": ("own", _UNOBIN + 'client.put_object("cold", "key", b"x" * 4096)'),
    "unobin_s3 + AES-GCM": (
        "own",
        "from unobin_s3 import EnvKey, seal" + _UNOBIN + "body = seal(b'x' * 4096, 'state', EnvKey('BENCHMARK_KEY'))\n"
        'client.put_object("cold", "key", body)',
    ),
    "httpx.Client": (
        "own",
        """
import httpx
httpx.Client(verify=CA).put(URL + "/cold/key", content=b"x" * 4096).raise_for_status()""",
    ),
    "minio": (
        "minio",
        """
import io
from minio import Minio
client = Minio(URL[8:], access_key=ACCESS, secret_key=SECRET, region=REGION)
client.put_object("cold", "key", io.BytesIO(b"x" * 4096), 4096)""",
    ),
    "boto3": (
        "boto3",
        """
import boto3
from botocore.config import Config
style = Config(s3={"addressing_style": "path"})
client = boto3.client("s3", region_name=REGION, endpoint_url=URL, verify=CA, config=style,
                      aws_access_key_id=ACCESS, aws_secret_access_key=SECRET)
client.put_object(Bucket="cold", Key="key", Body=b"x" * 4096)""",
    ),
    "obstore": (
        "obstore",
        """
import obstore
from obstore.store import S3Store
store = S3Store("cold", endpoint=URL, region=REGION, access_key_id=ACCESS, secret_access_key=SECRET,
                virtual_hosted_style_request=False)
obstore.put(store, "key", b"x" * 4096, use_multipart=False)""",
    ),
    "s3fs": (
        "s3fs",
        """
import s3fs
fs = s3fs.S3FileSystem(key=ACCESS, secret=SECRET, endpoint_url=URL,
                       client_kwargs={"region_name": REGION, "verify": CA})
fs.pipe_file("cold/key", b"x" * 4096)""",
    ),
}
IMPORTS: dict[str, tuple[str, str]] = {
    "unobin_s3": ("own", "import unobin_s3"),
    "httpx.Client": ("own", "import httpx"),
    "minio": ("minio", "import minio"),
    "boto3": ("boto3", "import boto3"),
    "obstore": ("obstore", "import obstore"),
    "s3fs": ("s3fs", "import s3fs"),
    "python alone": ("own", ""),
}


def environment(*, bytecode: bool = True) -> dict[str, str]:
    """What a contender sees: no settings but ours. Without `bytecode` every module is compiled from source."""
    env = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(CACHE / "home"),
        "BENCHMARK_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "BENCHMARK_CA": str(CACHE / "ca.pem"),
        "AWS_CA_BUNDLE": str(CACHE / "ca.pem"),
        "SSL_CERT_FILE": str(CACHE / "ca.pem"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if not bytecode:
        env |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(CACHE / "no-bytecode")}
    return env


def start(program: tuple[str, str], url: str, *, bytecode: bool = True) -> tuple[float, float, float, float]:
    """(seconds from spawning to the end of the program, of the processor; modules loaded, MB resident)."""
    venv, code = program
    names = f"URL, CA, ACCESS, SECRET, REGION = {(url, str(CACHE / 'ca.pem'), ACCESS, SECRET, REGION)!r}\n"
    command = [python(venv), "-P", "-c", names + code + _REPORT]
    begin = time.monotonic()
    done = subprocess.run(command, env=environment(bytecode=bytecode), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{venv}: {done.stderr.strip()[-500:]}")
    end, cpu, modules, rss = json.loads(done.stdout)
    return end - begin, cpu, modules, rss
