"""Who is on which channel, and handing events to them. Synchronous, in memory, no I/O."""
