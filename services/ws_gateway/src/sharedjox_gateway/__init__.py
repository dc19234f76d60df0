"""WebSocket gateway that speaks the Pusher protocol."""
