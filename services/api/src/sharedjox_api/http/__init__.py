"""The edge: problem documents, middlewares, bodies, answers, idempotency."""
