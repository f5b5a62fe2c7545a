# SPDX-License-Identifier: MIT
"""python -m tests.servers [--go]: run the conformance suite and write MATRIX.md from what was seen."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pytest


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("--go", action="store_true", help="also MinIO and versitygw, built by `go install` once")
    if parser.parse_args().go:
        os.environ["UNOBIN_S3_GO_SERVERS"] = "1"  # read when the suite is collected
    suite = Path(__file__).with_name("test_conformance.py")
    status = pytest.main([str(suite), "-v", "-k", "not committed_matrix"])
    from tests.servers import matrix

    matrix.PATH.write_text(matrix.rendered(matrix.seen_or_known))
    sites = sorted({site for site, _ in matrix.SEEN})
    print(f"wrote {matrix.PATH.name} from {', '.join(sites)}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
