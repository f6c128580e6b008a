"""A Docker to try containers with, a base image for them, and what this machine's package tools are told."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saying import Impossible, say

STATE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace-containers"
REAL_BASE = "python:3.11-slim-bookworm"
STAND_IN = "headrace-test-base:bookworm"
STAND_IN_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
INDEXES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL")
NEEDED_BYTES = 8 << 30
_SEARCHED = os.environ["PATH"] + ":/usr/sbin:/sbin"
_KEPT = "4GB"


class Docker:
    """The command line; `environ` says which engine."""

    def __init__(self, program: str, environ: dict[str, str]) -> None:
        self.program = program
        self.environ = environ

    def __call__(self, *arguments: str, check: bool = True, timeout: float = 1200) -> str:
        """What the command says; with `check` a command that fails is a SystemExit, without it stderr comes, too."""
        command = [self.program, *arguments]
        done = subprocess.run(
            command, env=self.environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
        if check and done.returncode:
            told = done.stdout.decode(errors="replace")[-2000:] + done.stderr.decode(errors="replace")[-4000:]
            raise SystemExit(f"FAILED: {shlex.join(command)}\n{told}")
        return (done.stdout + (b"" if check else done.stderr)).decode(errors="replace").strip()

    def works(self, *arguments: str) -> bool:
        """Whether the command ends well, in a minute."""
        return self.complaint(*arguments) is None

    def complaint(self, *arguments: str) -> str | None:
        """Why the command does not end well in a minute; None if it does."""
        command = [self.program, *arguments]
        try:
            done = subprocess.run(command, env=self.environ, capture_output=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return None if done.returncode == 0 else done.stderr.decode(errors="replace").strip()[-500:] or "it failed"


@contextmanager
def engine(*, tidy: bool = True) -> Iterator[Docker]:
    """A Docker that builds with BuildKit: the one that answers, or one of our own until the end of the block.

    With `tidy` our own forgets what has been left in it, but not the builds that make the next ones quick.
    """
    programs = [str(p) for d in os.environ["PATH"].split(os.pathsep) if os.access(p := Path(d, "docker"), os.X_OK)]
    if not programs:
        raise Impossible("docker is not installed (Debian: apt-get install docker.io debootstrap)")
    environ = {**os.environ, "DOCKER_BUILDKIT": "1"}
    for program in programs:
        if Docker(program, environ).works("info"):
            yield _builder(programs, environ)
            return
    dockerd = shutil.which("dockerd", path=_SEARCHED)
    if dockerd is None or os.geteuid() != 0:
        raise Impossible("no Docker engine answers, and one of our own needs dockerd and root")
    STATE.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(STATE).free) < NEEDED_BYTES:
        raise Impossible(f"{STATE} has {free >> 30} GB free, and images need {NEEDED_BYTES >> 30} GB")
    with (
        (STATE / "lock").open("wb") as lock,
        (STATE / "dockerd.log").open("ab") as log,
        tempfile.TemporaryDirectory(prefix="headrace-dockerd-") as folder,
    ):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Impossible(f"another run uses {STATE}: wait for its end") from None
        log.truncate(0)
        environ["DOCKER_HOST"] = f"unix://{folder}/docker.sock"
        command = [dockerd, "--data-root", str(STATE / "docker"), "--exec-root", f"{folder}/exec"]
        command += ["--pidfile", f"{folder}/pid", "--host", environ["DOCKER_HOST"]]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        docker = Docker(programs[0], environ)
        try:
            end_s = time.monotonic() + 60
            while not docker.works("info"):
                if process.poll() is not None or time.monotonic() > end_s:
                    raise Impossible(f"dockerd does not start here; see {STATE / 'dockerd.log'}")
                time.sleep(0.5)
            yield _builder(programs, environ)
            if tidy:
                for kind in ("container", "network", "volume", "image"):
                    docker(kind, "prune", "--force", check=False)
                docker("builder", "prune", "--force", "--keep-storage", _KEPT, check=False)
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _builder(programs: list[str], environ: dict[str, str]) -> Docker:
    """The first command line that can build with BuildKit: some need a plugin for it that is not there."""
    for program in programs:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n", encoding="utf-8")
            if Docker(program, environ).works("build", "--quiet", folder):
                return Docker(program, environ)
    raise Impossible("this docker cannot build with BuildKit (install the buildx plugin)")


def base(docker: Docker, *, pull: bool) -> str:
    """The base image's name; made of Debian's packages where it is not here. A container of it has run."""
    image = _base(docker, pull=pull)
    limits = ["--memory", "64m", "--cpus", "1", "--read-only", "--publish", "127.0.0.1::80"]
    if why := docker.complaint("run", "--rm", *limits, image, "true"):
        raise Impossible(f"this engine runs no containers: {why}")
    return image


def _base(docker: Docker, *, pull: bool) -> str:
    if docker.works("image", "inspect", REAL_BASE) or (pull and docker.works("pull", REAL_BASE)):
        return REAL_BASE
    if docker.works("image", "inspect", STAND_IN):
        return STAND_IN
    if not shutil.which("debootstrap", path=_SEARCHED) or os.geteuid() != 0:
        raise Impossible(f"{REAL_BASE} is not here (--pull brings it), and a stand-in needs debootstrap and root")
    say(f"no {REAL_BASE}: a stand-in of Debian's packages")
    with tempfile.TemporaryDirectory(prefix="headrace-base-") as folder:
        command = ["debootstrap", "--variant=minbase", f"--include={STAND_IN_PACKAGES}", "bookworm", f"{folder}/root"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        except subprocess.TimeoutExpired:
            raise Impossible("debootstrap has not ended in 15 minutes") from None
        if done.returncode:
            raise Impossible(f"debootstrap failed: {done.stdout[-500:]}{done.stderr[-500:]}")
        left_out = ["proc/*", "sys/*", "dev/*", "var/cache/apt/archives/*.deb", "var/lib/apt/lists/*"]
        tar = ["tar", "-C", f"{folder}/root", *[f"--exclude=./{one}" for one in left_out], "-cf", f"{folder}/base.tar"]
        subprocess.run([*tar, "."], check=True)
        docker("import", f"{folder}/base.tar", STAND_IN)
    return STAND_IN


class Place:
    """What this machine's package tools are told, for builds (secrets) and for containers of the test (files)."""

    def __init__(self, folder: Path) -> None:
        self.told = _indexes()
        self.env = folder / "index.env"
        self.env.write_text("".join(f"{k}={shlex.quote(v)}\n" for k, v in self.told.items()), encoding="utf-8")
        self.files: dict[str, Path] = {"env": self.env}
        self.environ = dict(self.told)
        self.volumes: list[str] = []
        bundle = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
        if bundle and Path(bundle).is_file():
            # A copy that any user may read: containers do not run as the one who has started this.
            ca = self.files["ca"] = folder / "ca.pem"
            shutil.copyfile(bundle, ca)
            ca.chmod(0o644)
            self.volumes.append(f"{ca}:/run/ca.pem:ro")
            self.environ |= dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"), "/run/ca.pem")

    def reach(self, docker: Docker, image: str) -> None:
        """Raises Impossible where a container gets no package: then no image can be built, whatever it is made of."""
        asked = ["python3", "-m", "pip", "download", "--quiet", "--no-deps", "--dest", "/tmp/one", "packaging"]
        if why := docker.complaint("run", "--rm", *self.options, image, *asked):
            raise Impossible(f"containers here reach no package index: {why}")

    @property
    def secrets(self) -> list[str]:
        """Options of `docker build`."""
        return [part for name, path in self.files.items() for part in ("--secret", f"id={name},src={path}")]

    @property
    def options(self) -> list[str]:
        """Options of `docker run`."""
        options = [part for name, value in self.environ.items() for part in ("--env", f"{name}={value}")]
        return options + [part for one in self.volumes for part in ("--volume", one)]


def _indexes() -> dict[str, str]:
    """Package indexes, by the names of pip's and uv's variables; those in files of this machine are left out."""
    told = {name: os.environ[name] for name in INDEXES if os.environ.get(name)}
    for setting, name in (("index-url", "PIP_INDEX_URL"), ("extra-index-url", "PIP_EXTRA_INDEX_URL")):
        asked = [sys.executable, "-m", "pip", "config", "get", f"global.{setting}"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.returncode == 0 and name not in told:
            told[name] = " ".join(done.stdout.split())
    told = {k: " ".join(u for u in v.split() if not u.startswith(("file:", "/"))) for k, v in told.items()}
    told = {name: value for name, value in told.items() if value}
    if "PIP_INDEX_URL" in told:
        told.setdefault("UV_DEFAULT_INDEX", told["PIP_INDEX_URL"])
    if "PIP_EXTRA_INDEX_URL" in told:
        told.setdefault("UV_INDEX", told["PIP_EXTRA_INDEX_URL"])
    return told
