# SPDX-License-Identifier: MIT
"""Encrypted, versioned state snapshots in S3, with one fenced pointer and one exclusive lock."""

__version__ = "0.1.0"
