"""`headrace key`: keys for clients, in a file that says nothing of them."""

from __future__ import annotations

import datetime as dt
import os
import re
import time
from pathlib import Path

import click

from headrace.cli.commands import Exampled
from headrace.cli.saying import say, say_json
from headrace.config.places import replace_file
from headrace.core.errors import UsageError
from headrace.core.security import keys
from headrace.core.security.keys import BadKeys, Key
from headrace.core.security.roles import ROLES, Grant, Role

_FILE = click.option(
    "--file", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE",
    help="The file of keys: auth.keys of the configuration.",
)  # fmt: skip
_JSON = click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object a line.")
_SPAN = re.compile(r"([0-9]+)([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}


@click.group("key")
def command() -> None:
    """Make keys for clients, list and revoke them. A running headrace takes a changed file within seconds."""


@command.command(
    "create",
    cls=Exampled,
    examples=(
        "headrace key create team-a --models 'topic-*' --role predict --file keys.jsonl",
        "headrace key create grafana --role read --expires 90d --file keys.jsonl",
    ),
)
@click.argument("name")
@click.option("--models", multiple=True, default=("*",), show_default=True, metavar="PATTERN", help="May be repeated.")
@click.option(
    "--role", "roles", type=click.Choice(ROLES), multiple=True, default=("predict",), show_default=True,
    help="May be repeated.",
)  # fmt: skip
@click.option("--expires", metavar="WHEN", help="A date (2027-01-31), or how long from now: 12h, 90d, 52w.")
@_JSON
@_FILE
def create(
    name: str,
    models: tuple[str, ...],
    roles: tuple[Role, ...],
    expires: str | None,
    as_json: bool,  # noqa: FBT001 - click's flag
    file: Path,
) -> None:
    """Add a key for NAME to a file, and print it: the last word of the output, now and never again.

    The file holds a salted hash of it. A second key of the same name takes the first one's place once that is revoked.
    """
    if not name.strip() or not name.isprintable():
        raise UsageError("NAME is what logs and lists call the key: a word, please")
    held = _read(file, missing=True)
    chance = os.urandom(keys.ID_BYTES + keys.SALT_BYTES + keys.SECRET_BYTES)
    grant = Grant(name=name, roles=roles, models=models)
    key, token = keys.make(chance, grant, created_s=time.time(), expires_s=_moment(expires))
    _write(file, [*held, key])
    if as_json:
        say_json({**_told(key), "key": token})
        return
    until = f", until {_day(key.expires_s)}" if key.expires_s is not None else ""
    say(f"{name}: {', '.join(roles)} on {', '.join(models)}{until}; in {file}; keep it, it is not shown again: {token}")


@command.command("list", cls=Exampled, examples=("headrace key list --file keys.jsonl",))
@_JSON
@_FILE
def list_keys(as_json: bool, file: Path) -> None:  # noqa: FBT001 - click's flag
    """Show the keys of a file: name, id, roles, models, end."""
    for key in _read(file):
        grant = key.grant
        if as_json:
            say_json(_told(key))
            continue
        over = key.expires_s is not None and key.expires_s <= time.time()
        until = "" if key.expires_s is None else f", {'expired' if over else 'until'} {_day(key.expires_s)}"
        say(f"{grant.name}  {key.id}  {', '.join(grant.roles)} on {', '.join(grant.models)}{until}")


@command.command("revoke", cls=Exampled, examples=("headrace key revoke team-a --file keys.jsonl",))
@click.argument("name_or_id")
@_JSON
@_FILE
def revoke(name_or_id: str, as_json: bool, file: Path) -> None:  # noqa: FBT001 - click's flag
    """Take the keys of a name, or the one with an id, out of a file."""
    held = _read(file)
    kept = [key for key in held if name_or_id not in {key.grant.name, key.id}]
    if len(kept) == len(held):
        raise UsageError(f"{file} has no key of the name or id {name_or_id!r}; see `headrace key list`")
    _write(file, kept)
    if as_json:
        say_json({"revoked": len(held) - len(kept), "left": len(kept)})
        return
    say(f"{name_or_id}: {len(held) - len(kept)} revoked, {len(kept)} left")


def _told(key: Key) -> dict[str, object]:
    grant = key.grant
    return {
        "name": grant.name, "id": key.id, "roles": grant.roles, "models": grant.models, "expires": key.expires_s
    }  # fmt: skip


def _read(file: Path, *, missing: bool = False) -> list[Key]:
    try:
        return keys.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if missing:
            return []
        raise UsageError(f"{file}: no such file; `headrace key create` makes it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None
    except BadKeys as error:
        raise UsageError(f"{file}: {error}") from None


def _write(file: Path, held: list[Key]) -> None:
    """Replace the file as a whole: nobody reads half of it. Only its owner may read it."""
    try:
        replace_file(file.absolute(), keys.write(held).encode())
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None


def _moment(text: str | None) -> float | None:
    if text is None:
        return None
    span = _SPAN.fullmatch(text)
    if span:
        return time.time() + int(span[1]) * _HOURS[span[2]] * 3600.0
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError("--expires is a date (2027-01-31) or how long from now: 12h, 90d, 52w") from None
    at_s = (moment if moment.tzinfo else moment.astimezone()).timestamp()
    if at_s <= time.time():
        raise UsageError(f"--expires {text} is over")
    return at_s


def _day(moment_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment_s))
