"""Channel authorization for Pusher clients."""
