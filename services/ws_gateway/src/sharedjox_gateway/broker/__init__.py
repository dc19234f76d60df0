"""Where publications come from and go to: Redis in production, memory in unit tests."""
