"""The transactional outbox: append in the caller's transaction, relay in commit order.

`writer.append` is the writers' side; `build.build_relay` makes the publishing side.
"""
