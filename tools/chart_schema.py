"""Writes what the Helm chart's values.schema.json says of `config:`: the keys of headrace.yaml, by the tree.

The keys only: what a value may be is headrace's own to say, in its own words. The rest of the schema is written by
hand.

python tools/chart_schema.py [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from headrace.config.schema import schema

FILE = Path(__file__).resolve().parent.parent / "deploy" / "helm" / "headrace" / "values.schema.json"


def keys(node: Any) -> dict[str, Any]:
    """What a schema demands of names: those that a section has, and those that it cannot do without."""
    for one in node.get("anyOf", [node]):
        if "properties" in one:
            found = {name: keys(value) for name, value in one["properties"].items()}
            others = one["additionalProperties"]
            needed = {"required": one["required"]} if "required" in one else {}
            return {"properties": found, "additionalProperties": keys(others) if others else False, **needed}
        if isinstance(one.get("additionalProperties"), dict) and (inner := keys(one["additionalProperties"])):
            return {"additionalProperties": inner}
    return {}


def text() -> str:
    """The file, with the keys of `config:` as the tree has them now."""
    whole = json.loads(FILE.read_text(encoding="utf-8"))
    config = keys(schema())
    del config["required"]  # that models are there is the chart's to say: its own values have none
    whole["properties"]["config"] = {"type": "object", **config}
    return json.dumps(whole, indent=2) + "\n"


def main() -> int:
    """Write the file; with --check, only say whether it is up to date."""
    if "--check" in sys.argv[1:]:
        return 0 if FILE.read_text(encoding="utf-8") == text() else 1
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
