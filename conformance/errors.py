"""The one exception that means: the user asked for something that cannot be done. Front ends print it in one
line, without a traceback, and exit with status 2."""

from __future__ import annotations

__all__ = ["UsageError"]


class UsageError(Exception):
    """Wrong usage or unusable input; its text is one line that names the file, the line or the option."""
