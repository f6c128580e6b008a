"""MLflow's deployment client for a running headrace."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

from mlflow.deployments.base import BaseDeploymentClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
)

from headrace.client import ClientError, connect
from headrace.client.admin import AdminPort, call
from headrace.config.editing import setting, with_model, with_settings, without_model
from headrace.core.errors import HeadraceError, UsageError
from headrace.deployments.changing import ConfigurationFile, described
from headrace.deployments.targets import admin_port, seen_from_here

P = ParamSpec("P")
R = TypeVar("R")

FLAVOR = "python_function"
_WAIT_S = 300.0
_BODIES = frozenset({"inputs", "instances", "dataframe_split", "dataframe_records", "messages", "prompt", "input"})
_CODES = {"TEMPORARILY_UNAVAILABLE": TEMPORARILY_UNAVAILABLE, "INVALID_PARAMETER_VALUE": INVALID_PARAMETER_VALUE}


def _reported(method: Callable[P, R]) -> Callable[P, R]:
    """What MLflow's callers expect of a plugin: every error is an MlflowException."""

    @functools.wraps(method)
    def reporting(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return method(*arguments, **named)
        except ClientError as error:
            raise MlflowException(str(error), _CODES.get(error.code or "", INTERNAL_ERROR)) from error
        except HeadraceError as error:
            raise MlflowException(str(error), _CODES.get(error.code, INTERNAL_ERROR)) from error

    return reporting


class HeadraceDeployments(BaseDeploymentClient):
    """Models of a running headrace. `target_uri` says which one: see `targets.target_help`.

    Every method raises MlflowException. `config` holds settings of a model as headrace.yaml has them, with dots for
    what stands deeper, and `wait_s` (seconds, 300) and `asynchronous`; texts in it mean what they mean in the file.
    """

    @_reported
    def __init__(self, target_uri: str) -> None:
        super().__init__(target_uri)  # type: ignore[no-untyped-call] # MLflow's base has no types
        self._admin: AdminPort = admin_port(target_uri, os.environ)

    @_reported
    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Put a model into headrace's configuration and return when it serves. The file must be on this machine.

        Raises MlflowException if a model of this name is served already, or if this one does not come up: then the
        configuration is as it was.
        """
        _check(flavor, endpoint)
        if described(self._admin, name) is not None:
            raise MlflowException(f"{name}: is served already; update it, or delete it first", RESOURCE_ALREADY_EXISTS)
        settings, wait_s = _settings(config)
        entry = {"uri": model_uri, **settings}
        ConfigurationFile(self._admin).change(lambda text: with_model(text, name, entry), name, wait_s)
        return self._told(name)

    @_reported
    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Give a model another URI or other settings, and return when they are in force; no request fails meanwhile.

        What is not named stays. The new version is brought up beside the one that serves. Raises MlflowException if it
        does not come up: then what served serves on, and the configuration is as it was.
        """
        _check(flavor, endpoint)
        settings, wait_s = _settings(config)
        if model_uri is not None:
            settings = {"uri": model_uri, **settings}
        if not settings:
            raise UsageError(f"{name}: nothing to update: give a model URI, or settings with -C")
        self._known(name)
        ConfigurationFile(self._admin).change(lambda text: with_settings(text, name, settings), name, wait_s)
        return self._told(name)

    @_reported
    def delete_deployment(
        self, name: str, config: Mapping[str, Any] | None = None, endpoint: str | None = None
    ) -> None:
        """Take a model out of headrace's configuration; it answers what it was given, and ends. None of it: no error.

        The last model cannot go.
        """
        _check(None, endpoint)
        _, wait_s = _settings(config)
        ConfigurationFile(self._admin).change(lambda text: without_model(text, name), name, wait_s)

    @_reported
    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """Every model that is served, as `get_deployment` tells it."""
        _check(None, endpoint)
        return [_deployment(one) for one in call(self._admin, "/api/models")["models"]]

    @_reported
    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """What is served: `name`, `flavor`, `uri`, `version`, `state`, `ready`, `reason`, `url`, and all of headrace's.

        Raises MlflowException if there is no such model.
        """
        _check(None, endpoint)
        return self._told(name)

    @_reported
    def predict(self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None) -> Any:
        """Ask a model, with all that `headrace.client` does for a call; returns MLflow's PredictionsResponse.

        `inputs` is a DataFrame, an array, a list, a dict of columns, or a body of MLflow's protocol.
        """
        from mlflow.deployments import PredictionsResponse  # noqa: PLC0415 - it imports its plugins' base itself

        with connect(self._address(deployment_name or endpoint)) as model:
            answer = model.predict(inputs, form="raw" if _is_body(inputs) else None)
        return PredictionsResponse({"predictions": answer})

    @_reported
    def predict_stream(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> Iterator[Any]:
        """Yield the pieces of a streamed answer as the model makes them; one that does not stream gives one piece."""
        address = self._address(deployment_name or endpoint)

        def pieces() -> Iterator[Any]:
            with connect(address) as model:
                stream = model.stream(inputs, form="raw" if _is_body(inputs) else None)
                while True:
                    try:
                        piece = _next(stream)
                    except StopIteration:
                        return
                    yield piece if isinstance(piece, dict) else {"predictions": piece}

        return pieces()

    def _known(self, name: str) -> dict[str, Any]:
        found = described(self._admin, name)
        if found is None:
            known = ", ".join(one["name"] for one in call(self._admin, "/api/models")["models"]) or "none"
            raise MlflowException(f"{name}: no such model; there are: {known}", RESOURCE_DOES_NOT_EXIST)
        return found

    def _told(self, name: str) -> dict[str, Any]:
        return _deployment(self._known(name))

    def _address(self, name: str | None) -> str:
        if name is None:
            raise UsageError("give the name of a model")
        url = self._known(name)["url"]
        if url is None:
            raise UsageError(f"{name}: has no port of its own, and there is no shared one")
        return seen_from_here(url, self._admin.address)


@_reported
def _next(stream: Iterator[Any]) -> Any:
    return next(stream)


def _check(flavor: str | None, endpoint: str | None) -> None:
    if flavor not in {None, FLAVOR}:
        raise UsageError(f"flavor {flavor!r}: headrace serves {FLAVOR}")
    if endpoint is not None:
        raise UsageError(
            f"endpoint {endpoint!r}: headrace has none; a deployment is a model with an address of its own"
        )


def _settings(config: Mapping[str, Any] | None) -> tuple[dict[str, Any], float | None]:
    """(settings of the model, seconds to wait; None: do not wait)."""
    found = {key: setting(value) if isinstance(value, str) else value for key, value in (config or {}).items()}
    wait_s, asynchronous = found.pop("wait_s", _WAIT_S), found.pop("asynchronous", False)
    if isinstance(wait_s, bool) or not isinstance(wait_s, (int, float)) or wait_s <= 0:
        raise UsageError(f"wait_s: seconds, more than 0, not {wait_s!r}")
    if not isinstance(asynchronous, bool):
        raise UsageError(f"asynchronous: true or false, not {asynchronous!r}")
    return found, None if asynchronous else float(wait_s)


def _is_body(inputs: Any) -> bool:
    return isinstance(inputs, dict) and bool(_BODIES & inputs.keys())


def _deployment(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model of the admin API with what MLflow's callers look for first."""
    current = model["current"] or {}
    first = {
        "name": model["name"], "flavor": FLAVOR, "uri": model["uri"], "version": current.get("version"),
        "state": model["state"], "ready": model["ready"], "reason": model["reason"], "url": model["url"],
    }  # fmt: skip
    return {**first, **{key: value for key, value in model.items() if key not in first}}
