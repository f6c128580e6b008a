"""`headrace check [URL...]`: whether served models are well, one line each, and an exit code to go by."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from headrace.cli.commands import Exampled
from headrace.cli.credentials import credential_options
from headrace.cli.saying import say, say_json, say_marked
from headrace.client.addresses import check_address, without_credentials
from headrace.client.checking import Finding, Report, Wanted, check, check_all, expand, wait_ready
from headrace.client.credentials import Credentials
from headrace.client.errors import BadRequest
from headrace.config import environment
from headrace.core.errors import UsageError

_MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "yellow")}


@click.command(
    "check",
    cls=Exampled,
    examples=(
        "headrace check                                      # the headrace on this machine",
        "headrace check localhost:5001 localhost:5002",
        "headrace check --wait 60 --quick localhost:5001     # in a script, until it is ready",
    ),
)
@click.argument("urls", nargs=-1, metavar="[ADDRESS...]")
@click.option("--data", metavar="JSON|@FILE", help="The body of the example request [default: made of the signature].")
@click.option("--admin", metavar="ADDRESS", help="The admin port: adds the model's version and its environment report.")
@click.option("--wait", "wait_s", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="Wait for ready.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True, help="Seconds."
)
@click.option("--quick", is_flag=True, help="Only alive and ready: for health checks.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@credential_options
def command(
    urls: tuple[str, ...],
    data: str | None,
    admin: str | None,
    wait_s: float,
    timeout: float,
    quick: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    credentials: Credentials,
) -> None:
    """Look at served models as an operator would; several may be given, also a shared port for all of its models.

    An ADDRESS is a URL, or HOST:PORT. Without one it checks whether every model of the headrace on this machine can
    answer, as its admin port says (--admin, or HEADRACE_ADMIN). That is a container's health check.

    Exit codes: 0 all is well, 1 something is wrong, 2 the command is wrong.
    """
    try:
        addresses = [check_address(url) for url in urls]
        wanted = Wanted(_body(data), check_address(admin) if admin else None, timeout, quick, credentials)
        if credentials.has_files:
            credentials.context()  # wrong files are told before anything is asked
        local = "" if addresses else wanted.admin or check_address(environment.admin_url(os.environ))
    except BadRequest as error:
        raise UsageError(str(error)) from None
    tell = (lambda _: None) if as_json else _show
    if not addresses:
        if not as_json:
            say(without_credentials(local), bold=True)
        if wait_s:
            wait_ready([local], wait_s, timeout, "/readyz", credentials)
        raise SystemExit(_conclude([check_all(local, timeout, tell, credentials)], as_json=as_json))
    if wait_s:
        wait_ready(addresses, wait_s, timeout, credentials=credentials)
    if not quick:
        addresses = [one for address in addresses for one in expand(address, timeout, credentials)]
    reports: list[Report] = []
    for address in addresses:
        if not as_json:
            say(without_credentials(address), bold=True)
        reports.append(check(address, wanted, tell))
    raise SystemExit(_conclude(reports, as_json=as_json))


def _conclude(reports: list[Report], *, as_json: bool) -> int:
    """Say how many are well; returns the exit code."""
    well = sum(report.ok for report in reports)
    if as_json:
        say_json({"ok": well == len(reports), "endpoints": [_data(r) for r in reports]}, indent=2)
    else:
        mark, colour = _MARKS[well == len(reports)]
        say_marked(mark, colour, f"{well} of {len(reports)} {'is' if well == 1 else 'are'} well")
    return 0 if well == len(reports) else 1


def _body(data: str | None) -> bytes | None:
    if data is None:
        return None
    try:
        text = Path(data[1:]).read_text(encoding="utf-8") if data.startswith("@") else data
        json.loads(text)
    except OSError as error:
        raise UsageError(f"--data {data}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"--data is not JSON: {error}") from None
    return text.encode()


def _show(finding: Finding) -> None:
    mark, colour = _MARKS[finding.ok]
    say_marked(mark, colour, f"{finding.what:<12} {finding.told}", indent="  ")


def _data(report: Report) -> dict[str, object]:
    findings = [{"what": f.what, "ok": f.ok, "told": f.told, **f.facts} for f in report.findings]
    return {"url": report.url, "ok": report.ok, "findings": findings}
