"""Malformed input against a running gateway, judged by other implementations. `python -m tests.fuzz.live`."""
