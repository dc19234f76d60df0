"""Users, log-in sessions and their tokens."""
