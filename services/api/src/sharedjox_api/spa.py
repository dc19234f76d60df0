"""Serving the built single-page app: its files, and index.html for the paths that its own router knows."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_SERVER_PATHS: Final = ("api", "broadcasting", "app", "apps", "metrics")
_POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self' ws: wss: http: https:; worker-src 'self'; base-uri 'none'; frame-ancestors 'none';"
    " form-action 'self'"
)
_FOREVER: Final = "public, max-age=31536000, immutable"


class SinglePageApp(StaticFiles):
    """Files of `folder`; unknown paths without an extension get index.html, unless they belong to the server."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, html=True)
        self._index = folder / "index.html"

    async def get_response(self, path: str, scope: Scope) -> Response:
        """One file, or the app. Raises: HTTPException, 404 for what would be the server's and 405 for other methods."""
        if path.split("/", 1)[0] in _SERVER_PATHS:
            raise HTTPException(404)
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or "." in path.rsplit("/", 1)[-1]:
                raise
            response = FileResponse(self._index)
        # Vite puts a hash into the names below assets/; everything else is asked for again each time.
        response.headers["Cache-Control"] = _FOREVER if path.startswith("assets/") else "no-cache"
        response.headers["Content-Security-Policy"] = _POLICY
        return response
