"""Reads a configuration file, and says exactly where it is wrong: the path of the key, what is there, what may be."""

from __future__ import annotations

import difflib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
import yaml

from headrace.config import tree
from headrace.config.traffic import WILDCARD, check_traffic
from headrace.core.errors import ConfigError, UsageError
from headrace.core.identity import parse_model_uri, valid_name

T = TypeVar("T")
M = TypeVar("M", bound=tree.Model)

_UNKNOWN = re.compile(r"unknown field `([^`]+)`")
_AT = re.compile(r" - at (?:`(?P<key>key)` in )?`\$(?P<path>[^`]*)`$")
_NOT_AN_OPTION = re.compile(r"Invalid enum value (?P<value>.*)")


def load_file(path: Path) -> tree.Config:
    """Parse and check one YAML file; raises ConfigError or UsageError with one line that a person can act on."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; write one like the example in the README") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    try:
        document = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader that refuses duplicate keys
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not valid YAML: {_located_in_text(error)}") from None
    try:
        return _anchored(parse(document), path.absolute().parent)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.path}" if error.path else str(path), _problem(error)) from None


def parse(document: object) -> tree.Config:
    """Turn a parsed document into the tree; raises ConfigError with the path of what is wrong."""
    if not isinstance(document, dict):
        raise ConfigError("", f"expected a mapping with 'models:', got {_kind(document)}")
    models = document.get("models")
    if not isinstance(models, dict) or not models:
        raise ConfigError(
            "models", "at least one model is needed, such as 'topic: {uri: \"models:/topic@production\"}'"
        )
    if "wildcard" in document:
        raise ConfigError("wildcard", f"unknown key; it is written as the model '{WILDCARD}' under models")
    parsed: dict[str, tree.Model] = {}
    wildcard: tree.Wildcard | None = None
    for name, entry in models.items():
        if name == WILDCARD:
            wildcard = _convert(entry, tree.Wildcard, f"models.{WILDCARD}")
            _check_uri(f"models.{WILDCARD}", wildcard)
            continue
        if not isinstance(name, str):
            raise ConfigError(f"models.{name}", f"expected str, got {_kind(name)}: write the name in quotes")
        if not valid_name(name):
            raise ConfigError(
                f"models.{name}",
                "a model's name may hold letters, digits, '.', '_' and '-' (it becomes part of a URL)",
            )
        parsed[name] = _convert(entry, tree.Model, f"models.{name}")
        _check_uri(f"models.{name}", parsed[name])
    config = _convert({k: v for k, v in document.items() if k != "models"}, tree.Config, "")
    config = msgspec.structs.replace(config, models=parsed, wildcard=wildcard)
    check(config)
    return config


def _anchored(config: tree.Config, folder: Path) -> tree.Config:
    """The tree with relative paths of files and directories taken from `folder`, wherever the command runs."""

    def anchor(text: str) -> str:
        return str(folder / Path(text).expanduser())

    def model(one: M) -> M:
        if parse_model_uri(one.uri).kind == "path" and not urlsplit(one.uri).scheme:
            one = msgspec.structs.replace(one, uri=anchor(one.uri))
        if one.checks.file is not None:
            one = msgspec.structs.replace(one, checks=msgspec.structs.replace(one.checks, file=anchor(one.checks.file)))
        if (log := one.prediction_log) is not None:
            log = msgspec.structs.replace(log, path=folder / log.path.expanduser())
            one = msgspec.structs.replace(one, prediction_log=log)
        return one

    environments = config.environments
    wheels, prebuilt = environments.wheels, environments.prebuilt
    return msgspec.structs.replace(
        config,
        models={name: model(one) for name, one in config.models.items()},
        wildcard=config.wildcard and model(config.wildcard),
        environments=msgspec.structs.replace(
            environments, wheels=wheels and anchor(wheels), prebuilt=prebuilt and anchor(prebuilt)
        ),
        home=config.home and folder / config.home.expanduser(),
    )


def _check_uri(path: str, model: tree.Model) -> None:
    try:
        parse_model_uri(model.uri)
    except UsageError as error:
        raise ConfigError(f"{path}.uri", str(error)) from None
    check_traffic(path, model)


def check(config: tree.Config) -> None:
    """Refuse what is wrong only in combination: ports that are taken twice, models that nothing serves."""
    taken: dict[int, str] = {}
    ports: list[tuple[str, int | None]] = [("admin.port", config.admin.port if config.admin else None)]
    ports.append(("gateway.port", config.gateway.port))
    ports.extend((f"models.{name}.port", model.port) for name, model in config.models.items())
    for path, port in ports:
        if port and port in taken:
            raise ConfigError(path, f"port {port} is already used by {taken[port]}; give each its own")
        if port:
            taken[port] = path
    if config.wildcard is not None and config.gateway.port is None:
        raise ConfigError(f"models.{WILDCARD}", "is served on the shared port: set gateway.port")
    if config.telemetry.otlp is not None:
        _check_otlp()
    wildcard = {WILDCARD: config.wildcard} if config.wildcard is not None else {}
    for name, model in {**config.models, **wildcard}.items():
        if model.cache is not None and model.cache.url is not None:
            _check_redis(f"models.{name}.cache.url", model.cache.url)
        if model.prediction_log is not None:
            _check_prediction_log(f"models.{name}.prediction_log", model.prediction_log)
    for name, model in config.models.items():
        if model.port is None and config.gateway.port is None:
            raise ConfigError(
                f"models.{name}.port",
                "without a port of its own the model needs the shared one: set gateway.port",
            )


def _check_prediction_log(path: str, log: tree.PredictionLog) -> None:
    if log.format == "parquet" and find_spec("pyarrow") is None:
        raise ConfigError(f"{path}.format", "needs the package 'pyarrow': install headrace's extra 'parquet'")


def _check_otlp() -> None:
    try:
        there = find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        there = False
    if not there:
        raise ConfigError("telemetry.otlp", "needs OpenTelemetry's packages: install headrace's extra 'otel'")


def _check_redis(path: str, url: str) -> None:
    """Refuse a URL that the gateways could do nothing with; it may hold a password and is not repeated."""
    try:
        from redis.connection import parse_url  # noqa: PLC0415 - an optional package
    except ImportError:
        raise ConfigError(path, "needs the package 'redis': install headrace's extra 'redis'") from None
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):
        raise ConfigError(path, "expected a URL such as redis://host:6379/0") from None


def _convert(value: object, kind: type[T], path: str) -> T:
    if value is None and path:
        value = {}
    try:
        return msgspec.convert(value, kind, dec_hook=_beyond_yaml)
    except msgspec.ValidationError as error:
        raise _located(str(error), value, kind, path) from None


def _beyond_yaml(kind: type[Any], value: object) -> object:
    """What YAML has no form of its own for: a path is written as a string."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"Expected `{kind.__name__}`, got `{_kind(value)}`")


def _located(message: str, value: object, kind: type[Any], path: str) -> ConfigError:
    """Turn msgspec's message into ours: the whole path, and what may stand there instead."""
    at = _AT.search(message)
    inner = at["path"] if at else ""
    problem = message[: at.start()] if at else message
    if inner.endswith("[...]"):
        inner = _entry(inner.removesuffix("[...]"), value, kind)
    where = (path + inner).lstrip(".")
    unknown = _UNKNOWN.search(problem)
    if unknown:
        known = [field.name for field in msgspec.structs.fields(_section(_type_at(kind, inner)))]
        near = difflib.get_close_matches(unknown[1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "known here: " + ", ".join(known)
        return ConfigError(f"{where}.{unknown[1]}".lstrip("."), f"unknown key; {hint}")
    missing = re.search(r"missing required field `([^`]+)`", problem)
    if missing:
        return ConfigError(f"{where}.{missing[1]}".lstrip("."), "is required")
    if other := _NOT_AN_OPTION.fullmatch(problem):
        return ConfigError(where, f"{other['value']} is none of: {', '.join(sorted(_options(_type_at(kind, inner))))}")
    problem = problem[0].lower() + problem[1:].replace("`", "")
    if at and at["key"]:
        problem = f"a key of it: {problem}"
    return ConfigError(where, problem.replace("object", "a mapping"))


def _type_at(kind: Any, inner: str) -> Any:
    """The type of what stands at a path below `kind`, such as ``.batch.max_rows`` or ``.allow[1]``."""
    for part in re.findall(r"[^.\[\]]+", inner):
        if part.isdigit():
            continue  # an item of a list: its type is among the list's arguments
        kind = next((f.type for f in msgspec.structs.fields(_section(kind)) if f.name == part), tree.Section)
    return kind


def _section(kind: Any) -> type[tree.Section]:
    return next(
        (o for o in (kind, *get_args(kind)) if isinstance(o, type) and issubclass(o, tree.Section)), tree.Section
    )


def _options(kind: Any) -> set[str]:
    """The words that a type allows, wherever in it they stand."""
    if get_origin(kind) is Literal:
        return set(get_args(kind))
    return set().union(*map(_options, get_args(kind)))


def _entry(inner: str, value: Any, kind: type[Any]) -> str:
    """The path of the entry of a mapping that is wrong: msgspec says only which mapping."""
    for part in inner.strip(".").split("."):
        value = value[part]
    for key, one in value.items():
        try:
            msgspec.convert({key: one}, _type_at(kind, inner), dec_hook=_beyond_yaml)
        except msgspec.ValidationError:
            return f"{inner}.{key}"
    return inner


def _located_in_text(error: yaml.YAMLError) -> str:
    """What is wrong with a text and in which line of it, in one line."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    mark = error.problem_mark
    parts = (error.context, error.problem)
    return f"line {mark.line + 1}, column {mark.column + 1}: {', '.join(' '.join(p.split()) for p in parts if p)}"


def _problem(error: ConfigError) -> str:
    return str(error).removeprefix(f"{error.path}: ")


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets a later key replace an earlier one in silence; a configuration must not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # what it brings may be replaced by what stands beside it: that is what it is for
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int, float)) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            if isinstance(key, (str, int, float)):
                seen.add(key)
        return super().construct_mapping(node, deep)
