"""The dashboard and the alerts are what Prometheus understands, and show nothing that headrace does not have."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.gateway.counters import SECONDS
from headrace.telemetry.metrics import DEFINITIONS

ROOT = Path(__file__).resolve().parent.parent.parent
DASHBOARD = ROOT / "deploy" / "grafana" / "headrace.json"
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = PROMETHEUS / "alerts.yaml"

# What Prometheus adds to every series, and what is its own.
TARGET = {"job", "instance"}
OTHERS = {"up": TARGET}


def series() -> dict[str, set[str]]:
    """The labels of every series that a scrape of headrace can bring."""
    found = dict(OTHERS)
    for name, one in DEFINITIONS.items():
        labels = {*one.labels, *TARGET}
        if one.kind == "histogram":
            found |= {f"{name}_sum": labels, f"{name}_count": labels, f"{name}_bucket": labels | {"le"}}
        else:
            found[name] = labels
    return found


def unknown(expression: str, known: dict[str, set[str]]) -> list[str]:
    """What an expression asks for that is not there: series, and labels that it compares or groups by."""
    wrong = []
    bare = re.sub(r'"[^"]*"', '""', expression)
    for name, selector in re.findall(r"\b((?:headrace[_:]|up\b)[\w:]*)(?:\{([^}]*)\})?", bare):
        labels = set(re.findall(r"(\w+)\s*[=!]", selector))
        if name not in known:
            wrong.append(name)
        elif not labels <= known[name]:
            wrong.append(f"{name} {labels - known[name]}")
    names = set(re.findall(r"\b((?:headrace[_:]|up\b)[\w:]*)", bare))
    of_them = set[str]().union(*(known.get(name, set()) for name in names))
    for group in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", bare):
        wrong += [f"by {label}" for label in re.findall(r"\w+", group) if label not in of_them]
    return wrong


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return loaded


def expressions() -> Iterator[str]:
    """Every expression of the dashboard, its variables filled in."""
    loaded = dashboard()
    found = [target["expr"] for panel in loaded["panels"] for target in panel.get("targets", ())]
    found += [annotation["expr"] for annotation in loaded["annotations"]["list"]]
    for expression in found:
        yield re.sub(r"\$(job|instance|model)\b", ".*", expression.replace("$__rate_interval", "1m"))


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(*arguments: str) -> None:
    command = [shutil.which("promtool") or "promtool", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=PROMETHEUS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "grafana_dashboard.py"), "--check"], check=False)
    assert done.returncode == 0, "run 'make metrics'"


@pytest.mark.needs("promtool")
def test_every_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    recorded = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions())]
    assert len(recorded) > 40
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}), encoding="utf-8")
    promtool("check", "rules", str(file))


def test_the_dashboard_asks_only_for_what_there_is() -> None:
    known = series()
    assert [(text, wrong) for text in expressions() if (wrong := unknown(text, known))] == []
    for variable in dashboard()["templating"]["list"][1:]:
        inside, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
        assert unknown(inside, known) == []
        assert label in known[inside.partition("{")[0]]


def test_the_dashboards_panels_say_what_they_are_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or (panel["description"] and panel["targets"]), panel["title"]


@pytest.mark.needs("promtool")
def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("check", "config", "prometheus.yaml")
    promtool("check", "rules", "alerts.yaml")
    promtool("test", "rules", "alerts.test.yaml")


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    known = series() | {rule["record"]: {"job", "instance", "model"} for rule in rules() if "record" in rule}
    tests = (PROMETHEUS / "alerts.test.yaml").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    for rule in rules():
        assert unknown(rule["expr"], known) == []
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert {"summary", "description", "action"} <= rule["annotations"].keys()
            assert f'ALERTS{{alertname="{rule["alert"]}"' in tests
            assert f"`{rule['alert']}`" in page
    bounds = {bound for rule in rules() for bound in re.findall(r'le="([^"]*)"', rule["expr"])}
    assert {float(bound) for bound in bounds} <= set(SECONDS)
