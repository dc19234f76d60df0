"""The HTTP fallbacks of pusher-js: xhr_streaming and xhr_polling, for browsers whose network kills WebSockets.

A session stands where a transport would stand under a `Connection`: everything above it is the same as for WebSockets.
Sessions live in one process. A request that reaches another one is passed on to the owner, so no balancer has to be
sticky, though a sticky one saves the hop.

Source: pusher-js src/core/http; docs/protocol.md, "HTTP fallback transports".
"""
