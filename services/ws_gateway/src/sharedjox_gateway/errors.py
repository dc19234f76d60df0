"""Refusals that are answered in band; the connection stays."""

from __future__ import annotations

from .protocol.close_codes import PusherError


class SubscribeRefusedError(Exception):
    """A subscribe that is answered with `pusher:subscription_error`."""

    def __init__(self, kind: str, message: str, status: int) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status


class ClientEventRefusedError(Exception):
    """A client event that is answered with an in-band `pusher:error`."""

    def __init__(self, error: PusherError, message: str) -> None:
        super().__init__(message)
        self.error = error
        self.message = message
