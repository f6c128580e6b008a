"""What a trained model depends on, as one digest: equal digests mean that training again would change nothing.

Imports nothing heavy, so that a second run can find out in a moment that there is nothing to do.
"""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from news.archives import ORANGE_TEXT, VADER

if TYPE_CHECKING:
    from news.archives import Archive

# What a served model imports, to be pinned at the versions it was trained with. The small MLflow package is enough to
# load and to score; whoever serves with the large one has these files in it too.
PACKAGES: Final = ("mlflow-skinny", "numpy", "pandas", "scikit-learn", "scipy", "skops")

SHARED_FILES: Final = (
    "archives.py",
    "evaluation.py",
    "labelled.py",
    "model_card.py",
    "pipelines.py",
    "recipes.py",
    "registry.py",
    "seed_terms.py",
    "seed_terms.txt",
)
FILES: Final = {
    "classification": (
        *SHARED_FILES,
        "cards/classification.md",
        "headlines.py",
        "headlines_check.tsv",
        "headlines_dev.tsv",
        "topic_data.py",
        "topic_model.py",
        "windows.py",
    ),
    "sentiment": (*SHARED_FILES, "cards/sentiment.md", "everyday.tsv", "sentiment_data.py", "sentiment_model.py"),
}
ARCHIVES: Final[dict[str, Archive]] = {"classification": ORANGE_TEXT, "sentiment": VADER}


def pinned_requirements() -> list[str]:
    """Return ``name==version`` of each package that a served model needs, as installed here."""
    return [f"{package}=={version(package)}" for package in PACKAGES]


def fingerprint(name: str) -> str:
    """Return the digest of data, code, pins and Python version behind the model `name`, in hexadecimal."""
    digest = hashlib.sha256()
    python = ".".join(platform.python_version_tuple()[:2])
    for line in (ARCHIVES[name].sha256, f"python=={python}", *pinned_requirements()):
        digest.update(f"{line}\n".encode())
    for filename in sorted(FILES[name]):
        content = files("news").joinpath(filename).read_bytes()
        digest.update(f"{filename} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()
