# SPDX-License-Identifier: MIT
"""What is stored, byte for byte. Pure: knows nothing about HTTP, time or randomness."""
