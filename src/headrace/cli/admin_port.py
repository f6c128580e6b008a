"""How the operator's commands reach a running headrace: the options that say where its admin port is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from headrace.cli.credentials import credential_options
from headrace.cli.saying import say, say_json
from headrace.client.admin import AdminPort, call, model_path
from headrace.client.credentials import Credentials
from headrace.config.environment import ADMIN_URL

F = TypeVar("F", bound=Callable[..., Any])


def admin_option(function: F) -> F:
    """Add `--admin ADDRESS` and the options for credentials to a command, which is given `admin`."""

    @functools.wraps(function)
    def command(*arguments: Any, admin: str, credentials: Credentials, **named: Any) -> Any:
        return function(*arguments, admin=AdminPort(admin, credentials), **named)

    option = click.option(
        "--admin",
        default=ADMIN_URL,
        show_default=True,
        metavar="ADDRESS",
        envvar="HEADRACE_ADMIN",
        help="The admin port.",
    )
    return option(credential_options(command))  # type: ignore[return-value] # it takes what `function` takes, and these


def order(
    admin: AdminPort, name: str, what: str, params: dict[str, str], *, as_json: bool, timeout_s: float = 10.0
) -> None:
    """Ask for something to be done with a model, and print what happens now. Raises as `call`."""
    answer = call(admin, model_path(name, what), method="POST", params=params, timeout_s=timeout_s)
    if as_json:
        say_json(answer)
    else:
        say(f"{name}: {answer['message']}")
