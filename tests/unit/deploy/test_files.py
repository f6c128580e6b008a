"""The files of deploy/ fit together, and fit the configuration and the metrics: what no schema can say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.cli import serve
from headrace.config.load import parse
from headrace.config.tree import Config
from headrace.gateway.http.routing import resolve
from headrace.gateway.http.targets import Want
from headrace.supervisor.admin import health
from headrace.telemetry import metrics

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
MARGIN_S = 2.0  # what the supervisor allows itself beyond drain_s


def documents(folder: Path) -> list[dict[str, Any]]:
    found = [one for path in sorted(folder.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]
    return [one for one in found if one["kind"] != "Kustomization"]


COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
KUBERNETES = documents(DEPLOY / "kubernetes")


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [one for one in KUBERNETES if one["kind"] == kind]


def pod() -> dict[str, Any]:
    (deployment,) = of_kind("Deployment")
    template: dict[str, Any] = deployment["spec"]["template"]
    return template


def kubernetes_config() -> Config:
    (config_map,) = of_kind("ConfigMap")
    return parse(yaml.safe_load(config_map["data"]["headrace.yaml"]))


def compose_config() -> Config:
    return parse(yaml.safe_load((DEPLOY / "headrace.yaml").read_text()))


def ports(config: Config) -> set[int | None]:
    admin = config.admin.port if config.admin else None
    return {config.gateway.port, admin, *(model.port for model in config.models.values())}


# --- compose ------------------------------------------------------------------------------------------------------


def test_what_compose_mounts_is_there_and_its_volumes_are_declared() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), (name, volume)
            else:
                assert source in COMPOSE["volumes"], (name, volume)


def test_compose_starts_in_the_order_of_health() -> None:
    for name, service in SERVICES.items():
        needed = service.get("depends_on", {})
        for other, how in needed.items() if isinstance(needed, dict) else []:
            if how["condition"] == "service_completed_successfully":
                assert SERVICES[other]["restart"] == "no", (name, other)
            elif other != "headrace":  # its image has a health check of its own
                assert "healthcheck" in SERVICES[other], (name, other)
    assert SERVICES["headrace"]["depends_on"] == {"train": {"condition": "service_completed_successfully"}}
    assert SERVICES["check"]["depends_on"] == {"headrace": {"condition": "service_healthy"}}


def test_an_image_of_ours_is_built_once_and_not_looked_for_in_a_registry() -> None:
    # Compose labels what it builds with the service's name: built for two services, one image is not the other, and a
    # second `up` replaces the containers of what was built first.
    ours = {name: service for name, service in SERVICES.items() if service["image"].startswith("headrace")}
    assert {name for name, service in SERVICES.items() if "build" in service} <= ours.keys()
    for image in {service["image"] for service in ours.values()}:
        users = [service for service in ours.values() if service["image"] == image]
        assert sum("build" in service for service in users) == 1, image
        assert all("build" in service or service["pull_policy"] == "never" for service in users), image


def test_compose_publishes_what_headrace_serves_and_waits_for_its_draining() -> None:
    config = compose_config()
    published = {int(one.rpartition(":")[2]) for one in SERVICES["headrace"]["ports"]}
    assert published <= ports(config)
    assert {model.port for model in config.models.values()} <= published
    assert float(SERVICES["headrace"]["stop_grace_period"].rstrip("s")) > config.gateway.drain_s + MARGIN_S


def test_only_the_models_ports_are_open_to_other_machines() -> None:
    models = {str(model.port) for model in compose_config().models.values()}
    for name, service in SERVICES.items():
        for one in service.get("ports", []):
            assert one.startswith("127.0.0.1:") or one.rpartition(":")[2] in models, (name, one)


def test_mlflow_answers_to_the_port_that_it_is_moved_to() -> None:
    (published,) = SERVICES["mlflow"]["ports"]
    port = published.removeprefix("127.0.0.1:").rpartition(":")[0]
    assert port == "${MLFLOW_PORT:-5050}"
    hosts = SERVICES["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {f"localhost:{port}", f"127.0.0.1:{port}"} <= set(hosts)


def test_the_prometheus_of_compose_is_the_other_with_another_target() -> None:
    here, there = (yaml.safe_load((DEPLOY / "prometheus" / f"{n}.yaml").read_text()) for n in ("compose", "prometheus"))
    admin = compose_config().admin
    assert here["scrape_configs"][0].pop("static_configs") == [{"targets": [f"headrace:{admin and admin.port}"]}]
    there["scrape_configs"][0].pop("static_configs")
    assert here == there
    command = " ".join(SERVICES["prometheus"]["command"])
    assert "/etc/prometheus/compose.yaml" in command


def test_grafana_finds_its_data_source_and_its_dashboard() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"].split("//")[1].split(":")[0] in SERVICES
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "headrace.yaml").read_text())["providers"]
    mounted = [one.split(":")[1] for one in SERVICES["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/headrace.json" in mounted


# --- Kubernetes ---------------------------------------------------------------------------------------------------


def test_kustomize_lists_every_file() -> None:
    listed = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted({p.name for p in (DEPLOY / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"})


def test_every_selector_finds_the_pods() -> None:
    labels = pod()["metadata"]["labels"].items()
    selectors = [of_kind("Deployment")[0]["spec"]["selector"]["matchLabels"]]
    selectors += [service["spec"]["selector"] for service in of_kind("Service")]
    selectors += [of_kind("PodDisruptionBudget")[0]["spec"]["selector"]["matchLabels"]]
    selectors += [of_kind("NetworkPolicy")[0]["spec"]["podSelector"]["matchLabels"]]
    selectors += [one["labelSelector"]["matchLabels"] for one in pod()["spec"]["topologySpreadConstraints"]]
    for selector in selectors:
        assert selector, "an empty selector takes everything"
        assert selector.items() <= labels


def test_the_monitor_finds_one_service_and_its_port() -> None:
    (monitor,) = of_kind("ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (service,) = (one for one in of_kind("Service") if wanted <= one["metadata"]["labels"].items())
    assert {one["port"] for one in monitor["spec"]["endpoints"]} <= {one["name"] for one in service["spec"]["ports"]}


def test_ports_have_one_name_and_one_number_everywhere() -> None:
    (container,) = pod()["spec"]["containers"]
    named = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert set(named.values()) == ports(kubernetes_config())
    assert all(len(name) <= 15 for name in named)
    for service in of_kind("Service"):
        for one in service["spec"]["ports"]:
            assert named[one["targetPort"]] == one["port"]
    routes = Path(health.__file__).read_text(encoding="utf-8")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] == "admin"
        assert f'"{asked["path"]}"' in routes
    for rule in of_kind("NetworkPolicy")[0]["spec"]["ingress"]:
        assert {one["port"] for one in rule["ports"]} <= set(named)


def test_the_probes_are_those_that_the_documentation_explains() -> None:
    (container,) = pod()["spec"]["containers"]
    text = (DEPLOY.parent / "docs" / "health.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(one) for one in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]
    told = next(one for one in blocks if "livenessProbe" in one)
    assert told == {name: probe for name, probe in container.items() if name.endswith("Probe")}


def test_the_supervisor_can_say_where_it_stood_before_its_pod_is_killed() -> None:
    probe = pod()["spec"]["containers"][0]["livenessProbe"]
    hung_after_s = kubernetes_config().health.hung_after_s
    assert hung_after_s is not None
    assert (probe["failureThreshold"] - 1) * probe["periodSeconds"] + probe["timeoutSeconds"] > hung_after_s


def test_the_pod_is_not_killed_before_it_has_drained() -> None:
    (container,) = pod()["spec"]["containers"]
    sleep, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    takes_s = float(seconds) + kubernetes_config().gateway.drain_s + MARGIN_S
    assert pod()["spec"]["terminationGracePeriodSeconds"] > takes_s


def test_volumes_and_mounts_belong_together() -> None:
    (container,) = pod()["spec"]["containers"]
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod()["spec"]["volumes"]}
    (config_map,) = of_kind("ConfigMap")
    assert {"name": "config", "configMap": {"name": config_map["metadata"]["name"]}} in pod()["spec"]["volumes"]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    for mount in container["volumeMounts"]:
        assert mount["mountPath"] in dockerfile


def test_the_pods_user_is_the_images() -> None:
    user = pod()["spec"]["securityContext"]["runAsUser"]
    assert f"USER {user}:{user}\n" in (DEPLOY / "Dockerfile").read_text()


def test_the_autoscaler_scales_the_deployment_by_a_metric_that_exists() -> None:
    (scaler,) = of_kind("HorizontalPodAutoscaler")
    (deployment,) = of_kind("Deployment")
    target = scaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert "replicas" not in deployment["spec"]
    named = {one["pods"]["metric"]["name"] for one in scaler["spec"]["metrics"] if one["type"] == "Pods"}
    text = Path(metrics.__file__).read_text(encoding="utf-8")
    assert named
    assert all(f'"{name}"' in text for name in named)
    assert of_kind("PodDisruptionBudget")[0]["spec"]["maxUnavailable"] < scaler["spec"]["minReplicas"]


# --- systemd ------------------------------------------------------------------------------------------------------


def test_systemd_waits_for_the_draining() -> None:
    unit = (DEPLOY / "systemd" / "headrace.service").read_text()
    (stop_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert float(stop_s) > Config().gateway.drain_s + MARGIN_S
    assert "\nType=notify\n" in unit
    assert "\nExecReload=/bin/kill -HUP $MAINPID\n" in unit


@pytest.mark.parametrize("name", ["deploy/Dockerfile", "deploy/image/pinned", "deploy/image/with_secrets"])
def test_what_the_image_is_built_of_is_let_into_the_build(name: str) -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text()
    assert (DEPLOY.parent / name).exists()
    for source in ("constraints.txt", "pyproject.toml", "README.md", "LICENSE", "src", "examples/news", "deploy/image"):
        assert f"\n!{source}\n" in ignored


def test_kserves_runtime_starts_what_the_command_takes_and_probes_what_is_there() -> None:
    (container,) = documents(DEPLOY / "kserve")[0]["spec"]["containers"]
    name, *arguments = container["args"]
    assert name == "serve"
    given = serve.command.make_context("serve", list(arguments)).params
    assert (given["model_uri"], given["name"], given["port"]) == ("/mnt/models", "{{.Name}}", 8080)
    assert [one["containerPort"] for one in container["ports"]] == [given["port"], given["grpc_port"]]
    for probe, want in (("livenessProbe", Want.LIVE), ("readinessProbe", Want.HEALTH)):
        asked = container[probe]["httpGet"]
        assert asked["port"] == container["ports"][0]["containerPort"] == given["port"]
        assert resolve(b"GET", asked["path"].encode(), "model").want is want
