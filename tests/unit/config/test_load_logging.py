"""What is logged and traced: the words that YAML reads as truth values, extras that are missing, OTEL_*."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import yaml

from headrace.config.environment import trace_sample
from headrace.config.load import parse
from headrace.core.errors import ConfigError, UsageError

MODEL: dict[str, Any] = {"uri": "models:/m@production", "port": 5001}


@pytest.mark.parametrize(
    ("written", "mode"),
    [("off", "off"), ("on", "full"), ("full", "full"), ("sampled", "sampled"), ('"off"', "off"), ("false", "off")],
)
def test_access_may_be_written_as_a_word_or_as_what_yaml_makes_of_it(written: str, mode: str) -> None:
    document = yaml.safe_load(f"log: {{access: {written}}}")
    assert parse({**document, "models": {"m": MODEL}}).log.access_mode == mode


@pytest.mark.parametrize("value", ["most", 2, 0.5])
def test_other_words_are_refused(value: object) -> None:
    with pytest.raises(ConfigError) as error:
        parse({"log": {"access": value}, "models": {"m": MODEL}})
    assert error.value.path == "log.access"


@pytest.mark.parametrize("name", ["m", "*"])
def test_parquet_without_its_package_is_refused_with_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log = {"path": "/tmp/x", "format": "parquet"}  # noqa: S108 - nothing is written
    wildcard = {"uri": "models:/*@production", "prediction_log": log}
    models = {"m": {**MODEL, "prediction_log": log}} if name == "m" else {"*": wildcard}
    document = {"models": models, "gateway": {"port": 5000}}
    parse(document)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError) as error:
        parse(document)
    assert str(error.value) == (
        f"models.{name}.prediction_log.format: needs the package 'pyarrow': install headrace's extra 'parquet'"
    )


def test_traces_without_their_packages_are_refused_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"models": {"m": MODEL}, "telemetry": {"otlp": {"endpoint": "http://localhost:4318"}}}
    parse(document)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(ConfigError) as error:
        parse(document)
    assert str(error.value) == "telemetry.otlp: needs OpenTelemetry's packages: install headrace's extra 'otel'"


@pytest.mark.parametrize(
    ("configured", "environ", "share"),
    [
        (None, {}, 0.01),
        (0.5, {"OTEL_TRACES_SAMPLER": "always_on"}, 0.5),
        (None, {"OTEL_TRACES_SAMPLER": "always_on"}, 1.0),
        (None, {"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, 0.0),
        (None, {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, 0.25),
        (None, {"OTEL_TRACES_SAMPLER": "traceidratio"}, 1.0),
        (1.0, {"OTEL_SDK_DISABLED": "True"}, None),
    ],
)
def test_the_share_of_traces(configured: float | None, environ: dict[str, str], share: float | None) -> None:
    assert trace_sample(configured, environ) == share


@pytest.mark.parametrize("ratio", ["much", "2", "-1", "nan"])
def test_a_ratio_that_is_none_is_refused(ratio: str) -> None:
    with pytest.raises(UsageError):
        trace_sample(None, {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": ratio})
