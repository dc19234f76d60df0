"""The gateway's HTTP side, carried by FastAPI."""
