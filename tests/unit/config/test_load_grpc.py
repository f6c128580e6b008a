"""The port of gRPC in a configuration: its extra, and no port twice."""

from __future__ import annotations

import sys

import pytest

from headrace.config.load import check
from headrace.config.tree import Config, Gateway, Model
from headrace.core.errors import ConfigErrors
from headrace.supervisor.security.anonymous import anonymous_ports


def config(**gateway: object) -> Config:
    return Config(models={"m": Model(uri="models:/m/1", port=5001)}, gateway=Gateway(**gateway))  # type: ignore[arg-type]


def test_the_extra_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    check(config(grpc_port=8001))
    monkeypatch.setitem(sys.modules, "hpack", None)
    with pytest.raises(ConfigErrors) as raised:
        check(config(grpc_port=8001))
    assert str(raised.value) == "gateway.grpc_port: needs the package 'hpack': install headrace's extra 'grpc'"
    check(config())


def test_a_port_is_taken_once() -> None:
    with pytest.raises(ConfigErrors, match=r"port 5001 is already used by gateway\.grpc_port"):
        check(config(grpc_port=5001))


def test_a_port_that_lets_everybody_in_is_warned_of() -> None:
    (warning,) = [one for one in anonymous_ports(config(grpc_port=8001, host="0.0.0.0")) if "grpc_port" in one]
    assert warning.startswith("gateway.grpc_port: whoever reaches 0.0.0.0 may use it")
