"""Bytes and rules of the wire: WebSocket framing and Pusher messages. No sockets, no clock, no Redis."""
