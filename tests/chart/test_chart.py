"""The Helm chart: what it renders fits headrace and the manifests for Kustomize, and what would not work is refused.

Helm itself renders, so these tests run in `make manifests` (and so in .ci/run), not in `make test`.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.config.changes import plan
from headrace.config.load import load_file, parse
from headrace.config.tree import Config
from tests.unit.deploy.test_files import KUBERNETES, MARGIN_S

pytestmark = pytest.mark.chart

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "headrace"
FILES = sorted((CHART / "ci").glob("*.yaml"))
TOPIC: dict[str, Any] = {"uri": "models:/topic@production", "port": 5001}
TLS = {"certificate": "/run/secrets/headrace/tls/tls.crt", "key": "/run/secrets/headrace/tls/tls.key"}


def helm(*arguments: str, said: str = "") -> str:
    # `uv run` makes an environment of the tool's own, and keeps it.
    uv = [str(Path(sys.executable).with_name("uv")), "run", "--quiet", "--python", sys.executable, "--script"]
    command = [*uv, str(ROOT / "tools" / "chart.py"), *arguments]
    done = subprocess.run(command, input=said, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(*values: str | dict[str, Any]) -> list[dict[str, Any]]:
    """What each is rendered to; a text is a values file as it was written, which Helm reads in its own way."""
    texts = [one if isinstance(one, str) else json.dumps(one) for one in values]
    made: list[dict[str, Any]] = json.loads(helm("render", said=json.dumps(texts)))
    return made


def serving(config: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    """Values with one model."""
    return {"config": {"models": {"topic": TOPIC}, **(config or {})}, **values}


def documents(made: dict[str, Any]) -> list[dict[str, Any]]:
    assert made["refused"] is None, made["refused"]
    return [one for text in made["files"].values() for one in yaml.safe_load_all(text)]


def of_kind(all_of_it: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [one for one in all_of_it if one["kind"] in kinds]


def workload(all_of_it: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = of_kind(all_of_it, "Deployment", "StatefulSet")
    return found


def pod(all_of_it: list[dict[str, Any]]) -> dict[str, Any]:
    template: dict[str, Any] = workload(all_of_it)["spec"]["template"]
    return template


def container(all_of_it: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = pod(all_of_it)["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def config_map(all_of_it: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = of_kind(all_of_it, "ConfigMap")
    return found


def written(all_of_it: list[dict[str, Any]], folder: Path) -> Path:
    file = folder / "headrace.yaml"
    file.write_text(config_map(all_of_it)["data"]["headrace.yaml"], encoding="utf-8")
    return file


def open_ports(config: Config) -> set[int]:
    """The ports that other pods can reach, by headrace's own reading."""
    every = [(config.gateway.host, config.gateway.port)]
    every += [(model.host or config.gateway.host, model.port) for model in config.models.values()]
    return {port for host, port in every if port is not None and host != "127.0.0.1"}


@pytest.fixture(scope="module")
def by_file() -> dict[str, dict[str, Any]]:
    made = rendered(*(file.read_text(encoding="utf-8") for file in FILES))
    return dict(zip([file.stem for file in FILES], made, strict=True))


@pytest.fixture(params=[file.stem for file in FILES])
def made(request: pytest.FixtureRequest, by_file: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return by_file[request.param]


# --- what is rendered fits headrace -------------------------------------------------------------------------------


def test_headrace_takes_its_file(made: dict[str, Any], tmp_path: Path) -> None:
    file = written(documents(made), tmp_path)
    command = [str(Path(sys.executable).with_name("headrace")), "config", "check", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_service_has_the_ports_of_the_file(made: dict[str, Any], tmp_path: Path) -> None:
    all_of_it = documents(made)
    config = load_file(written(all_of_it, tmp_path), os.environ)
    models, admin = of_kind(all_of_it, "Service")
    assert [one["port"] for one in models["spec"]["ports"]] == [one["targetPort"] for one in models["spec"]["ports"]]
    assert {one["port"] for one in models["spec"]["ports"]} == open_ports(config)
    names = [one["name"] for one in models["spec"]["ports"]]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in names)
    (port,) = container(all_of_it)["ports"]
    assert config.admin is not None
    assert (port["name"], port["containerPort"]) == ("admin", config.admin.port)
    assert [(one["port"], one["targetPort"]) for one in admin["spec"]["ports"]] == [(config.admin.port, "admin")]
    for policy in of_kind(all_of_it, "NetworkPolicy"):
        allowed = {one["port"] for rule in policy["spec"]["ingress"] for one in rule["ports"]}
        assert allowed - {config.admin.port} == open_ports(config)


def test_the_pod_is_not_killed_before_it_has_drained(made: dict[str, Any], tmp_path: Path) -> None:
    all_of_it = documents(made)
    config = load_file(written(all_of_it, tmp_path), os.environ)
    _, seconds = container(all_of_it)["lifecycle"]["preStop"]["exec"]["command"]
    takes_s = float(seconds) + config.gateway.drain_s + MARGIN_S
    assert pod(all_of_it)["spec"]["terminationGracePeriodSeconds"] > takes_s


def test_every_selector_finds_the_pods(made: dict[str, Any]) -> None:
    all_of_it = documents(made)
    labels = pod(all_of_it)["metadata"]["labels"].items()
    selectors = [workload(all_of_it)["spec"]["selector"]["matchLabels"]]
    selectors += [one["spec"]["selector"] for one in of_kind(all_of_it, "Service")]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in of_kind(all_of_it, "PodDisruptionBudget")]
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in of_kind(all_of_it, "NetworkPolicy")]
    for selector in selectors:
        assert selector, "an empty selector takes everything"
        assert selector.items() <= labels
    for monitor in of_kind(all_of_it, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        (service,) = (one for one in of_kind(all_of_it, "Service") if wanted <= one["metadata"]["labels"].items())
        assert service["spec"]["clusterIP"] == "None"


def test_volumes_and_mounts_belong_together(made: dict[str, Any]) -> None:
    all_of_it = documents(made)
    volumes = {one["name"]: one for one in pod(all_of_it)["spec"]["volumes"]}
    claims = {one["metadata"]["name"] for one in workload(all_of_it)["spec"].get("volumeClaimTemplates", [])}
    assert {one["name"] for one in container(all_of_it)["volumeMounts"]} == {*volumes, *claims}
    assert volumes["config"]["configMap"]["name"] == config_map(all_of_it)["metadata"]["name"]
    assert not any("subPath" in one for one in container(all_of_it)["volumeMounts"]), "not updated by Kubernetes"
    for scaler in of_kind(all_of_it, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert target["kind"] == workload(all_of_it)["kind"]
        assert "replicas" not in workload(all_of_it)["spec"]


def test_the_notes_say_where_the_models_are_and_what_to_paste(made: dict[str, Any]) -> None:
    all_of_it = documents(made)
    models = of_kind(all_of_it, "Service")[0]
    scheme = models["spec"]["ports"][0]["appProtocol"]
    for one in models["spec"]["ports"]:
        assert f"{scheme}://{models['metadata']['name']}.serving.svc:{one['port']}/" in made["notes"]
    what = f"{workload(all_of_it)['kind'].lower()}/headrace"
    assert f"kubectl -n serving rollout status {what}\n" in made["notes"]
    assert f"kubectl -n serving exec {what} -- headrace status\n" in made["notes"]
    assert ("headrace diff" in made["notes"]) == ("--watch" in container(all_of_it)["args"])


def test_tls_is_in_probes_services_and_the_monitor(by_file: dict[str, dict[str, Any]]) -> None:
    secure, half = documents(by_file["secure-values"]), documents(by_file["shared-values"])
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container(secure)[name]["httpGet"]["scheme"] == "HTTPS"
        assert "scheme" not in container(half)[name]["httpGet"], "its admin port has none"
    (monitor,) = of_kind(secure, "ServiceMonitor")
    assert monitor["spec"]["endpoints"][0]["scheme"] == "https"
    assert {"name": "HEADRACE_ADMIN", "value": "https://localhost:5100"} in container(secure)["env"]
    assert {"name": "HEADRACE_ADMIN", "value": "http://localhost:5199"} in container(half)["env"]
    mounts = {one["mountPath"] for one in container(secure)["volumeMounts"]}
    (config,) = (yaml.safe_load(one["data"]["headrace.yaml"]) for one in of_kind(secure, "ConfigMap"))
    assert str(Path(config["tls"]["certificate"]).parent) in mounts
    assert config["auth"]["keys"] in mounts


# --- what is changed restarts pods where headrace cannot reload it, and nowhere else --------------------------------

WILD: dict[str, Any] = {"uri": "models:/*@production", "batch": {"max_bytes": 4_000_000}}
LOGGED = {"path": "/var/lib/headrace/log"}
EDITS: list[tuple[str, Any]] = [
    ("models.topic.replicas", 2), ("models.topic.uri", "models:/topic@next"), ("models.topic.port", 5011),
    ("models.topic.prediction_log", LOGGED), ("models.other", {**TOPIC, "port": 5002}),
    ("models.other", {**TOPIC, "port": 5002, "prediction_log": LOGGED}), ("models.*.at_most", 7),
    ("models.*.uri", "models:/*@next"), ("models.*.batch.max_rows", 9), ("models.*.batch.max_bytes", 9),
    ("models.*.env", {"A": "b"}), ("models.*.errors", {"mode": "strict"}), ("models.*", None),
    ("gateway.max_body_bytes", 1_000_000), ("gateway.drain_s", 20), ("gateway.port", 5009), ("errors.mode", "strict"),
    ("registry.poll_s", 9), ("registry.webhook_secret", "x"), ("registry.tracking_uri", "http://b"),
    ("registry.timeout_s", 9), ("registry.fetch_timeout_s", 9), ("registry.registry_uri", "http://b"),
    ("environments.source_builds", False), ("environments.prebuilt", "/opt/envs"), ("health.ready", "any"),
    ("health.failing", "unready"), ("health.hung_after_s", 9), ("log.level", "debug"), ("log.access", "full"),
    ("telemetry.otlp", {"endpoint": "http://c"}), ("audit", "/var/lib/headrace/a"), ("home", "/var/lib/headrace/b"),
    ("bring_up_at_once", 2), ("quotas", {"*": {"in_flight": 3}}), ("auth", {"anonymous": {"roles": ["predict"]}}),
]  # fmt: skip


def edited(path: str, value: object, *, wild: bool = True) -> dict[str, Any]:
    config: dict[str, Any] = copy.deepcopy({"models": {"topic": TOPIC, **({"*": WILD} if wild else {})}})
    *parents, name = path.split(".")
    section = config
    for parent in parents:
        section = section.setdefault(parent, {})
    if value is None:
        del section[name]
    else:
        section[name] = value
    return config


def test_what_headrace_can_reload_keeps_the_pods() -> None:
    """headrace's own table says what that is."""
    cases = [(path, value, wild) for path, value in EDITS for wild in (True, False) if wild or "*" not in path]
    bases = {wild: edited("registry", {}, wild=wild) for wild in (True, False)}
    values = [{"config": one} for one in (bases[True], bases[False])]
    values += [{"config": edited(path, value, wild=wild)} for path, value, wild in cases]
    before_wild, before, *after = map(documents, rendered(*values))
    wrong = []
    for (path, _, wild), all_of_it in zip(cases, after, strict=True):
        old = before_wild if wild else before
        refused = plan(*(parse(yaml.safe_load(config_map(one)["data"]["headrace.yaml"])) for one in (old, all_of_it)))
        grace_only = path == "gateway.drain_s"  # the pods are the same but for how long they have to end
        restarts = pod(all_of_it) != pod(old) and not grace_only
        if restarts != bool(refused.refused):
            wrong.append((path, wild, restarts))
    assert wrong == []


def test_pods_that_are_replaced_keep_the_file_that_their_probes_fit() -> None:
    """A pod that took an admin port of another number or scheme over would fail its probes, and be killed."""
    made = rendered(
        serving(), serving({"admin": {"port": 5101}}), serving({"tls": TLS}), serving({"models": {"b": TOPIC}})
    )
    names = [config_map(documents(one))["metadata"]["name"] for one in made]
    assert names[0] == names[3]
    assert len(set(names)) == 3


def test_without_watch_every_change_restarts_the_pods() -> None:
    first, second = map(documents, rendered(serving(watch=False), serving({"registry": {"poll_s": 9}}, watch=False)))
    assert pod(first) != pod(second)
    assert "--watch" not in container(first)["args"]


# --- what would not work is refused -------------------------------------------------------------------------------

REFUSED = [
    ({}, "config.models is empty. Name at least one model"),
    (serving(replicas=3), "additional properties 'replicas' not allowed"),
    (serving(image={"tagg": "1"}), "at '/image': additional properties 'tagg' not allowed"),
    (serving(replicaCount="two"), "at '/replicaCount': got string, want integer"),
    (serving(home={"volume": "disk"}), "at '/home/volume': value must be one of 'emptyDir', 'perPod', 'shared'"),
    (serving({"gatewayy": {}}), "at '/config': additional properties 'gatewayy' not allowed"),
    (serving({"models": {"a": {**TOPIC, "batch": {"max_row": 1}}}}), "batch': additional properties 'max_row' not"),
    (serving({"models": {"a": {"port": 5001}}}), "at '/config/models/a': missing property 'uri'"),
    (serving({"models": {"a": {**TOPIC, "port": 0}}}), 'config.models.a.port is "0": a Service needs'),
    (serving({"models": {"a": {**TOPIC, "port": "${P}"}}}), 'config.models.a.port is "${P}": a Service needs'),
    (serving({"models": {"a": TOPIC, "b": TOPIC}}), "port 5001 is that of the model a and of the model b"),
    (serving({"models": {"a": {**TOPIC, "port": 5100}}}), "port 5100 is that of config.admin.port and of the model a"),
    (serving({"gateway": {"host": "127.0.0.1"}}), "no port of config is open to other pods"),
    (serving({"admin": {"host": "localhost"}}), "config.admin.host is on loopback"),
    (serving({"admin": None}), "config.admin has no port"),
    (serving({"gateway": {"drain_s": "half a minute"}}), 'config.gateway.drain_s is "half a minute"'),
    (serving({"gateway": {"drain_s": "2m"}}, terminationGracePeriodSeconds=60), "headrace may need 127 to end"),
    (serving({"tls": {**TLS, "client_ca": "/ca.crt"}}), "the admin port asks for certificates of clients"),
    (serving({"auth": {"keys": "/k", "probes": "closed"}}), "config.auth.probes is closed"),
    (serving(secrets={"tls": "t"}), "secrets.tls is mounted, and config does not use it"),
    (serving(secrets={"keys": "k"}), "secrets.keys is mounted, and config does not use it"),
    (serving(autoscaling={"enabled": True, "cpuPercent": None}), "autoscaling is on and has nothing to go by"),
]  # fmt: skip


def test_what_would_not_work_is_refused_in_words() -> None:
    for (_, says), made in zip(REFUSED, rendered(*(values for values, _ in REFUSED)), strict=True):
        assert says in (made["refused"] or "taken"), says


TAKEN = [
    (serving({"tls": {**TLS, "client_ca": "/ca.crt", "client_certificate": "optional"}}), 45),
    (serving({"tls": {**TLS, "client_ca": "/ca.crt"}, "admin": {"tls": TLS}}), 45),
    (serving({"gateway": {"drain_s": "500ms"}}), 16),
    (serving({"gateway": {"drain_s": "1.5 m"}}), 105),
    (serving({"gateway": {"drain_s": 0.5}}, preStopSeconds=0), 11),
    (serving({"gateway": {"drain_s": "1h"}}, terminationGracePeriodSeconds=4000), 4000),
    (serving(**{"global": {"imageRegistry": "x"}}), 45),
    (serving(env=[{"name": "HEADRACE_ADMIN", "value": "https://news:5100"}]), 45),
]


def test_what_works_is_taken_and_has_the_time_that_it_needs() -> None:
    for (_, grace_s), made in zip(TAKEN, rendered(*(values for values, _ in TAKEN)), strict=True):
        assert pod(documents(made))["spec"]["terminationGracePeriodSeconds"] == grace_s
        names = [one["name"] for one in container(documents(made))["env"]]
        assert len(set(names)) == len(names), "what stands twice cannot be applied"


def test_the_examples_of_the_documentation_are_taken() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (whole,) = re.findall(r"^cat > news.yaml <<'EOF'\n(.*?)^EOF$", text, re.MULTILINE | re.DOTALL)
    parts = [*map(yaml.safe_load, re.findall(r"^```yaml\n(# part of values.*?)^```$", text, re.MULTILINE | re.DOTALL))]
    assert parts
    values = [{**part, **serving(part.pop("config", {}))} for part in parts]
    for made in rendered(whole, *values):
        assert made["refused"] is None, made["refused"]


# --- the manifests for Kustomize say the same ---------------------------------------------------------------------


def numbered(rules: list[dict[str, Any]], ports: dict[str, int]) -> list[dict[str, Any]]:
    """Rules of a NetworkPolicy with numbers in the place of names."""
    return [
        {**rule, "ports": [{**one, "port": ports.get(one["port"], one["port"])} for one in rule["ports"]]}
        for rule in rules
    ]


def without(document: Any, *names: str) -> Any:
    """A document without these keys, at any depth: labels and selectors have the release in them."""
    if isinstance(document, dict):
        return {key: without(value, *names) for key, value in document.items() if key not in names}
    return [without(one, *names) for one in document] if isinstance(document, list) else document


def test_kustomize_and_the_chart_do_not_drift_apart(by_file: dict[str, dict[str, Any]]) -> None:
    chart = documents(by_file["kustomize-values"])
    theirs, ours = container(KUBERNETES), container(chart)
    ports = {one["name"]: one["containerPort"] for one in theirs["ports"]}
    for name in (
        "startupProbe",
        "livenessProbe",
        "readinessProbe",
        "lifecycle",
        "resources",
        "securityContext",
        "volumeMounts",
    ):
        assert ours[name] == theirs[name], name
    assert [one for one in ours["args"] if one != "--watch"] == theirs["args"]
    differing = ("containers", "serviceAccountName", "labelSelector", "configMap")
    assert without(pod(chart)["spec"], *differing) == without(pod(KUBERNETES)["spec"], *differing)
    assert without(workload(chart)["spec"], "template", "selector") == without(
        workload(KUBERNETES)["spec"], "template", "selector"
    )
    assert parse(yaml.safe_load(config_map(chart)["data"]["headrace.yaml"])) == parse(
        yaml.safe_load(config_map(KUBERNETES)["data"]["headrace.yaml"])
    )
    for one, other in zip(of_kind(chart, "Service"), of_kind(KUBERNETES, "Service"), strict=True):
        numbers = [{port["port"] for port in service["spec"]["ports"]} for service in (one, other)]
        assert numbers[0] == numbers[1]
        kept = ("ports", "selector", "type")
        assert without(one["spec"], *kept) == without(other["spec"], *kept)
    for kind in ("HorizontalPodAutoscaler", "PodDisruptionBudget"):
        (one,), (other,) = of_kind(chart, kind), of_kind(KUBERNETES, kind)
        assert without(one["spec"], "selector") == without(other["spec"], "selector")
    (one,), (other,) = of_kind(chart, "NetworkPolicy"), of_kind(KUBERNETES, "NetworkPolicy")
    for way in ("ingress", "egress"):
        assert one["spec"][way] == numbered(other["spec"][way], ports)
    (one,), (other,) = of_kind(chart, "ServiceMonitor"), of_kind(KUBERNETES, "ServiceMonitor")
    assert without(one["spec"], "selector", "scheme") == without(other["spec"], "selector")


def test_the_chart_as_it_is_passes_helms_lint(tmp_path: Path) -> None:
    told = helm("check", str(tmp_path))
    assert [line.split(":")[0] for line in told.splitlines()] == [file.name for file in FILES]


def test_the_chart_is_of_this_version_and_the_images() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    (kustomization,) = (yaml.safe_load(p.read_text()) for p in (ROOT / "deploy" / "kubernetes").glob("kustom*.yaml"))
    assert chart["appVersion"] == kustomization["images"][0]["newTag"]
