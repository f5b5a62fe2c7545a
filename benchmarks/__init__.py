# SPDX-License-Identifier: MIT
"""Measures unobin_s3 beside other S3 clients, in one interleaved run: `python -m benchmarks`.

Absolute times belong to the machine; the ratios between contenders that were measured in turn are the result.
"""
