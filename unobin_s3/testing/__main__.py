# SPDX-License-Identifier: MIT
"""Serve until SIGINT or SIGTERM. Prints the lines that point an AWS SDK, or this package, at the server."""

from __future__ import annotations

import argparse
import shlex
import signal
import threading

from .server import S3Server


def main() -> None:
    parser = argparse.ArgumentParser(description="An S3 server on loopback, for trying out and for tests.")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--bucket", default="state", help="made at the start (default: state)")
    parser.add_argument("--directory", help="keep objects here, across restarts (default: in memory)")
    parser.add_argument("--access-key", default="AKIDTESTING")
    parser.add_argument("--secret-key", default="testing-secret-key")
    parser.add_argument("--region", default="us-east-1")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with S3Server(**vars(options)) as server:
        print(f"# serving the bucket {server.bucket}; interrupt to stop")
        for name, value in {
            "AWS_ENDPOINT_URL_S3": server.url,
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
            "AWS_REGION": server.region,
        }.items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
