# /// script
# requires-python = ">=3.11"
# dependencies = ["helm-python-sdk==0.2.2"]
# ///
"""Helm 4, which lints and renders the chart deploy/helm/headrace; nothing of it is installed beside headrace.

uv run --script tools/chart.py check DIR     lint with each of ci/*.yaml, and write what each is rendered to into DIR
uv run --script tools/chart.py render        a JSON list of values files' texts on standard input, a list of {"files",
                                             "notes", "refused"} on standard output
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import helm_python as helm

CHART = Path(__file__).resolve().parent.parent / "deploy" / "helm" / "headrace"
RELEASE = {"name": "headrace", "namespace": "serving"}
_ERROR = 3


def render(chart: helm.Chart, values: dict[str, Any]) -> dict[str, Any]:
    """What `helm install headrace` would send: manifests by file; `refused` is why there are none."""
    try:
        files = chart.render(values, **RELEASE)
    except helm.HelmError as error:
        return {"files": {}, "notes": "", "refused": str(error)}
    made = {name.rpartition("/")[2]: text for name, text in files.items() if text.strip()}
    notes = made.pop("NOTES.txt", "")
    return {"files": made, "notes": notes, "refused": None}


def check(into: Path) -> list[str]:
    """Lint and render with each of ci/*.yaml; returns what is wrong."""
    into.mkdir(parents=True, exist_ok=True)
    wrong = []
    with helm.Chart.load(CHART) as chart:
        for file in sorted((CHART / "ci").glob("*.yaml")):
            values = helm.values_from_yaml(file.read_text(encoding="utf-8"))
            told = [
                one["error"] for one in helm.lint(CHART, values, strict=True)["messages"] if one["severity"] >= _ERROR
            ]
            made = render(chart, values)
            wrong += [f"{file.name}: {one}" for one in told or filter(None, [made["refused"]])]
            (into / file.name).write_text("\n---\n".join(made["files"].values()), encoding="utf-8")
            sys.stdout.write(f"{file.name}: {len(made['files'])} files\n")
    return wrong


def main(arguments: list[str]) -> int:
    """Do what is asked for."""
    match arguments:
        case ["check", into]:
            wrong = check(Path(into))
            sys.stderr.writelines(f"{one}\n" for one in wrong)
            return 1 if wrong else 0
        case ["render"]:
            with helm.Chart.load(CHART) as chart:
                made = [render(chart, helm.values_from_yaml(text)) for text in json.load(sys.stdin)]
            json.dump(made, sys.stdout)
            return 0
    sys.stderr.write(__doc__ or "")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
