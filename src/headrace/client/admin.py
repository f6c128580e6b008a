"""A running headrace's admin API: one call, and what it says when it does not do what was asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from headrace.client.addresses import check_address
from headrace.client.credentials import NO_CREDENTIALS, Credentials
from headrace.client.errors import BadRequest
from headrace.core.errors import HeadraceError, UsageError

if TYPE_CHECKING:
    import httpx


class AdminUnreachable(HeadraceError):
    """Nothing answers on the admin port."""

    code = "TEMPORARILY_UNAVAILABLE"


@dataclass(frozen=True)
class AdminPort:
    """Where the admin port is, and what is shown there."""

    address: str
    credentials: Credentials = NO_CREDENTIALS


def call(
    admin: AdminPort, path: str, *, method: str = "GET", params: dict[str, str] | None = None, timeout_s: float = 10.0
) -> Any:
    """One call of the admin API; returns the JSON. Raises UsageError for 404 and 409, AdminUnreachable for silence."""
    import httpx

    try:
        url = f"{check_address(admin.address)}{path}"
    except BadRequest as error:
        raise UsageError(f"the admin port's address: {error}") from None
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
    """The admin API's path of what concerns one model, with any characters in its name."""
    return f"/api/models/{quote(name, safe='')}/{what}".rstrip("/")


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        said = response.text.strip()[:200] or response.reason_phrase
        return f"{response.url} answered {response.status_code}: {said}; is it a running headrace's admin port?"
