"""`sharedjox-gateway`: one gateway process. Start as many as there are cores; they share the port."""

from __future__ import annotations

import uvloop
from sharedjox_kit.environment import load_settings
from sharedjox_kit.logs import configure_logging

from .server import fail_on_wrong_platform, serve
from .settings import GatewaySettings


def main() -> None:
    """Read settings, then serve until told to stop."""
    fail_on_wrong_platform()
    settings = load_settings(GatewaySettings)
    configure_logging(service="gateway", level=settings.log_level, form=settings.log_format)
    uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
