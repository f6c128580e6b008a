"""deploy/compose.yaml as it stands, from nothing to healthy and down again.

An override hands it what this machine's package tools are told, and the images of others that cannot be had here are
replaced by Debian's packages or left out: each with a line that says so.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from asking import ask
from engine import Docker, Place
from saying import check, not_tried, say, until

DEPLOY = Path(__file__).resolve().parents[1]
FILE = DEPLOY / "compose.yaml"
PORTS = ("CLASSIFICATION_PORT", "SENTIMENT_PORT", "MLFLOW_PORT", "ADMIN_PORT", "GRAFANA_PORT", "PROMETHEUS_PORT")
REPLACEABLE = ("postgres", "prometheus")
ORDER = ("postgres", "mlflow", "train", "headrace", "check")


class Stack:
    """The services of compose.yaml as a project whose name begins with `prefix`, on free ports."""

    def __init__(self, docker: Docker, place: Place, folder: Path, image_base: str, prefix: str, *, pull: bool) -> None:
        self.docker, self.place, self.image_base, self.pull = docker, place, image_base, pull
        self.prefix = f"{prefix}-stack"
        self.ports = {name: _free_port() for name in PORTS}
        self.override = folder / "compose.override.json"
        self.environ = {**docker.environ, **{k: str(v) for k, v in self.ports.items()}, "HEADRACE_VERSION": "test"}
        self.program: list[str] | None = None

    def try_it(self) -> None:
        """Up, asked from outside, up again, down."""
        say("the compose stack")
        self.program = self._find()
        if self.program is None:
            not_tried("compose.yaml: Compose v2 is not here (`docker compose version`)")
            return
        here = self._prepare()
        self._compose("up", "--detach", "--build")
        until("the check's end", lambda: self._state("check")["Status"] == "exited", 120)
        check("the check after the start is content", self._state("check")["ExitCode"] == 0, self._logs("check"))
        check("each service waited for the health of the one before", self._in_order())
        for name, text, wanted in (
            ("CLASSIFICATION_PORT", "The team won the championship match", "sports"),
            ("SENTIMENT_PORT", "This is wonderful news!", "positive"),
        ):
            check(f"a model answers with {wanted}", wanted in ask(self.ports[name], text)[2])
        query = "SELECT count(*) FROM registered_models"
        rows = self._compose(
            "exec", "-T", "-e", "PGPASSWORD=mlflow", "postgres", "psql", "-h", "127.0.0.1", "-U", "mlflow", "-tc", query
        )
        check("MLflow keeps its models in PostgreSQL", rows.strip() == "2", rows)
        check("MLflow answers at the port it was given", "versions" in self._registered())
        if "prometheus" in here:
            self._prometheus()
        if "grafana" in here:
            self._grafana()
        before = self._state("headrace")["StartedAt"]
        self._compose("up", "--detach")
        check("a second `up` leaves headrace alone", self._state("headrace")["StartedAt"] == before)
        self._compose("down")
        check("`down` leaves no container", not self._listed("ps", "--all"))
        check("`down` keeps the volumes", len(self._listed("volume", "ls")) >= 4)
        self._compose("down", "--volumes")
        check("`down --volumes` leaves nothing", not self._listed("volume", "ls"))

    def clear(self) -> None:
        """Remove what is left of the stack."""
        if self.program is not None:
            self._compose("down", "--volumes", "--timeout", "5", check_it=False)

    # --- what it is made of

    def _find(self) -> list[str] | None:
        for program in ([self.docker.program, "compose"], [shutil.which("docker-compose") or ""]):
            try:
                done = subprocess.run(
                    [*program, "version", "--short"], env=self.environ, capture_output=True, text=True, check=False
                )
            except OSError:
                continue
            if done.returncode == 0 and re.match(r"v?[2-9]\.", done.stdout):
                return program
        return None

    def _prepare(self) -> set[str]:
        """Write the override; returns the services that are there."""
        services: dict[str, Any] = {
            name: {"build": {"network": "host", "args": {"BASE": self.image_base}, "secrets": list(self.place.files)}}
            for name in ("mlflow", "headrace")
        }
        for name in ("train", "headrace"):
            services.setdefault(name, {}).update({"environment": self.place.environ, "volumes": self.place.volumes})
        told = json.loads(self._compose("config", "--format", "json"))["services"]
        others = {name: one["image"] for name, one in told.items() if not one["image"].startswith("headrace")}
        here = set(others)
        for name, image in others.items():
            if self.docker.works("image", "inspect", image) or (self.pull and self.docker.works("pull", image)):
                continue
            if name in REPLACEABLE:
                services[name] = {"image": self._stand_in(name)}
                not_tried(f"compose.yaml's {image}, which cannot be had here: {name} of Debian's packages in its place")
            else:
                services[name] = {"profiles": ["left-out"]}
                here.remove(name)
                not_tried(f"compose.yaml's {image}, which cannot be had here: {name} is left out")
        secrets = {name: {"file": str(path)} for name, path in self.place.files.items()}
        self.override.write_text(json.dumps({"services": services, "secrets": secrets}), encoding="utf-8")
        return here

    def _stand_in(self, name: str) -> str:
        image = f"headrace-test-{name}:bookworm"
        dockerfile = str(DEPLOY / "test" / "stand_in_services.Dockerfile")
        self.docker(
            "build", "--network", "host", "--file", dockerfile, "--target", name,
            "--build-arg", f"BASE={self.image_base}", "--tag", image, str(DEPLOY / "test"),
        )  # fmt: skip
        return image

    # --- what it says

    def _compose(self, *arguments: str, check_it: bool = True) -> str:
        command = [*(self.program or []), "--project-name", self.prefix, "--file", str(FILE)]
        command += ["--file", str(self.override)] if self.override.exists() else []
        command += arguments
        done = subprocess.run(
            command,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        if check_it and done.returncode:
            states = self._compose("ps", "--all", check_it=False)
            raise SystemExit(f"FAILED: docker compose {' '.join(arguments)}\n{done.stderr[-4000:]}\n{states}")
        return done.stdout

    def _state(self, service: str) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(
            self.docker("inspect", "--format", "{{json .State}}", f"{self.prefix}-{service}-1")
        )
        return state

    def _logs(self, service: str) -> str:
        return self._compose("logs", "--no-color", service, check_it=False)[-2000:]

    def _in_order(self) -> bool:
        started = [self._state(name)["StartedAt"] for name in ORDER]
        return started == sorted(started) and self._state("train")["FinishedAt"] <= self._state("headrace")["StartedAt"]

    def _listed(self, *command: str) -> list[str]:
        return self.docker(
            *command, "--filter", f"name={self.prefix}-", "--filter", f"name={self.prefix}_", "-q"
        ).split()

    def _registered(self) -> str:
        return _get(self.ports["MLFLOW_PORT"], "/api/2.0/mlflow/registered-models/get?name=classification").decode()

    def _prometheus(self) -> None:
        port = self.ports["PROMETHEUS_PORT"]

        def up() -> bool:
            found = json.loads(_get(port, "/api/v1/query?query=up%7Bjob%3D%22headrace%22%7D"))["data"]["result"]
            return [one["value"][1] for one in found] == ["1"]

        until("Prometheus to scrape headrace", up, 60)
        groups = json.loads(_get(port, "/api/v1/rules"))["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        ill = [rule["name"] for rule in rules if rule["health"] == "err"]
        check(f"Prometheus scrapes headrace and has {len(rules)} alerts", rules and not ill, ill)

    def _grafana(self) -> None:
        port = self.ports["GRAFANA_PORT"]
        until("Grafana", lambda: b"ok" in _get(port, "/api/health"), 60)
        uid = json.loads((DEPLOY / "grafana" / "headrace.json").read_text(encoding="utf-8"))["uid"]
        check("Grafana has the dashboard", json.loads(_get(port, f"/api/dashboards/uid/{uid}"))["dashboard"]["panels"])
        home = json.loads(_get(port, "/api/dashboards/home"))
        check("and shows it first", home.get("dashboard", {}).get("uid") == uid, home)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _get(port: int, path: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://localhost:{port}{path}", timeout=10) as answer:
            return bytes(answer.read())
    except OSError as error:
        return json.dumps({"error": str(error), "data": {"result": [], "groups": []}}).encode()
