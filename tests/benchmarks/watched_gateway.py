"""The gateway by its real entry point, with a note of every pause of the garbage collector.

The longest, in milliseconds, and how many there were are written to the file PAUSES_FILE on SIGUSR1, and counting
begins anew.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import time
from pathlib import Path

from sharedjox_gateway.main import main

_pauses: list[float] = []
_began = 0.0


def _note(phase: str, _info: dict[str, int]) -> None:
    global _began  # noqa: PLW0603 - a callback of the collector has no other place
    if phase == "start":
        _began = time.perf_counter()
    else:
        _pauses.append((time.perf_counter() - _began) * 1000)


def _write(_number: int, _frame: object) -> None:
    document = {"worst_ms": max(_pauses, default=0.0), "count": len(_pauses), "objects": len(gc.get_objects())}
    _pauses.clear()
    target = Path(os.environ["PAUSES_FILE"])
    target.with_suffix(".new").write_text(json.dumps(document), "utf-8")
    target.with_suffix(".new").replace(target)


if __name__ == "__main__":
    gc.callbacks.append(_note)
    signal.signal(signal.SIGUSR1, _write)
    main()
