"""Writes every generated file of the repository; with --check it only says which ones are stale and exits 1."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generate_proto import generate_proto

from bdops.components.state_file import state_schema
from bdops.core.checks import Check, Threshold
from bdops.registry import COMPONENTS, component, settings

ROOT = Path(__file__).parent.parent

CHECKS_HEAD = """# Checks

Every code that `bdops check` can report, what it means and what to do. This page is generated from the checks
themselves by `make generate`.

A check answers `ok`, `warning`, `critical` or `unknown`; the command exits 0, 1, 2 or 3 by the worst of them, where a
known critical is worse than an unknown. What could not be read is `unknown`, never `ok`. Limits, mutes and which checks
are on are set in the inventory:

```yaml
checks:
  HOST_DISK_USE: {warning: 85%, critical: 95%}
  KAFKA_GROUP_LAGGING: {enabled: false}
mutes:
  - {check: "KAFKA_*", object: "tmp-*", until: 2026-12-01, reason: "being moved, OPS-114"}
```
"""


def generated() -> Iterator[tuple[Path, str]]:
    """Every generated file with the content that it should have."""
    from bdops.inventory.schema import inventory_schema

    yield ROOT / "docs/checks.md", checks_page()
    for name in (*COMPONENTS, "host"):
        yield ROOT / f"docs/state-{name}.schema.json", as_json(state_schema(component(name).state))
    schema = inventory_schema({name: settings(name) for name in COMPONENTS})
    yield ROOT / "inventory/inventory.schema.json", as_json(schema)


def as_json(content: Any) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def checks_page() -> str:
    parts = [CHECKS_HEAD]
    for name in (*COMPONENTS, "host"):
        found = component(name)
        parts.append(f"\n## {found.title}\n")
        parts += [check_section(check) for check in found.checks]
    return "".join(parts)


def check_section(check: Check[Any]) -> str:
    lines = [f"\n### {check.code}\n\n{check.meaning.strip()}\n"]
    if not check.on:
        lines.append("\nOff unless the inventory switches it on.\n")
    if check.thresholds:
        lines.append("\n| limit | bad when | warning | critical |\n| --- | --- | --- | --- |\n")
        lines += [
            f"| {t.name} | {t.bad} | {limit(t.warning, t)} | {limit(t.critical, t)} |\n" for t in check.thresholds
        ]
    lines.append(f"\nWhat to do: {check.remedy.strip()}\n")
    return "".join(lines)


def limit(value: float | None, threshold: Threshold) -> str:
    return "-" if value is None else f"{value:g} {threshold.unit}".strip()


def main() -> int:
    stale = [(path, text) for path, text in generated() if not path.exists() or path.read_text() != text]
    for path, text in stale:
        print(f"{'stale' if '--check' in sys.argv else 'wrote'}: {path.relative_to(ROOT)}")
        if "--check" not in sys.argv:
            path.write_text(text)
    protobuf = generate_proto(check="--check" in sys.argv)
    for name in protobuf:
        print(f"{'stale' if '--check' in sys.argv else 'wrote'}: {name}")
    return 1 if (stale or protobuf) and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
