# SPDX-License-Identifier: MIT
"""OpenStack Swift with its S3 interface: one node, one replica, on loopback, without root or /etc/swift.

Why it is here: it verifies signatures and answers 412 to a second create, and yet two creates at once may
both succeed, because it looks for the object when a PUT begins and renames the file into place when it ends.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from . import venvs
from .processes import Running, answers, clean_environment, free_ports, listens, run, running

VERSION = "2.38.3"
ACCESS_KEY, SECRET_KEY = (
    "test:tester",
    "testing",
)  # tempauth's account:user; the colon is a test by itself

_SWIFT = """
[swift-hash]
swift_hash_path_suffix = a
swift_hash_path_prefix = b
[storage-policy:0]
name = p0
default = yes
"""
_COMMON = """
[DEFAULT]
swift_dir = {folder}
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
workers = 0
log_name = swift
log_level = WARNING
log_address = /nonexistent
mount_check = false
devices = {folder}/node
disable_fallocate = true
keep_idle = 600
"""
_STORAGE = """
[pipeline:main]
pipeline = {role}-server
[app:{role}-server]
use = egg:swift#{role}
"""
_CONFIGURED = ["s3api", "tempauth", "versioned_writes", "cache"]
_FILTERS = [
    "catch_errors",
    "gatekeeper",
    "healthcheck",
    "cache",
    "listing_formats",
    "bulk",
    "s3api",
    "tempauth",
]
_FILTERS.extend(["copy", "slo", "dlo", "versioned_writes", "symlink"])
_PROXY = f"""
[pipeline:main]
pipeline = {" ".join(_FILTERS)} proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = no
dns_compliant_bucket_names = no
allow_no_owner = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {SECRET_KEY} .admin
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
allow_versioned_writes = true
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
"""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Swift on free ports, its data in `folder` (a file system with user attributes); yields the S3 URL."""
    programs = venvs.environment("swift", f"swift=={VERSION}")
    env = clean_environment(folder)
    (folder / "node" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(_SWIFT)
    roles = dict(zip(("account", "container", "object", "proxy"), free_ports(4), strict=True))
    for role, port in roles.items():
        _configure(folder, role, port)
    rings = [f"{role}={port}" for role, port in roles.items() if role != "proxy"]
    run([*_script(programs), folder, "rings", *rings], env=env)
    with ExitStack() as started:
        servers = {role: started.enter_context(_server(folder, role, programs, env)) for role in roles}
        for role, server in servers.items():
            server.wait_until(partial(listens, roles[role]))
        servers["proxy"].wait_until(lambda: answers(roles["proxy"], "/healthcheck"))
        yield f"http://127.0.0.1:{roles['proxy']}"


def _configure(folder: Path, role: str, port: int) -> None:
    text = _COMMON.format(folder=folder, port=port, user=getpass.getuser())
    if role == "proxy":
        plain = [name for name in _FILTERS if name not in _CONFIGURED]
        text += _PROXY + "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in plain)
    else:
        text += _STORAGE.format(role=role)
    (folder / f"{role}.conf").write_text(text)


def _script(programs: Path) -> list[object]:
    return [programs / "python", "-P", Path(__file__).with_name("swift_run.py")]


def _server(folder: Path, role: str, programs: Path, env: dict[str, str]) -> AbstractContextManager[Running]:
    words = [*_script(programs), folder, f"{role}-server", folder / f"{role}.conf"]
    return running(role, words, folder=folder, env=env)
