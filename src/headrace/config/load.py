"""Reads a configuration file and says all that is wrong with it: the line, the path of the key, what may be there."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Collection, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import yaml

from headrace.config import tree
from headrace.config.expanding import expand
from headrace.config.fitting import WRONG, Fitting
from headrace.config.reading import Unreadable, compose, key_of, line, line_at, represent, value_of
from headrace.config.replicas import check_replicas
from headrace.config.security import Issuer, Tls
from headrace.config.traffic import WILDCARD, check_traffic
from headrace.core.errors import ConfigErrors, Problem, UsageError
from headrace.core.identity import parse_model_uri, valid_name
from headrace.core.security.addresses import is_safe_url

M = TypeVar("M", bound=tree.Model)

_NO_MODELS = "at least one model is needed, such as 'topic: {uri: \"models:/topic@production\"}'"


def load_file(path: Path, environ: Mapping[str, str] | None = None, folder: Path | None = None) -> tree.Config:
    """Parse and check one YAML file; raises UsageError with a line for each thing that is wrong.

    Variables are expanded (`environ` None: with those of this process); relative paths start in
    `folder` (None: where the file is).
    """
    environ = os.environ if environ is None else environ
    try:
        root, problems = expand(compose(_text(path)), environ)
    except Unreadable as error:
        raise ConfigErrors([error.problem], str(path)) from None
    config = None
    if not problems:  # what a missing variable would have been is not known: more would be guessed
        config, problems = _parse(root)
    if problems or config is None:
        raise ConfigErrors(_in_order(root, problems), str(path))
    return _anchored(config, folder or path.absolute().parent)


def read_document(path: Path) -> dict[str, Any]:
    """A configuration file as it was written, with variables that are not expanded; call it after `load_file`."""
    document = value_of(compose(_text(path)))
    return document if isinstance(document, dict) else {}


def place(path: Path, setting: str) -> str:
    """`FILE:LINE` of a setting, or of what is around it; without the line where the file can no longer be read."""
    try:
        return f"{path}:{line_at(compose(_text(path)), setting)}"
    except (UsageError, Unreadable):
        return str(path)


def parse(document: object) -> tree.Config:
    """Turn a parsed document into the tree; raises ConfigErrors with the path of each thing that is wrong."""
    try:
        config, problems = _parse(represent(document))
    except Unreadable as error:
        raise ConfigErrors([error.problem]) from None
    if problems or config is None:
        raise ConfigErrors(problems)
    return config


def check(config: tree.Config) -> None:
    """Refuse what is wrong only in combination; raises ConfigErrors."""
    problems = list(_combined(config))
    if problems:
        raise ConfigErrors(problems)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; write one like the example in the README") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None


def _in_order(root: yaml.Node, problems: list[Problem]) -> list[Problem]:
    """The problems in the order of the file."""
    placed = [one if one.line else one._replace(line=line_at(root, one.path)) for one in problems]
    return sorted(placed, key=lambda one: one.line or 0)


def _parse(root: yaml.Node) -> tuple[tree.Config | None, list[Problem]]:
    """The tree, and all that is wrong with it; None where there is no use in looking on."""
    if not isinstance(root, yaml.MappingNode):
        got = "a list" if isinstance(root, yaml.SequenceNode) else "nothing" if value_of(root) is None else "a text"
        return None, [Problem("", f"expected a mapping with 'models:', got {got}", line(root))]
    fitting = Fitting()
    rest = yaml.MappingNode(root.tag, [], root.start_mark, root.end_mark)
    models: yaml.Node | None = None
    for key, value in root.value:
        if key_of(key) == "wildcard":
            says = f"unknown key; it is written as the model '{WILDCARD}' under models"
            fitting.problems.append(Problem("wildcard", says, line(key)))
        elif key_of(key) == "models" and models is None:
            models = value
        else:
            rest.value.append((key, value))
    config = fitting.section(rest, tree.Config, "")
    if models is None and "models" not in fitting.meant:
        fitting.problems.append(Problem("models", _NO_MODELS, line(root)))
    if models is not None:
        named, wildcard = _models(models, fitting)
        config = msgspec.structs.replace(config, models=named, wildcard=wildcard)
        # A mistake is told once: not again by what follows of it.
        wrong = {one.path for one in fitting.problems} | fitting.meant
        fitting.problems += [one for one in _combined(config, wrong) if one.path not in wrong]
    return config, fitting.problems


def _models(node: yaml.Node, fitting: Fitting) -> tuple[dict[str, tree.Model], tree.Wildcard | None]:
    """The models that fit."""
    if not isinstance(node, yaml.MappingNode) or not node.value:
        fitting.problems.append(Problem("models", _NO_MODELS, line(node)))
        return {}, None
    named: dict[str, tree.Model] = {}
    wildcard: tree.Wildcard | None = None
    for name, entry in fitting.entries(node, "models"):
        path = f"models.{name}"
        if name == WILDCARD:
            wildcard = _model(entry, tree.Wildcard, path, fitting)
        elif not valid_name(name):
            says = "a model's name may hold letters, digits, '.', '_' and '-' (it becomes part of a URL)"
            fitting.problems.append(Problem(path, says))
        elif (model := _model(entry, tree.Model, path, fitting)) is not None:
            named[name] = model
    return named, wildcard


def _model(node: yaml.Node, kind: type[M], path: str, fitting: Fitting) -> M | None:
    before = len(fitting.problems)
    model = fitting.section(node, kind, path)
    if model is WRONG:
        return None
    wrong = {one.path for one in fitting.problems[before:]}
    found = (*check_traffic(path, model), *check_replicas(path, model))
    fitting.problems += [one for one in found if one.path not in wrong]
    return model  # type: ignore[no-any-return]


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

    def tls(section: Tls) -> Tls:
        key, client_ca = section.key, section.client_ca
        return msgspec.structs.replace(
            section,
            certificate=folder / section.certificate.expanduser(),
            key=key and folder / key.expanduser(),
            client_ca=client_ca and folder / client_ca.expanduser(),
        )

    admin = config.admin
    if admin is not None and isinstance(admin.tls, Tls):
        admin = msgspec.structs.replace(admin, tls=tls(admin.tls))
    auth = config.auth
    if auth is not None and auth.keys is not None:
        auth = msgspec.structs.replace(auth, keys=folder / auth.keys.expanduser())
    if auth is not None:
        issuers = {
            name: msgspec.structs.replace(one, ca=one.ca and folder / one.ca.expanduser())
            for name, one in auth.issuers.items()
        }
        auth = msgspec.structs.replace(auth, issuers=issuers)
    environments = config.environments
    wheels, prebuilt = environments.wheels, environments.prebuilt
    return msgspec.structs.replace(
        config,
        tls=config.tls and tls(config.tls),
        admin=admin,
        auth=auth,
        models={name: model(one) for name, one in config.models.items()},
        wildcard=config.wildcard and model(config.wildcard),
        environments=msgspec.structs.replace(
            environments, wheels=wheels and anchor(wheels), prebuilt=prebuilt and anchor(prebuilt)
        ),
        audit=config.audit and folder / config.audit.expanduser(),
        home=config.home and folder / config.home.expanduser(),
    )


def _combined(config: tree.Config, wrong: Collection[str] = ()) -> Iterator[Problem]:
    """What is wrong only in combination: ports that are taken twice, models that nothing serves, extras not there.

    `wrong` are paths of mistakes that are known: what stands there is not what was meant.
    """
    gateway = config.gateway
    shared = gateway.port is not None or not {"gateway", "gateway.port"}.isdisjoint(wrong)
    taken: dict[int, str] = {}
    ports: list[tuple[str, int | None]] = [("admin.port", config.admin.port if config.admin else None)]
    ports += [("gateway.port", gateway.port), ("gateway.grpc_port", gateway.grpc_port)]
    ports.extend((f"models.{name}.port", model.port) for name, model in config.models.items())
    for path, port in ports:
        if port and port in taken:
            yield Problem(path, f"port {port} is already used by {taken[port]}; give each its own")
        elif port:
            taken[port] = path
    if config.wildcard is not None and not shared:
        yield Problem(f"models.{WILDCARD}", "is served on the shared port: set gateway.port")
    if config.mcp is not None and not shared:
        yield Problem("mcp", "is spoken on the shared port: set gateway.port")
    if gateway.grpc_port is not None and not all(find_spec(name) for name in ("hpack", "google.protobuf")):
        yield Problem("gateway.grpc_port", "needs the package 'hpack': install headrace's extra 'grpc'")
    if config.telemetry.otlp is not None and not _otlp_there():
        yield Problem("telemetry.otlp", "needs OpenTelemetry's packages: install headrace's extra 'otel'")
    yield from _check_auth(config)
    yield from _check_quotas(config, wrong)
    wildcard = {WILDCARD: config.wildcard} if config.wildcard is not None else {}
    for name, model in {**config.models, **wildcard}.items():
        if model.cache is not None and model.cache.url is not None:
            yield from _check_redis(f"models.{name}.cache.url", model.cache.url)
        log = model.prediction_log
        if log is not None and log.format == "parquet" and find_spec("pyarrow") is None:
            path = f"models.{name}.prediction_log.format"
            yield Problem(path, "needs the package 'pyarrow': install headrace's extra 'parquet'")
    for name, model in config.models.items():
        if model.port is None and not shared:
            says = "without a port of its own the model needs the shared one: set it here, or set gateway.port"
            yield Problem(f"models.{name}.port", says)


def _check_auth(config: tree.Config) -> Iterator[Problem]:
    auth = config.auth
    if auth is None:
        return
    for at, address in enumerate(auth.proxy.addresses if auth.proxy is not None else ()):
        try:
            ipaddress.ip_network(address)
        except ValueError:
            yield Problem(f"auth.proxy.addresses[{at}]", f"{address!r} is no address or network such as 10.0.0.0/8")
    if auth.grants and auth.proxy is None and (config.tls is None or config.tls.client_ca is None):
        yield Problem("auth.grants", "nobody says who a client is: set tls.client_ca, or auth.proxy")
    for name, issuer in auth.issuers.items():
        if not valid_name(name):
            yield Problem(f"auth.issuers.{name}", "a name may hold letters, digits, '.', '_' and '-'")
        yield from _check_issuer(f"auth.issuers.{name}", issuer)
    if auth.proxy is not None and not auth.grants:
        yield Problem("auth.proxy", "who it speaks of may do nothing: say in auth.grants what they may")


def _check_issuer(path: str, issuer: Issuer) -> Iterator[Problem]:
    if not issuer.grants and issuer.roles_claim is None:
        says = "who has its tokens may do nothing: say in grants what they may, or in roles_claim where a token says it"
        yield Problem(path, says)
    for key in ("audiences", "algorithms"):
        if not getattr(issuer, key):
            yield Problem(f"{path}.{key}", "name at least one: without it no token counts")
    back = issuer.client.redirect_uri if issuer.client is not None else None
    for key, url in (("issuer", issuer.issuer), ("jwks_url", issuer.jwks_url), ("client.redirect_uri", back)):
        if url is not None and not is_safe_url(url):
            yield Problem(f"{path}.{key}", f"{url!r} is no https:// address; only on loopback may it be http://")


def _check_quotas(config: tree.Config, wrong: Collection[str]) -> Iterator[Problem]:
    for who, quota in config.quotas.items():
        if any(path.startswith(f"quotas.{who}.") for path in wrong):
            continue
        if all(most is None for most in (quota.requests_per_s, quota.rows_per_s, quota.in_flight, quota.rows_per_day)):
            says = "limits nothing: set requests_per_s, rows_per_s, in_flight or rows_per_day"
            yield Problem(f"quotas.{who}", says)


def _otlp_there() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def _check_redis(path: str, url: str) -> Iterator[Problem]:
    """Refuse a URL that the gateways could do nothing with; it may hold a password and is not repeated."""
    try:
        from redis.connection import parse_url  # noqa: PLC0415 - an optional package
    except ImportError:
        yield Problem(path, "needs the package 'redis': install headrace's extra 'redis'")
        return
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):
        yield Problem(path, "expected a URL such as redis://host:6379/0")
