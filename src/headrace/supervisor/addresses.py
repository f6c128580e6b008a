"""Where a model is reached, as URLs that can be pasted: with the ports that were bound, also where 0 was configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.supervisor.app import Supervisor


def url(address: tuple[str, int] | None) -> str | None:
    """An address as a URL: a wildcard host becomes the loopback one."""
    if address is None:
        return None
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(address[0], address[0])  # noqa: S104 - it is replaced
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{address[1]}"


def model_url(supervisor: Supervisor, name: str) -> str | None:
    """A model's own port, or its place on the shared one; None where it has neither."""
    shared = url(supervisor.address(None))
    return url(supervisor.address(name)) or (f"{shared}/models/{name}" if shared else None)
