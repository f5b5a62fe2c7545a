# SPDX-License-Identifier: MIT
"""Ceph RADOS Gateway from the distribution's packages: monitor, OSD in memory and gateway, all on loopback.

Why it is here: production code that verifies signatures and excludes, but only on buckets without versioning;
that ignores If-Match on DELETE, and takes a right ETag for wrong when it is quoted as it was given.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .processes import Running, StartFailed, Unavailable, answers, clean_environment, free_ports, run, running

PACKAGES = "ceph-mon ceph-osd radosgw ceph-common"
ACCESS_KEY, SECRET_KEY = "testak", "testsecretkey"

_CONF = """
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr1 = false
# Each change of the cluster map is one Paxos round; by default a second passes between rounds.
paxos propose interval = 0.05
paxos min wait = 0.01
# No authentication between the daemons; S3 clients still sign, which is the gateway's own check.
auth cluster required = none
auth service required = none
auth client required = none
keyring = /dev/null
# The gateway's default is a secure connection to the monitor, which 'none' above cannot give.
ms mon client mode = crc
ms mon service mode = crc
ms mon cluster mode = crc
ms client mode = crc
ms service mode = crc
ms cluster mode = crc
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
log file = {folder}/run/$name.log
pid file =
crash dir = {folder}/run
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
mon allow pool size one = true
osd crush chooseleaf type = 0
mon max pg per osd = 2000
mon pg warn on no replicas = false
[mon.a]
mon data = {folder}/mon
[osd.0]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 1073741824
osd memory target = 939524096
osd class update on start = true
[client.rgw]
rgw data = {folder}/rgw
# Without tcp_nodelay each answer on a kept connection waits 40 ms for a delayed acknowledgement.
rgw frontends = beast endpoint=127.0.0.1:{rgw} tcp_nodelay=1
rgw dns name =
rgw crypt require ssl = false
rgw enable usage log = false
rgw run sync thread = false
rgw enable lc threads = false
rgw override bucket index max shards = 1
rgw dynamic resharding = false
"""


def check_installed() -> None:
    missing = [program for program in ("ceph-mon", "ceph-osd", "radosgw", "ceph") if not shutil.which(program)]
    if missing:
        raise Unavailable(f"no {missing[0]}: apt-get install --no-install-recommends {PACKAGES}")


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A cluster on free ports that lives in memory; yields the S3 URL."""
    check_installed()
    rgw, mon = free_ports(2)
    cluster, disk = str(uuid.uuid4()), str(uuid.uuid4())
    for name in ("mon", "osd", "rgw", "run"):
        (folder / name).mkdir()
    conf, monmap = folder / "ceph.conf", folder / "monmap"
    conf.write_text(_CONF.format(fsid=cluster, mon=mon, rgw=rgw, folder=folder))
    env = clean_environment(folder, CEPH_CONF=str(conf))
    gateway = ["-n", "client.rgw"]

    def call(*words: object) -> str:
        return run(words, env=env, timeout=30)

    def start(program: str, *words: object) -> Running:
        # Nothing is worth keeping, so they are killed: asked politely the gateway takes five seconds.
        return stack.enter_context(running(program, [program, *words, "-f"], folder=folder, env=env, grace=0))

    with ExitStack() as stack:
        call("monmaptool", "--create", "--fsid", cluster, "--addv", "a", f"[v2:127.0.0.1:{mon}]", monmap)
        call("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        monitor = start("ceph-mon", "-i", "a")
        monitor.wait_until(lambda: _succeeds(lambda: call("ceph", "--connect-timeout", 5, "-s")))
        call("ceph", "osd", "new", disk)
        call("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        start("ceph-osd", "-i", "0").wait_until(lambda: "1 up" in call("ceph", "osd", "stat"))
        keys = ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
        call("radosgw-admin", *gateway, "user", "create", "--uid=t", "--display-name=t", *keys)
        start("radosgw", *gateway).wait_until(lambda: answers(rgw))
        yield f"http://127.0.0.1:{rgw}"


def _succeeds(call: Callable[[], str]) -> bool:
    try:
        call()
    except StartFailed:
        return False
    return True
