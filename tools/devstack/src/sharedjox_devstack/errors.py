"""The one error a person sees: what is wrong and what to do about it, in one line."""

from __future__ import annotations


class DevstackError(Exception):
    """Start-up cannot go on. The message is one line and says what to do."""
