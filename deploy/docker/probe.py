"""Container health check: exit 0 when `GET http://127.0.0.1:PORT/PATH` answers 200. Standard library only."""

from __future__ import annotations

import http.client
import sys


def main() -> int:
    """Ask once; 1 for any other answer or none within 2 seconds."""
    port, path = int(sys.argv[1]), sys.argv[2]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return 0 if connection.getresponse().status == http.HTTPStatus.OK else 1
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
