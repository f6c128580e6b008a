"""Writes docs/settings.md from the configuration's tree: every key, what it may be, and its default.

python tools/settings_page.py [--check]
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import msgspec

from headrace.config import kinds, tree

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = """\
# Settings

Every key of `headrace.yaml`. Written by `make settings` from `src/headrace/config/tree.py`; a test compares the two.

**All mistakes of a file are told in one run**, each with its line, its path and what may stand there: unknown keys,
wrong types, impossible combinations.

**Forms.** The file is YAML 1.2, and so may be JSON: `1e-9` is a number, `off` a text, `0o17` fifteen and `010` ten. A
key that stands twice is refused. Durations end in `_s` (seconds), `_ms` (milliseconds) or `_days`, sizes in `_bytes`; a
number there may have a unit: `timeout_s: 90s`, `5m`, `2h`, `max_bytes: 256MB` (millions), `256MiB` (1024 times 1024). A
text may be written as a number (`env: {OMP_NUM_THREADS: 1}`), and a number as a text; truth values also as `yes`, `no`,
`on`, `off`. Where a section may be `null`, `true` means the section with its defaults (`cache: true`), and `false`
means `null`.

**Variables.** `${NAME}` in a value is replaced with the variable of headrace's environment; one that is not set is a
mistake. `${NAME:-default}` is `default` where the variable is not set or empty; `$${` is the text `${`. In braces or
brackets put quotes around it: `{port: "${PORT:-5001}"}`.

```sh
headrace config check headrace.yaml                # all that is wrong with it, or what it serves; starts nothing
headrace config show headrace.yaml                 # every setting with its value or default; secrets are hidden
headrace config schema > headrace.schema.json      # its JSON Schema, for editors
```

With `# yaml-language-server: $schema=headrace.schema.json` as the first line of the file, editors that have the YAML
language server (VS Code, Neovim, IntelliJ and others) complete its keys, explain them and underline what is wrong.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    sections: list[tuple[str, type[msgspec.Struct]]] = [("", tree.Config)]
    while sections:
        path, section = sections.pop(0)
        inner = []
        rows = ["| key | type | default |", "|---|---|---|"]
        for field in msgspec.structs.fields(section):
            name = f"{path}.{field.name}".lstrip(".")
            mapping = kinds.mapping_of(field.type)
            nested = kinds.section_of(mapping[1] if mapping else field.type)
            if name == "wildcard":  # written as the entry "*" of models
                inner.append(('models."*"', tree.Wildcard))
                continue
            if nested is not None:
                inner.append((f"{name}.NAME" if mapping else name, nested))
            rows.append(f"| `{field.name}` | {kinds.words(field.type)} | {_default(field)} |")
        title = f"## `{path}`" if path else "## The file"
        parts.append(f"{title}\n\n{inspect.cleandoc(section.__doc__ or '')}\n\n" + "\n".join(rows) + "\n")
        sections = inner + sections
    return "\n".join(parts)


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is msgspec.NODEFAULT:
        return "**required**"
    if isinstance(value, msgspec.Struct):
        return "see below"
    if value is None:
        return "`null`"
    if value in ({}, (), []):
        return "empty"
    return f"`{value}`"


def main() -> int:
    """Write the page; with --check, only say whether it is up to date."""
    text = page()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
