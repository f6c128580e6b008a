"""The options by which commands show who they are, and say whom they trust."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from headrace.client.credentials import CLIENT_CERTIFICATE, SERVER_CA, TOKEN, credentials, read_token
from headrace.client.errors import BadRequest
from headrace.core.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path, dir_okay=False)


def credential_options(function: F) -> F:
    """Add `--token-file`, `--ca`, `--cert` and `--cert-key`; the command is given `credentials`.

    A token is never an option's value: everybody on a machine can read command lines.
    """

    @functools.wraps(function)
    def command(
        *arguments: Any,
        token_file: Path | None,
        ca: Path | None,
        cert: Path | None,
        cert_key: Path | None,
        **named: Any,
    ) -> Any:
        try:
            token = read_token(token_file) if token_file is not None else None
            made = credentials(token, ca, cert, cert_key, environ=os.environ)
            _ = made.headers
        except BadRequest as error:
            raise UsageError(str(error)) from None
        return function(*arguments, credentials=made, **named)

    for option in reversed(
        (
            click.option("--token-file", type=_FILE, metavar="FILE", help=f"Holds an API key [default: {TOKEN}]."),
            click.option("--ca", type=_FILE, metavar="FILE", help=f"Authorities to trust [default: {SERVER_CA}]."),
            click.option("--cert", type=_FILE, metavar="FILE", help=f"Our own [default: {CLIENT_CERTIFICATE}]."),
            click.option("--cert-key", type=_FILE, metavar="FILE", help="Its key, where that is another file."),
        )
    ):
        command = option(command)
    return command  # type: ignore[return-value] # it takes what the function takes, and the options
