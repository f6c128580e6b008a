"""What the demo looks at before it trains for minutes."""

from __future__ import annotations

import socket

from news.demo import busy
from tests.ports import free_port


def test_a_busy_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = free_port()
        assert busy([taken.getsockname()[1], port]) == [taken.getsockname()[1]]
