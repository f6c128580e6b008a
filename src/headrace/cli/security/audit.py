"""`headrace audit`: what was changed and by whom, and whether the file that says so is as it was written."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli.commands import Exampled
from headrace.cli.saying import say, say_json
from headrace.core.admin.audit import Broken, Chain
from headrace.core.errors import HeadraceError, UsageError

_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_JSON = click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object.")


class Tampered(HeadraceError):
    """The file is not what was written."""

    code = "CONFLICT"


@click.group("audit")
def command() -> None:
    """Look at an audit file (`audit:` of the configuration), and check that nobody has changed it."""


@command.command(
    "verify",
    cls=Exampled,
    examples=(
        "headrace audit verify audit.jsonl",
        "headrace audit verify audit.jsonl --has 5f1c…  # a hash that headrace's log has of an entry",
    ),
)
@_FILE
@click.option("--has", metavar="SHA256", help="Demand that an entry has this hash: kept elsewhere, it shows a cut end.")
@_JSON
def verify(file: Path, has: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Follow the chain of FILE from its first line to its last: exit code 0 if it is whole, 1 if it is not.

    A file from which the newest lines were cut off is whole as well: keep a hash elsewhere (the log has that of each
    entry) and give it as --has.
    """
    chain, found = Chain(), has is None
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    chain.follow(line.removesuffix(b"\n"))
                except Broken as error:
                    raise Tampered(f"{file}: line {number} {error}") from None
                found = found or chain.last.sha256 == has
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    chain.end()
    if not found:
        raise Tampered(f"{file} has no entry with the hash {has}: it was cut off, or written anew")
    if as_json:
        say_json({"entries": chain.last.number, "sha256": chain.last.sha256, "cut_off": chain.torn})
        return
    torn = f"; {chain.torn} lines were cut off by a crash, or by a full disk" if chain.torn else ""
    say(f"{file}: {chain.last.number} entries, none changed or missing; the last is {chain.last.sha256}{torn}")
