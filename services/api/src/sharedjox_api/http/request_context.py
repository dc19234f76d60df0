"""The request that is being served: its ids, for logs, problem documents and outbox rows."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from typing import Final

from sharedjox_contracts.channels import is_valid_socket_id
from sharedjox_marketplace.context import NO_REQUEST, RequestContext
from starlette.types import Scope

_current: ContextVar[RequestContext] = ContextVar("sharedjox_request", default=NO_REQUEST)

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._\-]{1,64}")
_TRACEPARENT: Final = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_MAX_SOCKET_ID_LENGTH: Final = 64


def current_request() -> RequestContext:
    """What is known of the running request."""
    return _current.get()


def current_request_id() -> str | None:
    """Its id, or None outside of requests."""
    return _current.get().request_id


def begin_request(scope: Scope) -> RequestContext:
    """Read the ids from the headers, or make them; what has the wrong form is replaced, never an error."""
    headers = dict(scope["headers"])
    given = headers.get(b"x-request-id", b"")
    request_id = given.decode() if given and _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    socket_id = headers.get(b"x-socket-id", b"").decode("latin-1")
    usable = bool(socket_id) and len(socket_id) <= _MAX_SOCKET_ID_LENGTH and is_valid_socket_id(socket_id)
    client = scope.get("client")
    context = RequestContext(
        request_id=request_id,
        traceparent=_child_traceparent(headers.get(b"traceparent", b"")),
        socket_id=socket_id if usable else None,
        address=client[0][:64] if client else None,
    )
    _current.set(context)
    return context


def replace_request(context: RequestContext) -> None:
    """Take another context for the rest of the request (a recorded span's traceparent)."""
    _current.set(context)


def given_traceparent(scope: Scope) -> str | None:
    """The caller's own trace, None when it sent none: a recorded span is then the first of a new trace."""
    given: bytes = dict(scope["headers"]).get(b"traceparent", b"")
    return given.decode() if _is_traceparent(given) else None


def _is_traceparent(given: bytes) -> bool:
    found = _TRACEPARENT.fullmatch(given)
    return found is not None and found[1] != b"0" * 32


def _child_traceparent(given: bytes) -> str:
    """The same trace with a span of our own, or a new trace (W3C Trace Context, version 00)."""
    found = _TRACEPARENT.fullmatch(given)
    if found is None or found[1] == b"0" * 32:
        drawn = secrets.token_hex(24)  # at once: asking the kernel is the dear part
        return f"00-{drawn[:32]}-{drawn[32:]}-00"
    return f"00-{found[1].decode()}-{secrets.token_hex(8)}-{found[3].decode()}"
