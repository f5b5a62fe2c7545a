# SPDX-License-Identifier: MIT
"""Run by path with the Python that has Swift; imports nothing of ours. Configured from FOLDER.

swift_run.py FOLDER rings ROLE=PORT...    write the rings: one device for each role
swift_run.py FOLDER ROLE-server CONF      run one server
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def write_ring(folder: str, role: str, port: int) -> None:
    builder: Any = importlib.import_module("swift.common.ring").RingBuilder(4, 1, 0)
    device = {"id": 0, "region": 1, "zone": 1, "weight": 1, "ip": "127.0.0.1", "port": port, "device": "d1"}
    builder.add_dev({**device, "replication_ip": "127.0.0.1", "replication_port": port, "meta": ""})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{role}.ring.gz")


def serve(folder: str, role: str, conf: str) -> int:
    importlib.import_module("eventlet").monkey_patch()  # before anything of Swift is imported
    utils: Any = importlib.import_module("swift.common.utils")
    utils.SWIFT_CONF_FILE = f"{folder}/swift.conf"
    more: dict[str, Any] = {}
    if role == "object-server":
        more["global_conf_callback"] = importlib.import_module("swift.obj.server").global_conf_callback
    return int(importlib.import_module("swift.common.wsgi").run_wsgi(conf, role, **more))


def main(folder: str, what: str, *arguments: str) -> int:
    if what != "rings":
        return serve(folder, what, arguments[0])
    for role, port in (argument.split("=") for argument in arguments):
        write_ring(folder, role, int(port))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
