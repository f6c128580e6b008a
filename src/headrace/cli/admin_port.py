"""How the operator's commands reach a running headrace: its admin port."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import click
import httpx

from headrace.cli.credentials import credential_options
from headrace.cli.saying import say, say_json
from headrace.client.addresses import check_address
from headrace.client.credentials import NO_CREDENTIALS, Credentials
from headrace.client.errors import BadRequest
from headrace.config.environment import ADMIN_URL
from headrace.core.errors import HeadraceError, UsageError

F = TypeVar("F", bound=Callable[..., Any])


class AdminUnreachable(HeadraceError):
    """Nothing answers on the admin port."""

    code = "TEMPORARILY_UNAVAILABLE"


@dataclass(frozen=True)
class AdminPort:
    """Where the admin port is, and what is shown there."""

    address: str
    credentials: Credentials = NO_CREDENTIALS


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


def call(
    admin: AdminPort, path: str, *, method: str = "GET", params: dict[str, str] | None = None, timeout_s: float = 10.0
) -> Any:
    """One call of the admin API; returns the JSON. Raises UsageError for 404 and 409, AdminUnreachable for silence."""
    try:
        url = f"{check_address(admin.address)}{path}"
    except BadRequest as error:
        raise UsageError(f"--admin: {error}") from None
    shown = admin.credentials
    try:
        verify = shown.context() if shown.has_files else True
        response = httpx.request(method, url, params=params, headers=shown.headers, verify=verify, timeout=timeout_s)
    except BadRequest as error:
        raise UsageError(str(error)) from None
    except httpx.HTTPError as error:
        raise AdminUnreachable(f"nothing answers at {url} ({error}); is it a running headrace's admin port?") from None
    if response.status_code in {404, 409}:
        raise UsageError(_message(response))
    if response.is_error:
        raise HeadraceError(_message(response))
    try:
        return response.json()
    except ValueError:
        raise HeadraceError(_message(response)) from None


def model_path(name: str, what: str = "") -> str:
    """The admin API's path of what concerns one model, whatever characters its name was given with."""
    return f"/api/models/{quote(name, safe='')}/{what}".rstrip("/")


def order(
    admin: AdminPort, name: str, what: str, params: dict[str, str], *, as_json: bool, timeout_s: float = 10.0
) -> None:
    """Ask for something to be done with a model, and print what happens now. Raises as `call`."""
    answer = call(admin, model_path(name, what), method="POST", params=params, timeout_s=timeout_s)
    if as_json:
        say_json(answer)
    else:
        say(f"{name}: {answer['message']}")


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        said = response.text.strip()[:200] or response.reason_phrase
        return f"{response.url} answered {response.status_code}: {said}; is it a running headrace's admin port?"
