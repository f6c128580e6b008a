"""tests/unit mirrors src: whoever looks for a module's tests finds them by its name.

src/headrace/A/b.py has tests/unit/A/test_b.py, src/headrace_worker/A/b.py has tests/unit/worker/A/test_b.py. More of
one module's tests may be beside it in test_b_<what>.py. A module of more than `MOST_LINES` lines has such a file, or is
in `ELSEWHERE`. Tests of the project itself are directly in tests/unit, those of examples and deploy in folders of their
own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

MOST_LINES = 80
ROOT = Path(__file__).parents[2]
FOLDERS = {"headrace": PurePosixPath("tests/unit"), "headrace_worker": PurePosixPath("tests/unit/worker")}
NOT_OF_SRC = {"examples", "deploy"}

# Modules without a unit test file: which test file covers each instead, and why that one. A name that ends in a slash
# stands for all modules of a folder that have none.
ELSEWHERE = {
    "headrace/gateway/mcp/calling.py": ("tests/integration/test_gateway_mcp.py", "a real gateway and workers"),
    "headrace/gateway/mcp/endpoint.py": ("tests/integration/test_gateway_mcp.py", "a real gateway and workers"),
    "headrace/cli/check.py": ("tests/integration/test_client_commands.py", "the real command against a real server"),
    "headrace/cli/compile.py": ("tests/integration/test_compiled.py", "the real command on real models"),
    "headrace/cli/env.py": ("tests/integration/test_env_command.py", "the real command"),
    "headrace/cli/security/key.py": ("tests/integration/test_access.py", "the real command"),
    "headrace/supervisor/admin/sign_in.py": ("tests/integration/test_sign_in.py", "a real server, issuer and browser"),
    "headrace/security/asking.py": (
        "tests/unit/supervisor/security/test_issuers.py",
        "real servers, good and odd ones",
    ),
    "headrace/recorder/mlflow_store.py": ("tests/unit/recorder/test_mlflow_writer.py", "with a real store"),
    "headrace/keeper/kept.py": ("tests/unit/keeper/test_keeping.py", "the two ends of one channel"),
    "headrace/cli/log.py": ("tests/integration/test_prediction_log.py", "the real command on a real log"),
    "headrace/cli/packaging.py": ("tests/integration/test_package.py", "what it writes is started"),
    "headrace/cli/predict.py": ("tests/integration/test_client_commands.py", "the real command against a real server"),
    "headrace/client/__init__.py": ("tests/docs/test_client.py", "names that come when they are asked for"),
    "headrace/client/asynchronous.py": (
        "tests/integration/test_client_equal.py",
        "a thin layer over remote.py and local.py, against both",
    ),
    "headrace/client/blocking.py": ("tests/integration/test_client_equal.py", "a thin layer over asynchronous.py"),
    "headrace/client/checking.py": ("tests/integration/test_client_commands.py", "asks a real server"),
    "headrace/client/connecting.py": ("tests/faults/test_client_faults.py", "real connections that fail"),
    "headrace/client/credentials.py": ("tests/integration/test_tls.py", "real handshakes"),
    "headrace/client/files/job.py": (
        "tests/integration/test_client_commands.py",
        "whole files, broken off and resumed",
    ),
    "headrace/client/files/journal.py": ("tests/properties/test_client.py", "any journal, cut anywhere"),
    "headrace/client/files/reading.py": ("tests/properties/test_client.py", "any rows in each format"),
    "headrace/client/files/writing.py": ("tests/properties/test_client.py", "what is written is read again"),
    "headrace/client/local.py": ("tests/integration/test_client_equal.py", "answers as a served model does"),
    "headrace/client/options.py": ("tests/integration/test_client_equal.py", "every option that both ways take"),
    "headrace/client/plain.py": ("tests/integration/test_client_equal.py", "models without a signature, both ways"),
    "headrace/client/remote.py": ("tests/faults/test_client_faults.py", "real servers that fail in every way"),
    "headrace/cluster/asking.py": ("tests/cluster/test_cluster.py", "the real commands on a real Ray"),
    "headrace/cluster/controller.py": ("tests/cluster/test_cluster.py", "it needs a real Ray"),
    "headrace/config/fitting.py": ("tests/unit/config/test_load_mistakes.py", "through what uses it"),
    "headrace/config/schema.py": ("tests/docs/test_schema.py", "through what uses it"),
    "headrace/config/security.py": ("tests/integration/test_access.py", "through what uses it"),
    "headrace/config/tree.py": ("tests/unit/config/test_load.py", "through what uses it"),
    "headrace/core/errors.py": (
        "tests/unit/config/test_load.py",
        "classes and messages, no branches but in ConfigErrors",
    ),
    "headrace/core/processes/scaling.py": ("tests/properties/test_scaling.py", "any load, with a simulated clock"),
    "headrace/core/rollout/slots.py": ("tests/properties/test_rollout.py", "any order of what may happen"),
    "headrace/core/serving/calls.py": ("tests/integration/test_concurrency.py", "a worker with many calls under way"),
    "headrace/deployments/changing.py": ("tests/integration/test_deployments.py", "a real server and its file"),
    "headrace/deployments/plugin.py": ("tests/integration/test_deployments.py", "through MLflow's own API"),
    "headrace/environments/builder.py": ("tests/integration/test_environment_builds.py", "real uv"),
    "headrace/environments/building.py": ("tests/integration/test_environment_builds.py", "through what uses it"),
    "headrace/environments/preparing.py": ("tests/integration/test_environment_builds.py", "real uv"),
    "headrace/gateway/": (
        "tests/integration/test_gateway_workers.py",
        "real gateway processes with peers of all kinds",
    ),
    "headrace/recorder/parquet.py": ("tests/unit/recorder/test_predictions.py", "the writer's files in both formats"),
    "headrace/recorder/process.py": ("tests/integration/test_recorder.py", "a real recorder behind a real gateway"),
    "headrace/recorder/reading.py": ("tests/unit/recorder/test_predictions.py", "reads what the writer has written"),
    "headrace/registry/__main__.py": ("tests/faults/test_hostile_registries.py", "a process"),
    "headrace/registry/messages.py": ("tests/integration/test_registries.py", "what the agent is asked and answers"),
    "headrace/registry/resolver.py": ("tests/integration/test_registries.py", "real registries, and broken ones"),
    "headrace/security/contexts.py": ("tests/integration/test_gateway_tls.py", "real handshakes"),
    "headrace/supervisor/security/access.py": ("tests/integration/test_access.py", "keys of a real server"),
    "headrace/supervisor/admin/access_check.py": ("tests/integration/test_access.py", "requests to a real admin port"),
    "headrace/supervisor/admin/collector.py": ("tests/integration/test_metrics.py", "every number after known traffic"),
    "headrace/supervisor/admin/dashboard/conditions.py": ("tests/integration/test_dashboard.py", "in a real browser"),
    "headrace/supervisor/admin/dashboard/one_model.py": ("tests/integration/test_dashboard.py", "in a real browser"),
    "headrace/supervisor/admin/dashboard/pages.py": ("tests/integration/test_dashboard.py", "in a real browser"),
    "headrace/supervisor/admin/orders.py": ("tests/unit/supervisor/rollout/test_orders.py", "through the API"),
    "headrace/supervisor/admin/overview.py": ("tests/integration/test_status.py", "what a real server tells"),
    "headrace/supervisor/admin/server.py": ("tests/integration/test_dashboard.py", "real requests to the admin port"),
    "headrace/supervisor/admin/state.py": (
        "tests/integration/test_status.py",
        "what others need of the state, and no logic",
    ),
    "headrace/supervisor/admin/try_request.py": ("tests/integration/test_dashboard.py", "in a real browser"),
    "headrace/supervisor/app.py": ("tests/integration/test_serve.py", "joins the parts; the real server"),
    "headrace/supervisor/rollout/canaries.py": ("tests/unit/supervisor/test_served_model.py", "through what uses it"),
    "headrace/supervisor/security/certificates.py": (
        "tests/integration/test_tls.py",
        "files that change under a real server",
    ),
    "headrace/supervisor/front.py": ("tests/integration/test_reload.py", "ports of a real server that move"),
    "headrace/supervisor/gateway_news.py": ("tests/integration/test_failing.py", "what real gateways report"),
    "headrace/supervisor/health_probe.py": ("tests/integration/test_health.py", "probes of real models"),
    "headrace/supervisor/making.py": ("tests/integration/test_reload.py", "no branches: it puts parts together"),
    "headrace/supervisor/security/port_security.py": (
        "tests/integration/test_tls.py",
        "certificates and keys of a real server",
    ),
    "headrace/supervisor/processes/agent.py": (
        "tests/unit/supervisor/processes/test_controlled.py",
        "whatever its process says",
    ),
    "headrace/supervisor/processes/recorder.py": (
        "tests/unit/supervisor/processes/test_controlled.py",
        "whatever its process says",
    ),
    "headrace/supervisor/processes/worker_process.py": ("tests/faults/test_process_death.py", "real workers that end"),
    "headrace/supervisor/rollout/dependencies.py": ("tests/integration/test_rollouts.py", "through what uses it"),
    "headrace/supervisor/rollout/policy.py": (
        "tests/unit/supervisor/rollout/test_alias_rollout.py",
        "through what uses it",
    ),
    "headrace/supervisor/rollout/watching.py": (
        "tests/unit/supervisor/rollout/test_alias_rollout.py",
        "through what uses it",
    ),
    "headrace_worker/calling.py": ("tests/integration/test_concurrency.py", "a worker with many calls under way"),
    "headrace_worker/host.py": ("tests/faults/test_process_death.py", "through what uses it"),
    "headrace_worker/scoring/building.py": ("tests/unit/worker/scoring/test_engine.py", "through what uses it"),
    "headrace_worker/scoring/dialect/events.py": (
        "tests/unit/worker/scoring/dialect/test_scoring.py",
        "streams of models of each kind",
    ),
    "headrace_worker/scoring/dialect/fitting.py": (
        "tests/unit/worker/scoring/dialect/test_scoring.py",
        "models of each kind",
    ),
    "headrace_worker/scoring/dialect/forms.py": (
        "tests/unit/worker/scoring/dialect/test_scoring.py",
        "what MLflow says of each kind of model",
    ),
    "headrace_worker/scoring/dialect/pieces.py": (
        "tests/unit/worker/scoring/dialect/test_scoring.py",
        "answers of each form",
    ),
    "headrace_worker/scoring/dialect/replies.py": (
        "tests/unit/worker/scoring/dialect/test_scoring.py",
        "answers of each form",
    ),
    "headrace_worker/scoring/dialect/requests.py": (
        "tests/unit/worker/scoring/dialect/test_scoring.py",
        "conversations of each form",
    ),
    "headrace_worker/scoring/dialect/response_events.py": (
        "tests/unit/worker/scoring/dialect/test_scoring.py",
        "streams of models of each kind",
    ),
    "headrace_worker/scoring/errors/type_hints.py": (
        "tests/unit/worker/scoring/repairing/test_second_try.py",
        "through what uses it",
    ),
    "headrace_worker/scoring/oracle.py": ("tests/unit/worker/scoring/test_engine.py", "through what uses it"),
    "headrace_worker/scoring/reference.py": ("tests/properties/test_scoring.py", "any request, beside MLflow itself"),
    "headrace_worker/scoring/repairing/repair.py": (
        "tests/unit/worker/scoring/repairing/test_second_try.py",
        "through what uses it",
    ),
    "headrace_worker/scoring/shapes.py": ("tests/unit/worker/scoring/test_engine.py", "through what uses it"),
    "headrace_worker/zygote.py": ("tests/unit/supervisor/processes/test_zygotes.py", "real ones"),
    "headrace/supervisor/processes/zygote_process.py": ("tests/unit/supervisor/processes/test_zygotes.py", "real ones"),
    "headrace_worker/spending.py": ("tests/integration/test_concurrency.py", "a worker with many calls under way"),
}


def modules() -> dict[str, int]:
    """The number of lines of each module below src, by its path there."""
    found = [path for package in FOLDERS for path in (ROOT / "src" / package).rglob("*.py")]
    return {path.relative_to(ROOT / "src").as_posix(): len(path.read_bytes().splitlines()) for path in found}


def unit_tests() -> Iterator[PurePosixPath]:
    """The unit test files of modules, by their paths below the root."""
    for path in (ROOT / "tests" / "unit").rglob("test_*.py"):
        inner = PurePosixPath(path.relative_to(ROOT / "tests" / "unit").as_posix())
        if len(inner.parts) > 1 and inner.parts[0] not in NOT_OF_SRC:
            yield "tests/unit" / inner


def place(module: str) -> PurePosixPath:
    """Where the tests of a module are, without the ending: ``tests/unit/A/test_b``."""
    package, *inner = PurePosixPath(module).with_suffix("").parts
    return FOLDERS[package].joinpath(*inner[:-1], f"test_{inner[-1].strip('_')}")


def subjects() -> dict[PurePosixPath, str | None]:
    """The module that each unit test file is about: the one with the longest name that the file's begins with."""
    places = {place(module): module for module in modules()}
    found: dict[PurePosixPath, str | None] = {}
    for test in unit_tests():
        words = test.stem.split("_")
        names = ["_".join(words[:n]) for n in range(len(words), 1, -1)]
        found[test] = next((places[test.with_name(name)] for name in names if test.with_name(name) in places), None)
    return found


def test_each_module_that_is_not_small_has_unit_tests_or_a_reason() -> None:
    has_tests = set(subjects().values())
    without = {module for module, lines in modules().items() if lines > MOST_LINES and module not in has_tests}
    folders = tuple(name for name in ELSEWHERE if name.endswith("/"))
    missing = sorted(module for module in without - ELSEWHERE.keys() if not module.startswith(folders))
    assert missing == [], "write a unit test file for each, or say in ELSEWHERE what covers it"
    superfluous = [
        name
        for name in ELSEWHERE
        if name not in without and not (name.endswith("/") and any(one.startswith(name) for one in without))
    ]
    assert superfluous == [], "has unit tests, is small or is gone: take it out of ELSEWHERE"


def test_each_unit_test_file_is_about_a_module() -> None:
    assert [str(test) for test, module in subjects().items() if module is None] == []


@pytest.mark.parametrize("module", ELSEWHERE)
def test_a_reason_names_a_test_file(module: str) -> None:
    file, why = ELSEWHERE[module]
    assert (ROOT / file).is_file()
    assert file.startswith("tests/")
    assert Path(file).name.startswith("test_")
    assert why
