"""What settings become on their way to gateways, workers and the recorder."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.config.tree import Config, Model
from headrace.core.protocol.messages import Limits, Share, Split
from headrace.supervisor import wire_config

URI = "models:/topic@production"


def config(**more: Any) -> Config:
    return msgspec.convert({"models": {"topic": {"uri": URI}}, **more}, Config)


def model(**more: Any) -> Model:
    return msgspec.convert({"uri": URI, **more}, Model)


def test_every_bound_of_a_client_is_a_setting_of_the_gateway() -> None:
    made = wire_config.limits(config(gateway={"max_body_bytes": 123, "keep_alive_s": 7.0}))
    assert (made.max_body_bytes, made.keep_alive_s, made.watched_headers) == (123, 7.0, ())
    assert {name for name in Limits.__struct_fields__ if not hasattr(config().gateway, name)} <= {
        "watched_headers",
        "max_pipelined",
    }


def test_headers_that_settings_look_at_are_watched_in_lower_case() -> None:
    models = {
        "a": {"uri": URI, "traffic": {"production": 9, "next": 1}, "sticky_header": "X-User"},
        "b": {"uri": URI, "queue": {"client_header": "X-Tenant"}},
        "c": {"uri": URI, "pin_header": True},
    }
    assert wire_config.watched_headers(config(models=models)) == ("headrace-version", "x-tenant", "x-user")
    spoken = config(gateway={"port": 1}, mcp={"models": ["*"]}, models={"a": {"uri": URI}})
    assert wire_config.watched_headers(spoken) == ("mcp-method", "mcp-name", "mcp-protocol-version")


def test_a_route_has_the_settings_of_its_model() -> None:
    made = wire_config.route(
        "topic",
        model(timeout_s=3.0, batch={"max_rows": 7}, queue={"client_header": "X-Tenant"}, cache={"ttl_s": 5.0}),
        "strict",
        pool="topic/1#1",
        reason="",
        unwell="",
        failing="",
        split=None,
    )
    assert (made.timeout_s, made.batch.max_rows, made.errors) == (3.0, 7, "strict")
    assert made.queue.client_header == "x-tenant"
    assert made.cache is not None
    assert made.cache.ttl_s == 5.0
    assert made.prediction_log is None


POOLS = {"production": "p", "next": "n", "copy": "c"}


@pytest.mark.parametrize(
    ("settings", "pools", "made"),
    [
        ({}, POOLS, None),
        # The main alias comes last: when another's weight grows, requests move only from it to that one.
        (
            {"traffic": {"production": 9, "next": 1}},
            POOLS,
            Split(shares=(Share("n", 1), Share("p", 9))),
        ),
        # What serves nothing leaves its share to the main version.
        ({"traffic": {"production": 9, "next": 1}}, {"production": "p"}, None),
        ({"shadow": "copy"}, {"production": "p"}, None),
        ({"pin_header": True}, {"production": "p"}, Split(pin_header="headrace-version", pins={"1": "p"})),
    ],
)
def test_how_traffic_is_divided(settings: dict[str, Any], pools: dict[str, str], made: Split | None) -> None:
    assert wire_config.split(model(**settings), "production", pools, {"1": "p"}) == made


def test_a_shadow_gets_its_share_of_copies() -> None:
    made = wire_config.split(model(shadow={"alias": "copy", "share": 0.5}), "production", POOLS, {})
    assert made is not None
    assert made.shadow is not None
    assert (made.shadow.pool, made.shadow.share) == ("c", 0.5)


def test_a_worker_is_told_how_to_answer() -> None:
    told = wire_config.worker_options(config(errors={"mode": "strict"}), model(config={"temperature": 1}))
    assert told["errors"] == "strict"
    assert told["model_config"] == '{"temperature": 1}'
    assert wire_config.worker_options(config(), model(errors={"mode": "strict"}))["errors"] == "strict"


def test_nothing_is_recorded_where_nothing_asks_for_it(tmp_path: Path) -> None:
    assert wire_config.recording(config(), tmp_path, {}) is None
    logged = config(models={"topic": {"uri": URI, "prediction_log": {"path": tmp_path}}})
    made = wire_config.recording(logged, tmp_path, {})
    assert made is not None
    assert made.access == "off"
    assert set(wire_config.prediction_logs(logged)) == {"topic"}


@pytest.mark.parametrize(
    ("settings", "shares"),
    [
        ({}, (Share("coming", 1), Share("p", 99))),
        # The others keep what they have.
        ({"traffic": {"production": 9, "next": 1}}, (Share("n", 100), Share("coming", 9), Share("p", 891))),
        ({"traffic": {"production": 0, "next": 1}}, (Share("n", 100), Share("coming", 0), Share("p", 0))),
    ],
)
def test_a_step_is_taken_from_the_main_versions_share(settings: dict[str, Any], shares: tuple[Share, ...]) -> None:
    made = wire_config.split(model(**settings), "production", POOLS, {}, ("coming", 1))
    assert made == Split(shares=shares)
