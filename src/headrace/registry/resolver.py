"""Asks MLflow what a URI points to and fetches a version's artifacts: the only module here that imports mlflow."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import sys
import warnings
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from headrace.core.errors import ModelLoadError, ModelNotFound, RegistryError, UsageError
from headrace.core.identity import STAGES, ModelUri, Resolved, parse_model_uri
from headrace.registry import directory
from headrace.registry.messages import Listed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_UNTRUSTED = re.compile(r"certificate verify failed: ([^(]+)")
# MLflow makes one text of the errors of several files.
_NO_ROOM = re.compile(rf"\[Errno ({errno.EFBIG}|{errno.ENOSPC}|{errno.EDQUOT})\]")
_FOR_MODELS = ("numpy", "pandas", "pyarrow", "scipy")
_PLUGINS = ("mlflow.artifact_repository", "mlflow.model_registry_store", "mlflow.request", "mlflow.tracking_store")
"""Groups of entry points of packages that MLflow's client takes part of its work from."""
_PAGE = 100
_MOST_PAGES = 1_000
_MOST_BEYOND = 500
"""So many models beyond `at_most` are named."""
_MOST_CHARACTERS = 4_096
"""Of a name, a version or a place: more than any registry has."""
_MOST_DESCRIPTION = 2_000
"""Characters of a description; the rest is cut off."""


class Resolver:
    """One registry, asked through MLflow's own client. Every call may block for seconds: not for an event loop."""

    def __init__(self, tracking_uri: str | None, registry_uri: str | None, timeout_s: float) -> None:
        # MLflow's default of 7 retries can take minutes; a watcher asks again anyway.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(max(1, round(timeout_s))))
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_DISABLE_AGENT_HINT", "true")
        warnings.filterwarnings("ignore")
        mlflow = _import_mlflow()
        _check_workspace(os.environ.get("MLFLOW_WORKSPACE"), mlflow.__version__)
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        if tracking_uri:
            mlflow.set_tracking_uri(tracking_uri)
        if registry_uri:
            mlflow.set_registry_uri(registry_uri)
        self.uri = mlflow.get_registry_uri()
        self._tracking_uri = mlflow.get_tracking_uri()
        self._client: MlflowClient | None = None
        self._kept: dict[str, tuple[int, Resolved]] = {}
        self._aliased: dict[str, str] = {}
        self._made_ms: dict[str, int] = {}
        self._described: dict[str, str | None] = {}

    def resolve(self, text: str) -> Resolved:
        """What `text` points at now. Raises ModelNotFound, UsageError, or RegistryError when it cannot be asked."""
        uri = parse_model_uri(text)
        with self._asking(uri):
            if uri.kind in {"path", "run"}:
                return self._place(uri)
            if uri.kind == "logged_model":
                model = self._ask().get_logged_model(uri.selector)
                return Resolved(uri=text, name=None, version=None, source=text, run_id=model.source_run_id)
            if uri.kind == "alias" and (kept := self._unmoved(uri)) is not None:
                return kept
            found = self._version(uri)
            source = self._ask().get_model_version_download_uri(found.name, found.version)
            self._check(uri, found.name, str(found.version), source, found.run_id or "")
            if not source:
                raise RegistryError(f"{uri.text}: the registry does not say where version {found.version} is")
        resolved = Resolved(
            uri=text,
            name=found.name,
            version=str(found.version),
            source=source,
            run_id=found.run_id or None,
            description=_description(found.description or self._described.get(found.name)),
        )
        if uri.kind == "alias":
            self._kept[text] = (self._made_ms.get(found.name, 0), resolved)
        return resolved

    def list_models(self, alias: str, at_most: int) -> Listed:
        """The registered models with `alias`, the first `at_most` by name and the names of the next few hundred.

        Raises UsageError, or RegistryError when it cannot be asked.
        """
        with self._asking():
            versions = self._with_alias(alias, at_most + _MOST_BEYOND)
        names = sorted(versions)
        return Listed(
            versions={name: versions[name] for name in names[:at_most]},
            beyond=tuple(names[at_most : at_most + _MOST_BEYOND]),
            more=len(names) > at_most + _MOST_BEYOND,
        )

    def promote(self, name: str, alias: str, version: str) -> str | None:
        """Have an alias point at a version; returns the one that it pointed at before, None: there was no such alias.

        Raises ModelNotFound where there is no such version, UsageError, or RegistryError when it cannot be done.
        """
        uri = parse_model_uri(f"models:/{quote(name, safe='')}/{version}")
        if uri.kind != "version":
            raise UsageError(f"{version!r} is no version of {name!r}: write its number")
        with self._asking(uri):
            former = self._ask().get_registered_model(name).aliases.get(alias)
            self._version(uri)
            self._ask().set_registered_model_alias(name, alias, version)
        return str(former) if former is not None else None

    @contextlib.contextmanager
    def _asking(self, uri: ModelUri | None = None) -> Iterator[None]:
        """Have what goes wrong meanwhile raised as UsageError or RegistryError; `uri` is what was asked for."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (UsageError, RegistryError):
            raise
        except Exception as error:
            if uri is not None and isinstance(error, MlflowException):
                raise self._explain(uri, error) from error
            raise RegistryError(f"the registry {_public(self.uri)} could not be asked: {_named(error)}") from error

    def _with_alias(self, alias: str, most: int) -> dict[str, str]:
        """{name: what the alias points at} of at least the first `most` + 1 models with it, if there are so many."""
        versions: dict[str, str] = {}
        token: str | None = None
        for _ in range(_MOST_PAGES):
            page = self._ask().search_registered_models(max_results=_PAGE, order_by=["name ASC"], page_token=token)
            versions |= {m.name: f"{m.aliases[alias]} of {m.creation_timestamp}" for m in page if alias in m.aliases}
            token = page.token
            if not token or len(versions) > most:
                _check_lengths(*versions, *versions.values())
                return versions
        raise RegistryError(f"the registry {_public(self.uri)} lists more than {_MOST_PAGES:,} pages of models")

    def download(self, resolved: Resolved, target: Path) -> Path:
        """Copy a version's artifacts below `target`; returns the model directory there."""
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        try:
            if (local := _local(resolved.source)) is not None:
                directory.check(local, target)
            return Path(download_artifacts(artifact_uri=resolved.source, dst_path=str(target / "model")))
        except MlflowException as error:
            code = getattr(error, "error_code", "")
            if code == "RESOURCE_DOES_NOT_EXIST":
                raise ModelNotFound(f"the artifacts of {resolved.uri} are not there: {_line(error)}") from error
            raise RegistryError(f"the artifacts of {resolved.uri} could not be fetched: {_line(error)}") from error
        except ModelLoadError:
            raise
        except FileNotFoundError as error:
            raise ModelNotFound(f"the artifacts of {resolved.uri} are not there: {_line(error)}") from error
        except Exception as error:
            raise RegistryError(f"the artifacts of {resolved.uri} could not be fetched: {_named(error)}") from error

    def _place(self, uri: ModelUri) -> Resolved:
        """Artifacts outside of the registry: that MLflow knows the run, or the kind of store, can be said at once."""
        from mlflow.exceptions import MlflowException
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if uri.kind == "path":
            try:
                get_artifact_repository(uri.text)
            except MlflowException as error:
                raise ModelNotFound(f"{uri.text}: {_line(error)}") from error
            except ImportError:
                pass  # a package is missing: fetching says so, and is tried again
            return Resolved(uri=uri.text, name=None, version=None, source=uri.text)
        run_id = uri.selector.partition("/")[0]
        try:
            self._ask().get_run(run_id)
        except MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise
            raise ModelNotFound(f"{uri.text}: there is no such run at {_public(self._tracking_uri)}") from error
        return Resolved(uri=uri.text, name=None, version=None, source=uri.text, run_id=run_id)

    def _ask(self) -> MlflowClient:
        if self._client is None:
            _require_database(self.uri)  # here: a model in a directory needs no registry
            from mlflow import MlflowClient

            self._client = MlflowClient()
        return self._client

    def _unmoved(self, uri: ModelUri) -> Resolved | None:
        """What an alias pointed at when it was last asked for, if it still does: one call, for a version never changes.

        A model that was deleted and made again under the same name is another one, even with equal versions.
        """
        model = self._ask().get_registered_model(uri.name or "")
        version = model.aliases.get(uri.selector)
        if version is None:
            raise ModelNotFound(f"{uri.text}: the model {uri.name!r} has no {self._known(model.name, uri)}")
        self._check(uri, model.name, str(version))
        self._aliased[uri.text] = str(version)
        self._described[model.name] = model.description
        self._made_ms[model.name] = model.creation_timestamp or 0
        made_ms, kept = self._kept.get(uri.text, (0, None))
        return (
            kept if kept is not None and (made_ms, kept.version) == (self._made_ms[model.name], str(version)) else None
        )

    def _version(self, uri: ModelUri) -> ModelVersion:
        client, name = self._ask(), uri.name or ""
        if uri.kind == "alias":
            found = client.get_model_version(name, self._aliased[uri.text])
        elif uri.kind == "version":
            found = client.get_model_version(name, uri.selector)
        else:
            stage = STAGES[uri.selector.lower()] if uri.kind == "stage" else None
            versions = client.get_latest_versions(name, stages=[stage] if stage else None)
            if not versions:
                raise ModelNotFound(f"{uri.text}: the model {name!r} has no version {self._known(name, uri)}")
            found = max(versions, key=lambda v: int(v.version))
        if found.status != "READY":
            raise RegistryError(f"{uri.text}: version {found.version} is {found.status} in the registry, not READY")
        return found

    def _check(self, uri: ModelUri, name: str, version: str, *others: str) -> None:
        """Raise RegistryError for an answer that is none to what was asked."""
        _check_lengths(name, version, *others)
        if name != uri.name or (uri.kind == "version" and version != uri.selector):
            raise RegistryError(f"{uri.text}: the registry {_public(self.uri)} answered for {name}/{version}")

    def _explain(self, uri: ModelUri, error: Exception) -> Exception:
        code = getattr(error, "error_code", "")
        if code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}:
            where = _public(self.uri)
            try:
                known = sorted(m.name for m in self._ask().search_registered_models(max_results=50))
            except Exception:  # noqa: BLE001 - only the hint is lost
                return ModelNotFound(f"{uri.text}: not in the registry {where}: {_line(error)}")
            if uri.name and uri.name in known:
                return ModelNotFound(f"{uri.text}: the model {uri.name!r} has no {self._known(uri.name, uri)}")
            names = ", ".join(known) if known else "none at all"
            return ModelNotFound(f"{uri.text}: no such model in the registry {where}; it holds: {names}")
        return RegistryError(f"the registry {_public(self.uri)} could not be asked: {_line(error)}")

    def _known(self, name: str, uri: ModelUri) -> str:
        try:
            model = self._ask().get_registered_model(name)
            aliases = ", ".join(sorted(model.aliases)) or "none"
            stages = ", ".join(sorted({v.current_stage for v in model.latest_versions})) or "none"
        except Exception:  # noqa: BLE001 - only the hint is lost
            return f"{uri.kind} {uri.selector!r}"
        if uri.kind == "alias":
            return f"alias {uri.selector!r}; its aliases: {aliases}"
        if uri.kind == "stage":
            return f"in stage {uri.selector!r}; its stages in use: {stages}; its aliases: {aliases}"
        return f"version {uri.selector!r}; its aliases: {aliases}"


def _import_mlflow() -> ModuleType:
    """Import MLflow as mlflow-skinny does: without the libraries of models, which cost a fifth of the time and 45 MB.

    MLflow goes without them where they are not installed. A plugin may need them, and gets them.
    """
    has_plugins = any(group.startswith(_PLUGINS) for group in entry_points().groups)
    hidden = [] if has_plugins else [name for name in _FOR_MODELS if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment] # as Python's documentation says: it is not found
    try:
        import mlflow
        from mlflow import MlflowClient  # noqa: F401 - its imports are the better part
    finally:
        for name in hidden:
            del sys.modules[name]
    return mlflow


def _require_database(uri: str) -> None:
    """MLflow makes a new, empty database where there is none: a typing error would look like an empty registry."""
    if uri.startswith("sqlite:"):
        path = urlsplit(uri).path.removeprefix("/")
        if path and path != ":memory:" and not Path(path).exists():
            raise UsageError(
                f"the registry {uri} has no database file; check MLFLOW_TRACKING_URI or registry.tracking_uri"
            )
        try:
            import sqlalchemy  # noqa: F401
        except ImportError:
            raise UsageError(
                f"the registry {uri} is a database, which mlflow-skinny cannot read; install headrace's extra 'full', "
                "as the README says under Install"
            ) from None


def _local(source: str) -> Path | None:
    """The directory of this machine that MLflow would copy; None where it brings the files from elsewhere."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(source)
    while inner := getattr(repository, "repo", None):  # those of models and runs find out where they are
        repository = inner
    local = getattr(repository, "artifact_dir", None)
    return Path(local) if isinstance(local, str) else None


def _check_lengths(*texts: str) -> None:
    if any(len(text) > _MOST_CHARACTERS for text in texts):
        raise RegistryError(
            f"the registry answered with a name or a place of more than {_MOST_CHARACTERS:,} characters"
        )


def _description(text: object) -> str:
    """A registry's answer may hold halves of characters, which go nowhere from here."""
    return text.strip()[:_MOST_DESCRIPTION].encode("utf-8", "replace").decode() if isinstance(text, str) else ""


def _public(uri: str) -> str:
    """A URI without the password that it may hold."""
    parts = urlsplit(uri)
    return uri.replace(f":{parts.password}@", ":***@") if parts.password else uri


def _line(error: BaseException) -> str:
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, MemoryError):  # it says nothing, and what MLflow makes of it no more
            return "it answered with more than fits into the memory that the registry agent may have"
        inner = inner.__cause__ or inner.__context__
    text = " ".join(str(error).split())
    if untrusted := _UNTRUSTED.search(text):
        return (
            f"its TLS certificate is not trusted ({untrusted[1].strip(' .')}); name the file of the CA that has "
            "signed it in REQUESTS_CA_BUNDLE"
        )
    if _NO_ROOM.search(text):
        return "there is no room on the disk of headrace's home for what it sends; make room, or set home elsewhere"
    return text[:400] or type(error).__name__


def _named(error: Exception) -> str:
    """An error that is not MLflow's own says little without its kind."""
    return f"{type(error).__name__}: {_line(error)}"


def _check_workspace(workspace: str | None, version: str) -> None:
    """An MLflow that knows no workspaces would ask without it, and find another model of the same name."""
    if workspace and find_spec("mlflow.utils.workspace_context") is None:
        raise UsageError(
            f"the workspace {workspace!r} is asked for, and MLflow {version} beside headrace knows none: install "
            f"MLflow 3.10 or newer there, or leave registry.workspace and MLFLOW_WORKSPACE out"
        )
