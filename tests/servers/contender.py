# SPDX-License-Identifier: MIT
"""One of many processes that want the same lock. Run as `python -m tests.servers.contender FOLDER CYCLES`.

FOLDER/plan.pickle says where the store is; FOLDER is also the critical section: `inside` is created exclusively, and
`count` is read and written without any care, so that a second holder would be seen and a lost turn counted.
"""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path

from unobin_s3 import Credentials, Noop, S3Client, Store, StoreReport

from .launch import Site


@dataclass(frozen=True, slots=True)
class Plan:
    site: Site
    stack: str
    report: StoreReport


def main(folder: Path, cycles: int) -> int:
    plan: Plan = pickle.loads((folder / "plan.pickle").read_bytes())
    site = plan.site
    credentials = Credentials(site.access_key, site.secret_key)
    client = S3Client(region=site.region, credentials=credentials, endpoint_url=site.url)
    store = Store(client, bucket=site.bucket, factory="f", stack=plan.stack, encrypter=Noop(), store_report=plan.report)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(cycles):
        with store.lock(timeout=300, poll=0.05):
            _alone(folder)
    return 0


def _alone(folder: Path) -> None:
    os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))
    count = folder / "count"
    count.write_text(str(int(count.read_text()) + 1))
    (folder / "inside").unlink()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
