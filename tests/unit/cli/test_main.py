"""The command line as a whole: help, names that are misspelt, and completion in real shells."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from rich.table import Table

from headrace.cli.main import cli
from headrace.cli.rich_text import console
from headrace.client.addresses import with_scheme

BIN = Path(sys.executable).parent
HEADRACE = str(BIN / "headrace")
NAMES = [
    *("serve", "check", "status", "predict", "errors", "history", "rollback", "promote", "pause", "resume", "scale"),
    *("refresh", "reload", "diff", "log", "config", "key", "audit", "env", "compile", "cluster", "package"),
]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environ)


def commands() -> list[tuple[str, click.Command]]:
    """Every command with its whole name."""
    found: list[tuple[str, click.Command]] = []
    todo: list[tuple[str, click.Command]] = [("headrace", cli)]
    while todo:
        name, command = todo.pop()
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=name)
            inner = [(one, command.get_command(context, one)) for one in command.list_commands(context)]
            todo += [(f"{name} {one}", made) for one, made in inner if made is not None]
        else:
            found.append((name, command))
    return found


def test_the_help_lists_what_is_used_first_with_examples() -> None:
    told = run(HEADRACE, "--help").stdout
    listed = re.findall(r"^  (\w+) ", told.partition("Commands:\n")[2].partition("\n\n")[0], re.MULTILINE)
    assert listed == NAMES
    assert "Examples:\n  headrace serve -m models:/classification@production -p 5001\n" in told
    assert run(HEADRACE, "-V").stdout == run(HEADRACE, "--version").stdout


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda one: one if isinstance(one, str) else "")
def test_every_command_has_examples_that_it_takes_and_json(name: str, command: click.Command) -> None:
    examples = getattr(command, "examples", ())
    assert any(line.startswith(name) for line in examples), name
    options = [option for one in command.params for option in (*one.opts, *one.secondary_opts)]
    if name not in {"headrace serve", "headrace config schema"}:  # a server, and JSON anyway
        assert "--json" in options
    for line in examples:
        for word in line.partition(" #")[0].partition(" > ")[0].split():
            assert not word.startswith("-") or word in options, line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("stauts",), "no command 'stauts'; did you mean 'status'?"),
        (("CHECK",), "no command 'CHECK'; did you mean 'check'?"),
        (("env", "biuld"), "no command 'biuld'; did you mean 'build'?"),
        (("roll",), "did you mean 'rollback'?"),
        (("xyz",), "no command 'xyz'; there are: serve, check, "),
        (("check", "--quik"), "--quick"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(arguments: tuple[str, ...], says: str) -> None:
    done = run(HEADRACE, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("localhost:5001", "http://localhost:5001"),
        ("10.0.0.7:80/models/topic", "http://10.0.0.7:80/models/topic"),
        ("[::1]:5001", "http://[::1]:5001"),
        ("my-host.example:1", "http://my-host.example:1"),
        ("https://host", "https://host"),
        ("models:/topic/3", "models:/topic/3"),
        ("runs:/abc/model", "runs:/abc/model"),
        ("./model", "./model"),
        ("user:5001@host", "user:5001@host"),
    ],
)
def test_an_address_needs_no_scheme(address: str, url: str) -> None:
    assert with_scheme(address) == url


def test_a_table_is_not_cut_where_it_is_piped(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("when", "why", box=None)
    table.add_row("2026-11-30 12:00:00", "x" * 300)
    console().print(table)
    assert "x" * 300 in capsys.readouterr().out


COMPLETED = """
source <(_HEADRACE_COMPLETE=bash_source headrace)
COMP_WORDS=({words}); COMP_CWORD={at}
_headrace_completion headrace
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [("headrace ro", ["rollback"]), ("headrace env pr", ["prune"]), ("headrace check --qu", ["--quick"])],
)
def test_bash_completes(words: str, expected: list[str]) -> None:
    script = COMPLETED.format(words=words, at=words.count(" "))
    assert run("bash", "--norc", "-c", script).stdout.split() == expected


@pytest.mark.needs("zsh")
def test_zsh_takes_the_completion_and_gets_names_with_what_they_do() -> None:
    load = 'autoload -U compinit; compinit -D -u; eval "$(_HEADRACE_COMPLETE=zsh_source headrace)"; '
    loaded = run("zsh", "-f", "-c", f"{load} print $_comps[headrace]")
    assert (loaded.stdout.strip(), loaded.stderr) == ("_headrace_completion", "")
    asked = 'COMP_WORDS="headrace st" COMP_CWORD=1 _HEADRACE_COMPLETE=zsh_complete headrace'
    assert run("zsh", "-f", "-c", asked).stdout.splitlines() == ["plain", "status", "Show what serves."]


@pytest.mark.needs("fish")
def test_fish_completes() -> None:
    script = "_HEADRACE_COMPLETE=fish_source headrace | source; complete -C 'headrace ro'"
    assert run("fish", "--no-config", "-c", script).stdout.split("\t")[0].strip() == "rollback"
