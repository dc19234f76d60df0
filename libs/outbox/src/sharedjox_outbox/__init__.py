"""The transactional outbox: append in the caller's transaction, relay in commit order."""
