"""`headrace serve`: one model with the options of `mlflow models serve`, or many from a file."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop
from click.core import ParameterSource

from headrace.cli.commands import Exampled
from headrace.cli.main import forget_unwritable_output
from headrace.cli.overriding import for_all, for_node, overridden, with_admin, with_grpc
from headrace.cli.saying import say
from headrace.cli.screen import show
from headrace.config import environment
from headrace.config.cluster import Cluster
from headrace.config.load import check, load_file, place
from headrace.config.tree import Config, Gateway, Model
from headrace.core.errors import ConfigError, UsageError
from headrace.core.identity import parse_model_uri, served_name
from headrace.keeper.kept import Kept
from headrace.supervisor.admin.addresses import url
from headrace.supervisor.app import Supervisor
from headrace.supervisor.reloading import Source
from headrace.supervisor.security.anonymous import anonymous_ports
from headrace.telemetry.logs import Level, make_log

_ADMIN_PORT = 5100


@click.command(
    "serve",
    cls=Exampled,
    context_settings={"help_option_names": ["--help"]},
    examples=(
        "headrace serve -m models:/classification@production -p 5001 -w 2",
        "headrace serve --config headrace.yaml -w 4",
    ),
)
@click.option(
    "-m", "--model-uri", metavar="URI",
    help="One model: models:/NAME@ALIAS, models:/NAME/3, runs:/…, a path [default: HEADRACE_MODEL_URI, else "
    "MLSERVER_MODEL_URI].",
)  # fmt: skip
@click.option(
    "-c", "--config", "file", type=click.Path(path_type=Path), metavar="FILE",
    help="Many models: a headrace.yaml [default: HEADRACE_CONFIG].",
)  # fmt: skip
@click.option(
    "--name", metavar="NAME", envvar="MLSERVER_MODEL_NAME",
    help="What the one model is called in paths and metrics [default: the last part of its URI].",
)  # fmt: skip
@click.option(
    "-p", "--port", type=click.IntRange(0, 65535), envvar=["MLFLOW_PORT", "MLSERVER_HTTP_PORT"], default=5000,
    show_default=True,
)  # fmt: skip
@click.option(
    "--grpc-port", type=click.IntRange(0, 65535), envvar="MLSERVER_GRPC_PORT", default=None,
    help="A port for gRPC (the Open Inference Protocol) [default: none].",
)  # fmt: skip
@click.option(
    "-h", "--host", envvar=["MLFLOW_HOST", "MLSERVER_HOST"], default="127.0.0.1", show_default=True,
)  # fmt: skip
@click.option(
    "-t", "--timeout", type=click.FloatRange(min=0, min_open=True),
    envvar="MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT", default=60.0, show_default=True, help="Seconds for one request.",
)  # fmt: skip
@click.option(
    "-w", "--workers", type=click.IntRange(min=1), envvar="MLFLOW_MODELS_WORKERS", default=1, show_default=True,
    help="Replicas of the model.",
)  # fmt: skip
@click.option(
    "--env-manager", type=click.Choice(["local", "virtualenv", "uv", "conda"]), default=None,
    help="local: the running environment; else the one of the training, built with uv "
    "[default: the running one where it satisfies the model's requirements].",
)  # fmt: skip
@click.option("--no-conda", is_flag=True, help="The same as --env-manager local.")
@click.option("--install-mlflow", is_flag=True, hidden=True)
@click.option(
    "--admin-port", type=click.IntRange(0, 65535), default=None,
    help=f"The admin port [default: {_ADMIN_PORT}, or any free one if that is taken].",
)  # fmt: skip
@click.option(
    "--pass-env", multiple=True, metavar="NAME", envvar="HEADRACE_PASS_ENV",
    help="A variable that models are to get beside those of the machine, or a pattern: AWS_*.",
)  # fmt: skip
@click.option(
    "--strict",
    is_flag=True,
    help="Refuse to start where a port lets in whoever reaches it and nobody said so.",
)
@click.option(
    "--watch", is_flag=True, envvar="HEADRACE_WATCH",
    help="Reload the file whenever it changes, a mounted ConfigMap's, too.",
)  # fmt: skip
@click.option("--on-node", hidden=True)
@click.option("--relative-to", hidden=True, type=click.Path(path_type=Path))
@click.option("--log-format", type=click.Choice(["auto", "text", "json"]), default=None)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default=None)
def command(
    model_uri: str | None,
    file: Path | None,
    name: str | None,
    port: int,
    grpc_port: int | None,
    host: str,
    timeout: float,
    workers: int,
    env_manager: str | None,
    no_conda: bool,  # noqa: FBT001
    install_mlflow: bool,  # noqa: ARG001, FBT001
    admin_port: int | None,
    pass_env: tuple[str, ...],
    strict: bool,  # noqa: FBT001
    watch: bool,  # noqa: FBT001
    on_node: str | None,
    relative_to: Path | None,
    log_format: str | None,
    log_level: str | None,
) -> None:
    """Serve models until SIGTERM or Ctrl-C, then finish what is in flight and end with exit code 0.

    What is given beside --config stands above the file: --timeout and --workers for every model, --host for every port
    but the admin port, --port where the file has one model. MLflow's variables do not.
    """
    if model_uri is None and file is None:
        model_uri, file = environment.what_to_serve(os.environ)
    if (model_uri is None) == (file is None):
        raise UsageError(
            "give either -m MODEL_URI for one model, or --config FILE for many (see headrace serve --help)"
        )
    if watch and file is None:
        raise UsageError("--watch needs a file to watch: give --config FILE")
    if file is not None and _given({"name": name}):
        raise UsageError(f"--name cannot stand beside --config: in {file} the name is the model's key below 'models'")
    given = _given({"port": port, "host": host, "timeout": timeout, "workers": workers, "admin_port": admin_port})
    grpc = _given({"grpc_port": grpc_port}).get("grpc_port") if file is not None else grpc_port
    given["timeout_s"] = given.pop("timeout", None)
    asked = {key: value for key, value in (("format", log_format), ("level", log_level)) if value is not None}

    def read() -> Config:
        """The file, or what stands for it, with what the command line says above it: now, and at each reload."""
        if file is not None:
            config = overridden(load_file(file, folder=relative_to), file, **given)
            if on_node is not None:
                config = for_node(config, file, on_node)
        else:
            config = configured(model_uri or "", port, host, timeout, workers, admin_port, name)
        if grpc is not None:
            config = with_grpc(config, grpc)
        if no_conda or env_manager:
            policy = "local" if no_conda or env_manager == "local" else "exact"
            config = for_all(config, lambda _: {"environment": policy})
        if pass_env:
            config = for_all(config, lambda model: {"pass_env": (*model.pass_env, *pass_env)})
        if strict and (anonymous := anonymous_ports(config)):
            raise UsageError("--strict: " + "\n".join(anonymous))
        return msgspec.structs.replace(config, log=msgspec.structs.replace(config.log, **asked))

    config = read()
    if config.cluster is not None and file is not None:
        _on_cluster(config.cluster, config, file)
        return
    source = Source(file.absolute(), read) if file is not None else None
    level = Level(config.log.level)
    logger = make_log(config.log.format, level)
    kept: Kept | None = click.get_current_context().obj
    supervisor = Supervisor(config, logger, source=source, level=level, watch=watch, kept=kept)
    try:
        supervisor.bind()
    except ConfigError as error:
        if file is not None or admin_port is not None or error.path != "admin.port":
            raise _told_where(error, file) from None
        supervisor = Supervisor(with_admin(config, 0), logger, kept=kept)
        supervisor.bind()

    def settled() -> None:
        for served, model in supervisor.models.items():
            address = supervisor.address(served) or supervisor.address(None)
            where = url(address, tls=config.tls is not None)
            logger.info("up", model=served, ready=model.ready, address=where, reason=model.main.status.problem or None)
        if (grpc_address := supervisor.address(None, grpc=True)) is not None:
            logger.info("grpc", address="{}:{}".format(*grpc_address), tls=config.tls is not None)
        logger.info("admin", address=url(supervisor.admin_address, tls=config.admin_tls is not None))
        show(supervisor)

    try:
        code = asyncio.Runner(loop_factory=uvloop.new_event_loop).run(supervisor.run(settled))
    except UsageError as error:
        raise _told_where(error, file) from None
    # At once: a thread that still reads a model's files, for one, would hold up an orderly end.
    forget_unwritable_output()
    os._exit(code)


def _on_cluster(cluster: Cluster, config: Config, file: Path) -> None:
    """Have a cluster serve the file, and tell how each of its nodes is."""
    from headrace.cli.orders.cluster import check_change, tell_node  # noqa: PLC0415 - one machine needs nothing of it
    from headrace.cluster import asking  # noqa: PLC0415 - as above

    context = click.get_current_context()
    beside = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if others := sorted({name.replace("_", "-") for name in beside} - {"file"}):
        raise UsageError(
            f"--{others[0]} cannot stand beside a file with 'cluster:', whose nodes go by the file: put it there"
        )
    folder = file.absolute().parent
    text = file.read_text(encoding="utf-8")
    asking.serve(cluster.address, text, str(folder), lambda order: check_change(order, config, file), tell_node)
    say(f"{file}: served by the cluster, which goes on: see 'headrace cluster status'; 'headrace cluster down' ends it")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that stand on the command line itself: MLflow's variables may be set for another server."""
    source = click.get_current_context().get_parameter_source
    return {name: value for name, value in options.items() if source(name) is ParameterSource.COMMANDLINE}


def _told_where(error: UsageError, file: Path | None) -> UsageError:
    """The error with the file that it is in; without a path where the command line is the whole configuration."""
    if file is not None:
        return UsageError(f"{place(file, error.path) if isinstance(error, ConfigError) else file}: {error}")
    return UsageError(str(error).removeprefix(f"{error.path}: ")) if isinstance(error, ConfigError) else error


def configured(
    uri: str, port: int, host: str, timeout_s: float, workers: int, admin_port: int | None, name: str | None = None
) -> Config:
    """The configuration that serves one model as the options say; None: the usual `admin_port`, the URI's `name`."""
    name = name or served_name(parse_model_uri(uri))
    model = Model(
        uri=uri,
        port=port,
        replicas=workers,
        timeout_s=timeout_s,
        config=environment.serving_model_config(os.environ),
    )
    config = Config(models={name: model}, gateway=Gateway(host=host))
    config = with_admin(config, _ADMIN_PORT if admin_port is None else admin_port)
    check(config)
    return config
