"""What a target URI means, and what is told of it: which running headrace is asked."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from headrace.client.addresses import check_address, is_loopback
from headrace.client.admin import AdminPort
from headrace.client.credentials import credentials
from headrace.client.errors import BadRequest
from headrace.config.environment import admin_url
from headrace.core.errors import UsageError

NAME = "headrace"

_HELP = """\
headrace: serves models from an MLflow registry, batched, without downtime.

Target
  headrace                      the headrace of this machine: HEADRACE_ADMIN, or http://127.0.0.1:5100
  headrace:http://HOST:PORT     the one whose admin port this is (https too; headrace://HOST:PORT is the same as http)
  An API key comes from HEADRACE_TOKEN, authorities to trust from HEADRACE_SERVER_CERT_PATH, a certificate of our own
  from HEADRACE_CLIENT_CERT_PATH.

A deployment is a model that headrace serves. Its flavor is always python_function. There are no endpoints: where a
prediction names one, it is the name of a model.

create, update, delete
  They change the configuration file that headrace was started with, and have it reloaded: requests go on meanwhile,
  and where a model does not come up the file becomes what it was. The file is on headrace's own machine, so these
  three work there alone, with the right to write it. Elsewhere change the file where it is kept, and run
  'headrace reload'.
  A model that follows an alias (models:/NAME@ALIAS) needs no update: headrace notices when the alias moves.

-C NAME=VALUE
  Any setting of a model, as in headrace.yaml, with dots for what stands deeper: -C replicas=2 -C port=5003
  -C batch.max_rows=64 -C env='{LANG: C.UTF-8}'. Without a port the model is at /models/NAME of the shared port.
  wait_s=SECONDS        how long create and update wait for the model to serve (default 300)
  asynchronous=true     do not wait

list, get, predict, predict_stream
  They work with any headrace that can be reached.

run-local
  Serves one model in the foreground until Ctrl-C: -C port=5000 -C replicas=1 -C host=127.0.0.1 -C env_manager=local.
"""


def target_help() -> str:
    """What `mlflow deployments help -t headrace` prints."""
    return _HELP


def admin_port(target_uri: str, environ: Mapping[str, str]) -> AdminPort:
    """The admin port that a target stands for. Raises UsageError for one that stands for none."""
    rest = target_uri.removeprefix(f"{NAME}:") if target_uri != NAME else ""
    if rest.startswith("//"):
        rest = f"http:{rest}"
    try:
        return AdminPort(check_address(rest or admin_url(environ)), credentials(environ=environ))
    except BadRequest as error:
        raise UsageError(f"target {target_uri!r}: {error}; write headrace, or headrace:http://HOST:PORT") from None


def seen_from_here(url: str, admin: str) -> str:
    """A model's URL as headrace tells it; one on its own loopback is reached where its admin port is."""
    if not is_loopback(url) or is_loopback(admin):
        return url
    parts, host = urlsplit(url), urlsplit(admin).hostname or ""
    named = f"[{host}]" if ":" in host else host
    return urlunsplit(parts._replace(netloc=f"{named}:{parts.port}" if parts.port else named))
