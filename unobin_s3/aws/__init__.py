# SPDX-License-Identifier: MIT
"""Raw AWS over HTTP. Knows nothing about snapshots."""
