"""APPS_FILE is read again when it changes: new applications, other limits, rotated secrets, without a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sharedjox_kit.logs import get_logger

from .apps import App

_log = get_logger(__name__)
_Mark = tuple[int, int, int]


class AppsFile:
    """Call `tick` often. A file that cannot be used is reported once and changes nothing."""

    def __init__(self, path: Path | None, load: Callable[[], list[App]], replace: Callable[[list[App]], None]) -> None:
        self._path = path
        self._load = load
        self._replace = replace
        self._seen = self._mark()
        self.is_refused = False
        """Whether what stands in the file now could not be put in force."""

    def tick(self) -> None:
        """Read the file if it is another one than last time. `load` and `replace` raise ValueError for a bad one."""
        mark = self._mark()
        if mark is None or mark == self._seen:  # a file that is being replaced may be missing for a moment
            return
        self._seen = mark
        try:
            apps = self._load()
            self._replace(apps)
        except ValueError as error:
            self.is_refused = True
            _log.error("apps_file.refused", reason=str(error))
        else:
            self.is_refused = False
            _log.info("apps_file.read", apps=[app.id for app in apps])

    def _mark(self) -> _Mark | None:
        """Changes when the file does; links are followed, as Kubernetes swaps them."""
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
