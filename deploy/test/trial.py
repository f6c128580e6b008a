"""What is tried with containers of the two images: health, draining, faults, limits, a package without a network."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

from asking import Client, ask
from engine import Docker, Place
from saying import check, figure, say, until

ROOT = Path(__file__).resolve().parents[2]
IMAGE, MLFLOW, PACKAGED = "headrace:test", "headrace-mlflow:test", "headrace-packaged:test"
STOP_S = 40
MEMORY_MB = 1500
HARDENED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
LIMITS = ["--memory", f"{MEMORY_MB}m", "--memory-swap", f"{MEMORY_MB}m", "--cpus", "1"]
CONFIG = """\
registry: {poll_s: 1}
gateway: {host: 0.0.0.0, drain_s: 30}
models:
  classification: {uri: "models:/classification@production", port: 5001, replicas: 2}
  sentiment:      {uri: "models:/sentiment@production",      port: 5002}
"""
ALIAS = "from mlflow import MlflowClient as C; C('http://127.0.0.1:5050').set_registered_model_alias"


class Trial:
    """Containers, volumes and a network whose names begin with `prefix`; each step builds on the one before."""

    def __init__(self, docker: Docker, place: Place, folder: Path, image_base: str, prefix: str) -> None:
        self.docker, self.place, self.folder, self.image_base, self.prefix = docker, place, folder, image_base, prefix
        self.network = f"{prefix}-network"
        self.headrace, self.registry = f"{prefix}-headrace", f"{prefix}-registry"

    def build(self) -> None:
        """Both images; what is in headrace's."""
        for target, image in (("headrace", IMAGE), ("mlflow", MLFLOW)):
            say(f"build {image} on {self.image_base}")
            begun_s = time.monotonic()
            self.docker(
                "build", "--network", "host", "--file", str(ROOT / "deploy" / "Dockerfile"), "--target", target,
                "--build-arg", f"BASE={self.image_base}", *self.place.secrets, "--tag", image, str(ROOT),
            )  # fmt: skip
            print(f"    built in {time.monotonic() - begun_s:.0f} s", flush=True)
        whole, below = self.size_mb(IMAGE), self.size_mb(self.image_base)
        figure("image size", f"{whole:.0f} MB, {whole - below:.0f} MB of it on top of the base")
        history = self.docker("history", "--no-trunc", IMAGE) + self.docker("inspect", IMAGE)
        secrets = [str(self.folder), "ca.pem", *self.place.told.values()]
        check("no secret in the image", not [one for one in secrets if one in history])
        tools = self.docker("run", "--rm", "--entrypoint", "sh", IMAGE, "-c", "command -v gcc cc g++ make curl || true")
        check("no compiler, no curl", not tools, tools)
        check("a user of its own", self.docker("run", "--rm", "--entrypoint", "id", IMAGE, "-u") == "10001")

    def size_mb(self, image: str) -> float:
        """What the image takes on disk, its base's part, too."""
        return int(self.docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e6

    def start_registry(self) -> None:
        """A tracking server in a container; two versions of classification, the first of them in production."""
        say("registry, and the two models trained (classification twice)")
        self.docker("network", "create", self.network)
        self.docker(
            "run", "--detach", "--name", self.registry, "--network", self.network, "--network-alias", "mlflow",
            "--volume", f"{self.registry}:/var/lib/mlflow", "--env", "MLFLOW_SERVER_ALLOWED_HOSTS=*",
            "--env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false",
            MLFLOW, "mlflow", "server", "--host", "0.0.0.0", "--port", "5050", "--workers", "1", "--serve-artifacts",
            "--backend-store-uri", "sqlite:////var/lib/mlflow/mlflow.db",
            "--artifacts-destination", "/var/lib/mlflow/artifacts",
        )  # fmt: skip
        self.until_registry_answers()
        for more in ([], ["--force", "--only", "classification"]):
            self.docker(
                "run", "--rm", "--network", self.network, *self.place.options,
                "--volume", f"{self.prefix}-news:/var/lib/mlflow", MLFLOW,
                "python", "-m", "news.train", "--tracking-uri", "http://mlflow:5050",
                "--state-dir", "/var/lib/mlflow/news", *more,
            )  # fmt: skip
        self.move_alias("1")

    def until_registry_answers(self) -> None:
        """The tracking server's own word."""
        asked = "import urllib.request as r; r.urlopen('http://127.0.0.1:5050/health', timeout=4)"
        until("the registry", lambda: self.docker.works("exec", self.registry, "python", "-c", asked), 120)

    def move_alias(self, version: str) -> None:
        """classification@production is this version from now on."""
        self.docker("exec", self.registry, "python", "-c", f"{ALIAS}('classification', 'production', '{version}')")

    def start(self) -> None:
        """As a user would start headrace, with limits and hardened."""
        config = self.folder / "headrace.yaml"
        config.write_text(CONFIG, encoding="utf-8")
        config.chmod(0o644)
        self.docker(
            "run", "--detach", "--name", self.headrace, "--network", self.network, *HARDENED, *self.place.options,
            *LIMITS, "--volume", f"{config}:/etc/headrace/headrace.yaml:ro",
            "--volume", f"{self.headrace}:/var/lib/headrace", "--env", "MLFLOW_TRACKING_URI=http://mlflow:5050",
            "--publish", "127.0.0.1::5001", "--publish", "127.0.0.1::5002", IMAGE,
        )  # fmt: skip

    def port(self, inside: int) -> int:
        """Where a port of headrace's container is published."""
        return int(self.docker("port", self.headrace, str(inside)).splitlines()[0].rpartition(":")[2])

    def health(self, name: str | None = None) -> str:
        """What the engine says; a container that has ended is a failure."""
        state = json.loads(self.docker("inspect", "--format", "{{json .State}}", name or self.headrace))
        if state["Status"] != "running":
            raise SystemExit(
                f"FAILED: the container ended: {self.docker('logs', name or self.headrace, check=False)[-4000:]}"
            )
        return str(state["Health"]["Status"])

    def cpu_s(self) -> float:
        """What the container has used since its start: the time that a start takes on an idle CPU."""
        older = "cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null"
        read = older + " || awk '/^usage_usec/{print $2 * 1000}' /sys/fs/cgroup/cpu.stat"
        return float(self.docker("exec", self.headrace, "sh", "-c", read)) / 1e9

    def until_healthy(self, patience_s: float) -> str:
        """How long it takes. The container is asked itself, too: the engine looks only every ten seconds."""
        begun_s = time.monotonic()
        until(
            "ready", lambda: self.health() and self.docker.works("exec", self.headrace, "headrace", "check"), patience_s
        )
        told = f"{time.monotonic() - begun_s:.1f} s, {self.cpu_s():.1f} s of CPU"
        until("healthy", lambda: self.health() == "healthy", 60)
        return told

    def first_start(self) -> None:
        """From nothing cached to healthy; who it runs as, what it may write, how many threads it takes."""
        say("first start: nothing cached, 1 CPU, read-only root, no capabilities")
        self.start()
        figure("start to ready, cold (model fetched, environment built)", self.until_healthy(500))
        self.answers()
        try:
            self.docker("exec", self.headrace, "touch", "/opt/headrace/x")
        except SystemExit:
            print("    ok: the root file system is read-only", flush=True)
        else:
            check("the root file system is read-only", ok=False)
        processes = self.docker("top", self.headrace, "-eo", "uid,pid,args").splitlines()[1:]
        check("nothing runs as root", all(line.split()[0] == "10001" for line in processes), processes)
        begun_s = time.monotonic()
        self.docker("exec", self.headrace, "headrace", "check")
        figure("one health check", f"{time.monotonic() - begun_s:.2f} s")
        threads = self.docker(
            "exec", self.headrace, "sh", "-c",
            "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep ^OMP_NUM_THREADS= | sort -u",
        )  # fmt: skip
        check("threads by the CPU limit, not by the machine's cores", threads == "OMP_NUM_THREADS=1", threads)

    def answers(self) -> None:
        """Both models, asked from outside."""
        check("classification answers", "sports" in ask(self.port(5001), "The team won the championship match")[2])
        check("sentiment answers", "positive" in ask(self.port(5002), "This is wonderful news!")[2])

    def kill_workers(self) -> None:
        """A worker and the process that workers are forked from die under load, and nobody notices."""
        say("kill -9 of workers inside, under load from outside")
        with Client(self.port(5001)) as client:
            for role in ("replica", "host"):
                pids = self.workers(role)
                check(f"a {role} of classification is there", pids)
                self.docker("exec", self.headrace, "sh", "-c", f"kill -9 {pids[0]}", check=False)
                self.until_answered(client, 50)
                self.until_replaced(role, pids)
        check(f"0 of {client.total:,} requests failed", not client.failed, client.failed[:5])
        check("`headrace check` says so, too", self.docker.works("exec", self.headrace, "headrace", "check"))
        zombies = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null; true"
        until("the dead to be collected", lambda: not self.docker("exec", self.headrace, "sh", "-c", zombies), 15)

    def workers(self, role: str) -> list[str]:
        """The ids, inside of the container, of what serves classification in this role: replica or host."""
        found = f'grep -aq \'"model": "classification"\' $p/cmdline && grep -aq role={role} $p/cmdline'
        every = "for p in /proc/[0-9]*; do {} 2>/dev/null && echo ${{p#/proc/}}; done; true"
        return self.docker("exec", self.headrace, "sh", "-c", every.format(found)).split()

    def until_replaced(self, role: str, before: list[str]) -> None:
        """Wait until as many are there as before, the first of them another; the engine says healthy all along."""

        def replaced() -> bool:
            if (told := self.health()) != "healthy":
                raise SystemExit(f"FAILED: {told} after the death of a {role}")
            now = self.workers(role)
            return len(now) >= len(before) and before[0] not in now

        until(f"another {role}", replaced, 60)
        check(f"healthy after the death of a {role}, and another is there", ok=True)

    def until_answered(self, client: Client, more: int) -> None:
        """Wait until the client has got so many further answers."""
        before = client.total
        until("further answers", lambda: client.total > before + more, 60)

    def registry_away(self) -> None:
        """Serving, and a restart, while the registry's container is stopped."""
        say("the registry stops; headrace restarts without it")
        self.docker("stop", "--time", "5", self.registry)
        self.answers()
        self.docker("restart", "--time", str(STOP_S), self.headrace)
        figure("start to ready, warm (registry away)", self.until_healthy(300))
        self.answers()
        self.docker("start", self.registry)

    def move(self) -> None:
        """The alias moves under load."""
        say("the alias moves to version 2")
        with Client(self.port(5001)) as client:
            self.until_registry_answers()
            self.move_alias("2")
            begun_s = time.monotonic()
            until("version 2", lambda: client.answered.get("classification/2"), 120)
            figure("alias moved to new version serving, under load, 1 CPU", f"{time.monotonic() - begun_s:.1f} s")
            before = client.answered["classification/2"]
            until("further answers", lambda: client.answered["classification/2"] > before + 100, 60)
        check(f"0 of {client.total:,} requests failed", not client.failed, client.failed[:5])

    def limits(self) -> None:
        """Memory and CPU, as the engine counts them; and what happens at the memory limit."""
        say("limits")
        state = json.loads(self.docker("inspect", self.headrace))[0]
        check("nothing was killed for memory", not state["State"]["OOMKilled"])
        used = self.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", self.headrace).split(" / ")[0]
        figure("memory, two models with three replicas, after load", used)
        with Client(self.port(5001), threads=8):
            time.sleep(1)
            cpu = float(self.docker("stats", "--no-stream", "--format", "{{.CPUPerc}}", self.headrace).rstrip("%"))
        check(f"at most one CPU ({cpu:.0f} %)", cpu < 115)
        # At the limit the kernel takes what is greatest: a greedy process here, a greedy model's worker in real life.
        greedy = "b = bytearray(0)\nwhile True: b.extend(bytes(1 << 24))"
        with Client(self.port(5001)) as client:
            killed = self.docker.complaint("exec", self.headrace, "python3", "-c", greedy)
            check(f"a process that takes more than {MEMORY_MB} MB is killed", killed is not None, killed)
            self.until_answered(client, 50)
        check(f"0 of {client.total:,} requests failed", not client.failed, client.failed[:5])
        check("healthy at the memory limit", self.docker.works("exec", self.headrace, "headrace", "check"))

    def stop(self) -> None:
        """SIGTERM under load."""
        say("SIGTERM under load")
        # By the container's own address: the engine's proxy before a published port accepts what it then has to cut.
        networks = json.loads(self.docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", self.headrace))
        with Client(5001, networks[self.network]["IPAddress"]) as client:
            until("answers", lambda: client.total > 20, 60)
            begun_s = time.monotonic()
            stopping = threading.Thread(target=self.docker, args=("stop", "--time", str(STOP_S), self.headrace))
            stopping.start()
            stopping.join()
            took_s = time.monotonic() - begun_s
            client.stop()
        cut = [one for one in client.failed if "Reset" in one or "RemoteDisconnected" in one or one[0].isdigit()]
        code = self.docker("inspect", "--format", "{{.State.ExitCode}}", self.headrace)
        check(
            f"exit code 0 within the grace time ({took_s:.1f} s of {STOP_S} s)", code == "0" and took_s < STOP_S, code
        )
        # Who was let in is answered, who comes later is refused. In the instant of closing, a client's newest
        # connection may be in the port's queue, which the kernel throws away: at most one for each of its threads.
        check(f"{client.total} answered, {len(cut)} cut off", len(cut) <= 4, cut[:9])
        self.docker("rm", "--volumes", self.headrace)

    def package(self) -> None:
        """`headrace package`, its image, and that image without a network."""
        say("a package: an image with the models and their environments, run without a network")
        volume = f"{self.prefix}-package"
        command = ["package", "-o", "/var/lib/headrace/package", "-m", "models:/classification@production"]
        self.docker(
            "run", "--name", volume, "--network", self.network, *self.place.options,
            "--env", "MLFLOW_TRACKING_URI=http://mlflow:5050", IMAGE, *command, "-m", "models:/sentiment@production",
        )  # fmt: skip
        self.docker("cp", f"{volume}:/var/lib/headrace/package", str(self.folder / "package"))
        self.docker("rm", volume)
        begun_s = time.monotonic()
        build = ["build", "--network", "none", "--build-arg", f"HEADRACE={IMAGE}", "--tag", PACKAGED]
        self.docker(*build, str(self.folder / "package"))
        figure("build of the packaged image, no network", f"{time.monotonic() - begun_s:.0f} s")
        figure("packaged image, on top of headrace's", f"{self.size_mb(PACKAGED) - self.size_mb(IMAGE):.0f} MB")
        self.docker(
            "run", "--detach", "--name", self.headrace, "--network", "none", *HARDENED,
            "--tmpfs", "/var/lib/headrace:uid=10001,mode=0700", *LIMITS, PACKAGED,
        )  # fmt: skip
        figure("packaged: start to ready, no network, nothing cached", self.until_healthy(300))
        told = self.docker("exec", self.headrace, "headrace", "check", "http://127.0.0.1:5001", "http://127.0.0.1:5002")
        check("both packaged models answer", "2 of 2 are well" in told, told)
        self.docker("stop", "--time", str(STOP_S), self.headrace)
        check("exit code 0", self.docker("inspect", "--format", "{{.State.ExitCode}}", self.headrace) == "0")

    def clear(self) -> None:
        """Remove every container, volume and network of this run."""
        for kind, listed in (
            ("container", ["ps", "--all"]),
            ("volume", ["volume", "ls"]),
            ("network", ["network", "ls"]),
        ):
            shown = "{{.Names}}" if kind == "container" else "{{.Name}}"
            names = self.docker(*listed, "--filter", f"name={self.prefix}", "--format", shown, check=False).split()
            if names:
                self.docker(kind, "rm", *(["--force"] if kind != "network" else []), *names, check=False)
