# SPDX-License-Identifier: MIT
"""`python -m unobin_s3` and the `unobin-s3` command."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
