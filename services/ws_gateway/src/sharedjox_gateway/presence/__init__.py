"""Presence channels: members, rosters, and their one truth in Redis."""
