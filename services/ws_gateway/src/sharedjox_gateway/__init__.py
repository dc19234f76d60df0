"""The WebSocket gateway: Pusher protocol in front, Redis behind, fan-out between them.

Layers, each knowing only those to its right: `app` > `http`, `connection`, `broker` > `hub` > `protocol`.
`protocol` and `hub` do no I/O.
"""
