"""Puts a trained model into an MLflow registry: run, metrics, card, version, tags, stage and alias."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from sqlalchemy.exc import SQLAlchemyError

from news.errors import NewsError
from news.model_card import CONFUSION_PNG, confusion_figure, description, model_card
from news.pipelines import TEXT_COLUMN, text_frame
from news.registered import ALIAS, FINGERPRINT_TAG, STAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlflow.entities.model_registry import ModelVersion

    from news.recipes import Trained

# What skops does not know by itself of what is in the models; all of it is part of Python.
TRUSTED_TYPES: Final = [
    "functools.partial", "operator.attrgetter", "operator.itemgetter", "operator.methodcaller", "re.sub",
]  # fmt: skip
CREDENTIALS: Final = re.compile(r"//[^/@\s]+@")
LONGEST_REASON: Final = 300  # characters; the HTTP library writes pages
SIGNATURE: Final = ModelSignature(
    inputs=Schema([ColSpec("string", TEXT_COLUMN)]), outputs=Schema([ColSpec("string", "label")])
)


class Registry:
    """The models of one MLflow tracking server, or of one database file, under one experiment.

    `artifact_location` says where a new experiment keeps its files; None leaves it to the server. Every method raises
    NewsError if the registry cannot be reached or refuses.
    """

    def __init__(self, tracking_uri: str, *, experiment: str, artifact_location: str | None) -> None:
        self._tracking_uri = tracking_uri
        self._experiment = experiment
        self._artifact_location = artifact_location
        with self._reported():
            mlflow.set_tracking_uri(tracking_uri)
            mlflow.set_registry_uri(tracking_uri)
            self._client = MlflowClient(tracking_uri, tracking_uri)

    def find(self, name: str, fingerprint: str) -> str | None:
        """Return the newest version of `name` with this fingerprint, or None.

        If nothing has the alias any more, that version is given it: it is what a server looks for.
        """
        with self._reported():
            versions = self._client.search_model_versions(f"name = '{name}'")
            same = [version for version in versions if version.tags.get(FINGERPRINT_TAG) == fingerprint]
            if not same:
                return None
            newest = max(same, key=lambda version: int(version.version))
            if ALIAS not in self._client.get_registered_model(name).aliases:
                self._client.set_registered_model_alias(name, ALIAS, newest.version)
            return str(newest.version)

    def add(self, name: str, trained: Trained, fingerprint: str, requirements: Sequence[str]) -> str:
        """Log the model with its card and metrics, register it, and make it the one in production.

        Returns the new version. An older version in stage Production is archived.
        """
        with self._reported():
            run_id, model_id = self._log(name, trained, fingerprint, requirements)
            version = self._register(name, trained, fingerprint, run_id, model_id)
            # The alias moves last: a server that follows it never meets a version half described.
            self._client.transition_model_version_stage(name, version, STAGE, archive_existing_versions=True)
            self._client.set_registered_model_alias(name, ALIAS, version)
            return version

    def _log(self, name: str, trained: Trained, fingerprint: str, requirements: Sequence[str]) -> tuple[str, str]:
        """Return (run id, logged model's id)."""
        experiment = self._client.get_experiment_by_name(self._experiment)
        experiment_id = (
            experiment.experiment_id
            if experiment is not None
            else self._client.create_experiment(self._experiment, artifact_location=self._artifact_location)
        )
        with mlflow.start_run(experiment_id=experiment_id, run_name=name) as run:
            mlflow.set_tags({"model": name, FINGERPRINT_TAG: fingerprint})
            mlflow.log_metrics(trained.metrics)
            mlflow.log_text(model_card(name, trained.evaluations, requirements), "model_card.md")
            mlflow.log_figure(confusion_figure(trained.evaluations[0]), CONFUSION_PNG)
            info = mlflow.sklearn.log_model(
                trained.model,
                name=name,
                signature=SIGNATURE,
                input_example=text_frame(trained.examples),
                pip_requirements=list(requirements),
                skops_trusted_types=TRUSTED_TYPES,
                tags={FINGERPRINT_TAG: fingerprint},
            )
            return str(run.info.run_id), str(info.model_id)

    def _register(self, name: str, trained: Trained, fingerprint: str, run_id: str, model_id: str) -> str:
        """Return the new version's number."""
        try:
            self._client.create_registered_model(name, description=description(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        metrics = {metric: f"{value:.4f}" for metric, value in trained.metrics.items()}
        first = trained.evaluations[0]
        version: ModelVersion = self._client.create_model_version(
            name,
            source=f"models:/{model_id}",
            run_id=run_id,
            model_id=model_id,
            tags={FINGERPRINT_TAG: fingerprint, **metrics},
            description=(
                f"{description(name)} Accuracy {first.accuracy:.1%}, macro-F1 {first.macro_f1:.3f} "
                f"on {first.texts:,} texts ({first.title}). The run's model_card.md says more."
            ),
        )
        return str(version.version)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Turn what MLflow and its database raise into one line that names the registry."""
        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise NewsError(
                f"the registry at {without_password(self._tracking_uri)} failed: "
                f"{without_password(reason)[:LONGEST_REASON]} -- check --tracking-uri, and that it can be reached and "
                f"written"
            ) from error


def without_password(text: str) -> str:
    """Return the text as it may be shown: with the user's name and password left out of every address in it."""
    return CREDENTIALS.sub("//***@", text)
