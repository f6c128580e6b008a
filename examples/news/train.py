"""The command: fetch the data, train and evaluate the models, register them. A second run finds nothing to do.

    python -m news.train --state-dir DIR

Exit codes: 0 done or nothing to do, 1 it could not be done (one line says why), 2 wrong arguments, 130 interrupted.
"""

from __future__ import annotations

import argparse
import fcntl
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from news.aside import make
from news.errors import NewsError
from news.fingerprint import FILES, fingerprint, pinned_requirements
from news.progress import Progress
from news.quiet import prepare, quiet
from news.registered import surely_registered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MODELS: Final = tuple(FILES)
STEPS_PER_MODEL: Final = 4  # fetch, train, evaluate, register
EXPERIMENT: Final = "news"


def default_tracking_uri(state_dir: Path) -> str:
    """Return the address of the registry that lies inside the state directory: one sqlite file."""
    return f"sqlite:///{state_dir.absolute() / 'mlflow.db'}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    # Our own lines go to the stream of now: libraries are muted by replacing sys.stdout for a while.
    console = Console(file=sys.stdout)
    try:
        run(
            state_dir=options.state_dir,
            cache_dir=options.cache_dir,
            tracking_uri=options.tracking_uri,
            models=options.only or MODELS,
            force=options.force,
            console=console,
        )
    except NewsError as error:
        print(f"news.train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("news.train: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


def run(
    *,
    state_dir: Path,
    console: Console,
    cache_dir: Path | None = None,
    tracking_uri: str | None = None,
    models: Sequence[str] = MODELS,
    force: bool = False,
) -> None:
    """Train and register those of `models` that are not registered yet, or all of them with `force`.

    `cache_dir` is where downloads are kept (None: inside the state directory), `tracking_uri` the registry (None: a
    sqlite file inside the state directory). Sets environment variables that silence MLflow. Raises NewsError.
    """
    uri = tracking_uri or default_tracking_uri(state_dir)
    with _only_one(state_dir):
        wanted = {name: fingerprint(name) for name in models}
        missing = [name for name, digest in wanted.items() if force or not surely_registered(uri, name, digest)]
        for name in wanted:
            if name not in missing:
                console.print(f"{name}: registered already", highlight=False)
        if missing:
            begun_s = time.monotonic()
            _train_and_register(
                {name: wanted[name] for name in missing},
                tracking_uri=uri,
                artifacts=None if tracking_uri else (state_dir.absolute() / "artifacts"),
                cache_dir=cache_dir or state_dir / "cache",
                force=force,
                console=console,
            )
            console.print(f"done in {time.monotonic() - begun_s:.0f} s", highlight=False)


def _train_and_register(
    wanted: dict[str, str],
    *,
    tracking_uri: str,
    artifacts: Path | None,
    cache_dir: Path,
    force: bool,
    console: Console,
) -> None:
    """Do the work for each name and fingerprint of `wanted`."""
    prepare()
    progress = Progress(console, steps=1 + STEPS_PER_MODEL * len(wanted))
    with progress.shown():
        with progress.step("opening the registry"), quiet():
            # Seconds of imports that a run with nothing to do must not pay for.
            from news.registry import Registry  # noqa: PLC0415

            registry = Registry(
                tracking_uri,
                experiment=EXPERIMENT,
                artifact_location=artifacts.as_uri() if artifacts is not None else None,
            )
            known = {} if force else {name: registry.find(name, digest) for name, digest in wanted.items()}
        for name in wanted:
            if known.get(name) is not None:
                console.print(f"{name}: registered already, version {known[name]}", highlight=False)
        missing = [name for name in wanted if known.get(name) is None]
        for name, trained in make(missing, cache_dir, progress):
            with progress.step(f"{name}: registering"), quiet():
                version = registry.add(name, trained, wanted[name], pinned_requirements())
            first = trained.evaluations[0]
            console.print(
                f"{name} version {version}: accuracy {first.accuracy:.1%}, macro-F1 {first.macro_f1:.3f} "
                f"on {first.texts:,} texts",
                highlight=False,
            )


@contextmanager
def _only_one(state_dir: Path) -> Iterator[None]:
    """Wait until no other process works in this state directory. Raises NewsError if it cannot be written."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        lock = (state_dir / "train.lock").open("w")
    except OSError as error:
        raise NewsError(f"cannot write to the state directory {state_dir}: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m news.train",
        description="Train two news models on public data and register them with MLflow.",
    )
    parser.add_argument(
        "--state-dir", type=Path, default=Path(".demo"), help="registry, models and downloads (default: .demo)"
    )
    parser.add_argument("--cache-dir", type=Path, help="downloads (default: cache inside the state directory)")
    parser.add_argument("--tracking-uri", help="the MLflow registry (default: a sqlite file in the state directory)")
    parser.add_argument("--only", choices=MODELS, action="append", help="train this model; may be given twice")
    parser.add_argument("--force", action="store_true", help="train and register again, whatever is registered")
    return parser


if __name__ == "__main__":
    sys.exit(main())
