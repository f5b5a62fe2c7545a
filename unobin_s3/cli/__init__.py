# SPDX-License-Identifier: MIT
"""The operator commands. Imported by nobody but __main__."""
