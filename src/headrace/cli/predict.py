"""`headrace predict`: texts, lines or whole files, with a served model or with one in this process."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from headrace.cli.commands import Exampled
from headrace.cli.credentials import credential_options
from headrace.cli.saying import say, say_json
from headrace.client import Client, connect
from headrace.client.credentials import Credentials
from headrace.client.errors import BadRequest, ClientError, PartialFailure
from headrace.client.files import job
from headrace.client.files.journal import Journal
from headrace.client.files.reading import Source, format_of, lines, open_source
from headrace.client.files.summary import Summary
from headrace.client.files.writing import line, quoted, write
from headrace.client.progress import shown
from headrace.core.errors import HeadraceError, UsageError
from headrace.core.escaping import printable_lines

OnError = Literal["fail", "skip", "null"]


@click.command(
    "predict",
    cls=Exampled,
    examples=(
        "headrace predict -a localhost:5001 'Technology news'",
        "headrace predict -a localhost:5001 -i news.csv -o labelled.csv --column text",
        "headrace predict -a localhost:5001 -i may.csv -i june.csv -o labelled/ --on-error null",
        "headrace predict -m models:/classification@production -i news.jsonl -o labelled.parquet",
    ),
)
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option(
    "-a", "--address", "addresses", multiple=True, metavar="ADDRESS", help="A served model; several for failover."
)
@click.option("-m", "--model", metavar="URI", help="A model to load in this process: models:/NAME@ALIAS, a path.")
@click.option("--tracking-uri", metavar="URI", help="Where the registry of --model is.")
@click.option(
    "-i", "--input", "sources", type=click.Path(path_type=Path), multiple=True,
    help="A .csv, .jsonl, .parquet or .txt file; can be repeated.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(),
    help="A file of these kinds, or a directory for a file of each input's name; resumable: run it again to go on.",
)  # fmt: skip
@click.option("--column", metavar="NAME", help="Ask the model only this column of the input.")
@click.option("--params", metavar="JSON", help="Parameters for the model.")
@click.option(
    "--on-error", type=click.Choice(["fail", "skip", "null"]), default="fail", show_default=True,
    help="A row that the model refuses: fail names it and writes nothing, skip leaves it out, null has no prediction.",
)  # fmt: skip
@click.option("--chunk-rows", type=click.IntRange(min=1), default=1000, show_default=True, help="Rows of a request.")
@click.option("--parallel", type=click.IntRange(min=1), default=4, show_default=True, help="Requests in the air.")
@click.option("--deadline", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True, help="Seconds for a request with its retries.")  # fmt: skip  # noqa: E501
@click.option("--restart", is_flag=True, help="Forget what an earlier run has done.")
@click.option("--progress/--no-progress", default=None, help="A progress bar [default: on a terminal].")
@click.option(
    "--json", "as_json", is_flag=True, help="Predictions as JSON, one a line; with --output the summary as one object."
)
@credential_options
def command(
    texts: tuple[str, ...],
    addresses: tuple[str, ...],
    model: str | None,
    tracking_uri: str | None,
    sources: tuple[Path, ...],
    output: str | None,
    column: str | None,
    params: str | None,
    on_error: OnError,
    chunk_rows: int,
    parallel: int,
    deadline: float,
    restart: bool,  # noqa: FBT001
    progress: bool | None,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    credentials: Credentials,
) -> None:
    """Predict with a served model, or with one that is loaded in this process.

    Inputs are TEXT arguments, else the rows of each --input, else the lines of the standard input. Predictions go to
    the standard output, one a line, or with --output to a file beside the inputs; one line on the standard error sums
    up. A run that was killed goes on where it was when the same command is given again. Rows count from 0.
    """
    if bool(addresses) == (model is not None):
        raise UsageError("give either --address or --model URI")
    if texts and sources:
        raise UsageError("give either TEXT arguments or --input")
    outputs = _outputs(sources, output)
    wanted = _params(params)
    inputs = _inputs(texts, sources, column)
    to_file = output is not None
    bar = sys.stderr.isatty() and (to_file or not sys.stdout.isatty()) if progress is None else progress
    summary = Summary(time.monotonic)
    try:
        with (
            _client(addresses, model, tracking_uri, deadline, credentials) as client,
            shown(bar, sum(source.rows for _, source in inputs)) as tell,
        ):

            def predict(data: Any) -> Any:
                return client.predict(data, params=wanted)

            for (name, source), path in zip(inputs, outputs, strict=True):
                summary.begin(name if len(inputs) > 1 else None, source.rows)
                if path is None:
                    chunks = source.chunks(chunk_rows)
                    for outcome in job.in_order(job.answers(predict, chunks, parallel)):
                        _print(outcome, on_error, source.rows, as_json=as_json)
                        summary.add(outcome.why)
                        tell(len(outcome.predictions))
                    continue
                about = {
                    "input": source.digest,
                    "model": list(addresses) or model,
                    "column": column,
                    "params": wanted,
                    "chunk_rows": chunk_rows,
                }
                _to_file(path, source, about, predict, summary, tell, on_error, parallel, restart=restart)
    except PartialFailure as error:
        kept = "" if not to_file else "; nothing is written: correct these rows and begin again with --restart, or"
        raise HeadraceError(f"{error}{kept or '; or'} go on with --on-error skip or null") from None
    except ClientError as error:
        again = "; what is done is kept, run it again to go on" if to_file else ""
        raise HeadraceError(f"{error}{again}") from None
    except OSError as error:
        if error.errno == errno.EPIPE:  # who reads has seen enough
            raise
        raise HeadraceError(f"{output or 'the standard output'}: {error.strerror or error}") from None
    if as_json and to_file:
        say_json(summary.describe())
    elif not texts or summary.failed:
        say(f"headrace: {summary.told(skipped=on_error == 'skip')}", err=True)


def _to_file(
    path: Path,
    source: Source,
    about: dict[str, Any],
    predict: Callable[[Any], Any],
    summary: Summary,
    tell: Callable[[int], None],
    on_error: OnError,
    parallel: int,
    *,
    restart: bool,
) -> None:
    """Predict one file into another, through the journal beside it."""
    beside, chunk_rows = path.with_name(f"{path.name}.journal"), about["chunk_rows"]
    if restart:
        beside.unlink(missing_ok=True)
    with Journal(beside, about) as journal:
        summary.earlier(journal.rows())
        tell(journal.rows())
        job.fill(
            journal, source, predict,
            chunk_rows=chunk_rows, parallel=parallel, tell=tell, keep_failed=on_error != "fail",
        )  # fmt: skip
        summary.add(journal.failed())
        write(path, source, lambda: job.done(journal, source, chunk_rows, skip=on_error == "skip"))
        journal.remove()


def _outputs(sources: tuple[Path, ...], output: str | None) -> list[Path | None]:
    """Where each input's predictions go; None: to the standard output."""
    if output is None:
        return [None] * max(1, len(sources))
    path = Path(output)
    if not output.endswith(os.sep) and not path.is_dir():
        if len(sources) > 1:
            raise UsageError(f"several inputs need a directory: --output {output}{os.sep}")
        format_of(path)
        return [path]
    if not sources:
        raise UsageError(f"--output {output}: a directory takes the names of --input; give a file")
    outputs = [path / source.name for source in sources]
    for source, made in zip(sources, outputs, strict=True):
        format_of(made)
        if outputs.count(made) > 1 or made.resolve() == source.resolve():
            raise UsageError(f"{source}: its predictions would displace a file, {made}; choose another --output")
    path.mkdir(parents=True, exist_ok=True)
    return [*outputs]


def _client(
    addresses: tuple[str, ...],
    model: str | None,
    tracking_uri: str | None,
    deadline_s: float,
    credentials: Credentials,
) -> Client:
    try:
        if model is not None:
            return connect(model, tracking_uri=tracking_uri)
        certificate, key = credentials.certificate, credentials.key
        return connect(
            addresses,
            deadline_s=deadline_s,
            verify=credentials.ca or True,
            cert=(certificate, key) if certificate is not None and key is not None else certificate,
            token=credentials.token,
        )
    except BadRequest as error:
        raise UsageError(str(error)) from None


def _params(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--params is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UsageError("--params must be a JSON object")
    return value


def _inputs(texts: tuple[str, ...], sources: tuple[Path, ...], column: str | None) -> list[tuple[str, Source]]:
    """The inputs with their names."""
    if texts:
        return [("the arguments", lines(list(texts)))]
    if sources:
        return [(str(source), open_source(source, column)) for source in sources]
    if sys.stdin is None:
        raise UsageError("nothing to predict: give TEXT arguments, --input or lines on the standard input")
    if sys.stdin.isatty():
        click.echo("headrace: reading lines from the terminal; Ctrl-D ends them", err=True)
    try:
        # UTF-8 as in files, whatever the terminal's language is.
        texts_in = [text.rstrip("\r\n") for text in io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig")]
    except UnicodeError as error:
        raise UsageError(f"the standard input is not UTF-8: {error}") from None
    return [("the standard input", lines(texts_in))]


def _print(outcome: job.Outcome, on_error: OnError, rows: int, *, as_json: bool) -> None:
    """Print a chunk's predictions; raises PartialFailure behind the rows before the first that failed."""
    if sys.stdout is None:
        raise HeadraceError("the standard output is closed; write to a file with --output")
    start, failed = outcome.chunk.start, outcome.failed
    stop = min(failed) - start if failed and on_error == "fail" else len(outcome.predictions)
    skip = failed if on_error == "skip" else {}
    told = [quoted(one) if as_json else line(one)
            for at, one in enumerate(outcome.predictions[:stop]) if start + at not in skip]  # fmt: skip
    text = "\n".join(told)
    # A file or a program gets a text as the model wrote it; a terminal would obey what is in it.
    text = printable_lines(text) if sys.stdout.isatty() else text
    if told:
        click.echo(text.encode("utf-8", "backslashreplace"))
    if failed and on_error == "fail":
        raise job.refused(failed, rows)
