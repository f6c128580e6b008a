"""MLflow's deployments plugin: `mlflow deployments create -t headrace …` and `get_deploy_client("headrace:…")`.

MLflow finds it by the entry point `headrace` of the group `mlflow.deployments`, and looks in this module for one
class, for `run_local` and for `target_help`. Nothing else in headrace imports it.
"""

from headrace.deployments.local import run_local
from headrace.deployments.plugin import HeadraceDeployments
from headrace.deployments.targets import target_help

__all__ = ["HeadraceDeployments", "run_local", "target_help"]
