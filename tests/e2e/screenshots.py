"""Makes the pictures in `docs/screenshots`: a stack of its own, a real browser, every page with something going on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WEB = Path(__file__).parents[2] / "web"


def main() -> int:
    """Run the picture-taking package script; its exit status is ours."""
    return subprocess.run(["npm", "run", "--silent", "screenshots"], cwd=WEB, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
