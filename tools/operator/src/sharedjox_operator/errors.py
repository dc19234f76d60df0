"""What ends a command."""

from __future__ import annotations


class OperatorError(Exception):
    """One line for the operator: what is wrong and what to do. The command leaves with status 1."""
