"""arq worker: relays the outbox, stores notifications, prunes, releases."""
