"""`registry:` of the configuration: where the models are."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headrace.config.section import NonEmpty, Section


class Registry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`registry:` where the models are.

    `tracking_uri` and `registry_uri` are MLflow's own; None: what MLFLOW_TRACKING_URI and MLFLOW_REGISTRY_URI say.
    `workspace` is which of a server's workspaces, where it has any; None: what MLFLOW_WORKSPACE says, or its default.
    Aliases, stages and `latest` are asked for every `poll_s` seconds. One question may take `timeout_s` seconds, and
    the download of a version `fetch_timeout_s`.

    `webhook_secret` (None: HEADRACE_WEBHOOK_SECRET): with it, MLflow's webhooks are taken at /hooks/mlflow.
    """

    tracking_uri: str | None = None
    registry_uri: str | None = None
    workspace: NonEmpty | None = None
    poll_s: Annotated[float, Meta(ge=0.1, le=86_400)] = 5.0
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 10.0
    fetch_timeout_s: Annotated[float, Meta(gt=0, le=604_800)] = 3_600.0
    webhook_secret: NonEmpty | None = None
