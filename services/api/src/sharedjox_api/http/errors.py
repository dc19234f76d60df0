"""Refusals that belong to HTTP and not to the marketplace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from starlette.exceptions import HTTPException


class HttpProblem(HTTPException):
    """A refusal with its status and stable code. FastAPI lets it pass wherever it is raised."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **facts: Any) -> None:
        super().__init__(self.status, detail, dict(headers) if headers else None)
        self.facts = facts


class MalformedJsonProblem(HttpProblem):
    """The body is no JSON text in UTF-8."""

    status = 400
    code = "malformed-json"
    title = "Body is not JSON"


class MalformedHeaderProblem(HttpProblem):
    """A header has a form that cannot be read."""

    status = 400
    code = "malformed-header"
    title = "Header cannot be read"


class InvalidCursorProblem(HttpProblem):
    """The cursor is none that a list has given out."""

    status = 422
    code = "invalid-cursor"
    title = "No such cursor"


class ValidationProblem(HttpProblem):
    """Something in the request has the wrong type, form or range; `errors` lists what."""

    status = 422
    code = "validation-failed"
    title = "Request does not validate"


class BodyTooLargeProblem(HttpProblem):
    """The body is larger than the setting allows."""

    status = 413
    code = "body-too-large"
    title = "Body too large"


class UnsupportedMediaTypeProblem(HttpProblem):
    """The body has a type that this call does not read."""

    status = 415
    code = "unsupported-media-type"
    title = "Unsupported media type"


class RateLimitedProblem(HttpProblem):
    """Too many requests; `Retry-After` says when to come back."""

    status = 429
    code = "rate-limited"
    title = "Too many requests"


class NotFoundProblem(HttpProblem):
    """No such path."""

    status = 404
    code = "not-found"
    title = "Nothing here"


class MethodNotAllowedProblem(HttpProblem):
    """The path takes other methods; `Allow` names them."""

    status = 405
    code = "method-not-allowed"
    title = "Method not allowed"


class ChannelRefusedProblem(HttpProblem):
    """The user may not join this channel."""

    status = 403
    code = "channel-refused"
    title = "Channel refused"


class UnavailableProblem(HttpProblem):
    """Something that this call cannot do without is away; trying again helps."""

    status = 503
    code = "temporarily-unavailable"
    title = "Temporarily unavailable"


class InternalProblem(HttpProblem):
    """A defect of ours. The request id finds it in the log."""

    status = 500
    code = "internal-error"
    title = "Internal error"
