"""Webhooks: from the queue that gateways write to the applications' receivers."""
