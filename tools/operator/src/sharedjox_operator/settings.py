"""Where the platform is: the same names in the environment as the services have."""

from __future__ import annotations

from pydantic import Field
from sharedjox_kit.environment import ChannelSettings


class OperatorSettings(ChannelSettings):
    """What `sharedjox` reads from the environment."""

    database_url: str = "postgresql+asyncpg://app@127.0.0.1:5432/sharedjox"
    reverb_app_id: str = Field(default="1001", pattern=r"^[0-9]+$")
