"""Events, channel names, frames, signatures and the Redis layout: the words every piece agrees on.

No I/O and no framework here; importing this package needs msgspec only.
"""
