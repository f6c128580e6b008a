"""`headrace predict`: texts, lines or whole files, with a served model or with one in this process."""

from __future__ import annotations

import errno
import io
import json
import sys
from pathlib import Path
from typing import Any

import click

from headrace.cli.commands import Exampled
from headrace.client import Client, connect
from headrace.client.errors import BadRequest, ClientError, PartialFailure
from headrace.client.files import job
from headrace.client.files.journal import Journal
from headrace.client.files.reading import Source, format_of, lines, open_source
from headrace.client.files.writing import line, write
from headrace.client.progress import shown
from headrace.core.errors import HeadraceError, UsageError
from headrace.core.escaping import printable_lines


@click.command(
    "predict",
    cls=Exampled,
    examples=(
        "headrace predict -a localhost:5001 'Technology news'",
        "headrace predict -a localhost:5001 -i news.csv -o labelled.csv --column text",
    ),
)
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option(
    "-a", "--address", "addresses", multiple=True, metavar="ADDRESS", help="A served model; several for failover."
)
@click.option("-m", "--model", metavar="URI", help="A model to load in this process: models:/NAME@ALIAS, a path.")
@click.option("--tracking-uri", metavar="URI", help="Where the registry of --model is.")
@click.option("-i", "--input", "source", type=click.Path(path_type=Path), help="A .csv, .jsonl, .parquet or .txt file.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The same; resumable: run it again to go on.")
@click.option("--column", metavar="NAME", help="Ask the model only this column of the input.")
@click.option("--params", metavar="JSON", help="Parameters for the model.")
@click.option("--chunk-rows", type=click.IntRange(min=1), default=1000, show_default=True, help="Rows of a request.")
@click.option("--parallel", type=click.IntRange(min=1), default=4, show_default=True, help="Requests in the air.")
@click.option("--deadline", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True, help="Seconds for a request with its retries.")  # fmt: skip  # noqa: E501
@click.option("--restart", is_flag=True, help="Forget what an earlier run has done.")
@click.option("--progress/--no-progress", default=None, help="A progress bar [default: on a terminal].")
def command(
    texts: tuple[str, ...],
    addresses: tuple[str, ...],
    model: str | None,
    tracking_uri: str | None,
    source: Path | None,
    output: Path | None,
    column: str | None,
    params: str | None,
    chunk_rows: int,
    parallel: int,
    deadline: float,
    restart: bool,  # noqa: FBT001
    progress: bool | None,  # noqa: FBT001
) -> None:
    """Predict with a served model, or with one that is loaded in this process.

    Inputs are TEXT arguments, else the lines of --input, else those of the standard input. Predictions go to the
    standard output, one a line, or with --output to a file beside the inputs. A run that was killed goes on where it
    was when the same command is given again.
    """
    if bool(addresses) == (model is not None):
        raise UsageError("give either --address or --model URI")
    if texts and source is not None:
        raise UsageError("give either TEXT arguments or --input")
    if output is not None:
        format_of(output)
    wanted = _params(params)
    inputs = _inputs(texts, source, column)
    bar = sys.stderr.isatty() and (output is not None or not sys.stdout.isatty()) if progress is None else progress
    try:
        with _client(addresses, model, tracking_uri, deadline) as client, shown(bar, inputs.rows) as tell:

            def predict(data: Any) -> Any:
                return client.predict(data, params=wanted)

            if output is None:
                for answer in job.in_order(job.answers(predict, inputs.chunks(chunk_rows), parallel)):
                    _print(answer[1])
                    tell(len(answer[1]))
                return
            about = {
                "input": inputs.digest,
                "model": list(addresses) or model,
                "column": column,
                "params": wanted,
                "chunk_rows": chunk_rows,
            }
            beside = output.with_name(f"{output.name}.journal")
            if restart:
                beside.unlink(missing_ok=True)
            with Journal(beside, about) as journal:
                tell(journal.rows())
                job.fill(journal, inputs, predict, chunk_rows=chunk_rows, parallel=parallel, tell=tell)
                write(output, inputs, lambda: job.done(journal, inputs, chunk_rows))
                journal.remove()
    except PartialFailure as error:
        raise HeadraceError(
            f"{error}; nothing is written: correct these rows, and begin again with --restart"
        ) from None
    except ClientError as error:
        again = "; what is done is kept, run it again to go on" if output is not None else ""
        raise HeadraceError(f"{error}{again}") from None
    except OSError as error:
        if error.errno == errno.EPIPE:  # who reads has seen enough
            raise
        raise HeadraceError(f"{output or 'the standard output'}: {error.strerror or error}") from None


def _client(addresses: tuple[str, ...], model: str | None, tracking_uri: str | None, deadline_s: float) -> Client:
    try:
        if model is not None:
            return connect(model, tracking_uri=tracking_uri)
        return connect(addresses, deadline_s=deadline_s)
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


def _inputs(texts: tuple[str, ...], source: Path | None, column: str | None) -> Source:
    if texts:
        return lines(list(texts))
    if source is not None:
        return open_source(source, column)
    if sys.stdin is None:
        raise UsageError("nothing to predict: give TEXT arguments, --input or lines on the standard input")
    if sys.stdin.isatty():
        click.echo("headrace: reading lines from the terminal; Ctrl-D ends them", err=True)
    try:
        # UTF-8 as in files, whatever the terminal's language is.
        return lines([text.rstrip("\r\n") for text in io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig")])
    except UnicodeError as error:
        raise UsageError(f"the standard input is not UTF-8: {error}") from None


def _print(predictions: list[Any]) -> None:
    if sys.stdout is None:
        raise HeadraceError("the standard output is closed; write to a file with --output")
    text = "\n".join(map(line, predictions))
    # A file or a program gets a text as the model wrote it; a terminal would obey what is in it.
    text = printable_lines(text) if sys.stdout.isatty() else text
    click.echo(text.encode("utf-8", "backslashreplace"))
