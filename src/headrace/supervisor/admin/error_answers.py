"""Error answers of the admin port, in one form; and the lookup of the model that a request names."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from headrace.core.errors import HeadraceError
from headrace.supervisor.admin.printable_json import PrintableJSON
from headrace.supervisor.admin.state import ServerState
from headrace.supervisor.served_model import ServedModel


class Refused(HeadraceError):
    """A request to the admin port was refused; `code` is one of `core.errors.HTTP_STATUS`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def refusal(error: HeadraceError) -> Response:
    """The JSON answer for `error`, with its code, its message and its HTTP status."""
    return PrintableJSON({"error_code": error.code, "message": str(error)}, error.status)


async def answer_refused(_: Request, error: Exception) -> Response:
    """The exception handler for a HeadraceError, called by Starlette."""
    assert isinstance(error, HeadraceError)  # noqa: S101 - it is registered for nothing else
    return refusal(error)


def asked_model(server: ServerState, request: Request) -> ServedModel:
    """The model that the request's path names; raises Refused (404) and says which ones there are."""
    model = server.models.get(request.path_params["name"])
    if model is None:
        known = ", ".join(server.models) or "none"
        raise Refused("NOT_FOUND", f"no such model; there are: {known}")
    return model
