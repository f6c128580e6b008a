"""Sockets that stay where they are wanted, whoever wants them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from headrace.config.load import parse
from headrace.config.tree import Config
from headrace.core.errors import ConfigError
from headrace.supervisor.ports import Ports


@contextlib.contextmanager
def bound(config: Config) -> Iterator[Ports]:
    ports = Ports().of(config)
    try:
        yield ports
    finally:
        ports.close()


def configuration(gateway: dict[str, Any] | None = None, **models: int | None) -> Config:
    named = {name: {"uri": f"models:/{name}@production", "port": port} for name, port in models.items()}
    return parse({"admin": {"port": 0}, "gateway": {"port": 0, **(gateway or {})}, "models": named})


def connect(address: tuple[str, int] | None) -> socket.socket:
    assert address is not None
    return socket.create_connection(address)


def descriptors(ports: Ports) -> dict[str | None, int]:
    return {one.model: one.fd for one in ports.listeners(0, 1, tls=False)}


def test_what_stays_keeps_its_socket_and_what_goes_is_closed() -> None:
    with bound(configuration(a=0, b=0)) as ports:
        gone = ports.of_model("b")
        then = ports.of(configuration(a=0, c=0))
        assert then.of_model("a") == ports.of_model("a")
        assert then.admin is ports.admin
        assert descriptors(then)["a"] == descriptors(ports)["a"]
        assert then.of_model("b") is None
        ports.close_but(then)
        with pytest.raises(ConnectionRefusedError):
            connect(gone)
        with then_closed(then):
            for name in ("a", "c", None):
                connect(then.of_model(name)).close()


@contextlib.contextmanager
def then_closed(ports: Ports) -> Iterator[None]:
    try:
        yield
    finally:
        ports.close()


def test_a_port_that_two_models_exchange_is_not_closed_in_between() -> None:
    with bound(configuration(a=0, b=0)) as ports:
        first, second = ports.of_model("a"), ports.of_model("b")
        assert first is not None
        assert second is not None
        then = ports.of(configuration(a=second[1], b=first[1]))
        assert (then.of_model("a"), then.of_model("b")) == (second, first)
        assert sorted(descriptors(then).values()) == sorted(descriptors(ports).values())


def test_a_port_that_is_taken_is_named_and_nothing_else_is_opened() -> None:
    with bound(configuration(a=0)) as ports, socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        with pytest.raises(ConfigError) as caught:
            ports.of(configuration(a=0, b=0, c=busy.getsockname()[1]))
        assert caught.value.path == "models.c.port"
        connect(ports.of_model("a")).close()


def test_each_gateway_has_its_share_of_the_sockets_and_with_fewer_of_them_all_are_taken() -> None:
    with bound(configuration(a=0)) as ports:
        then = ports.of(configuration({"processes": 3}, a=0))
        try:
            shares = [{one.fd for one in then.listeners(index, 3, tls=False)} for index in range(3)]
            assert [len(share) for share in shares] == [2, 2, 2]
            assert not set.intersection(*shares)
            fewer = then.of(configuration(a=0))
            assert {one.fd for one in fewer.listeners(0, 1, tls=False)} == set.union(*shares)
        finally:
            then.close()
