"""Writes every generated file of the repository; with --check it only says which ones are stale and exits 1."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generate_commands import commands_page
from generate_errors import errors_page
from generate_inventory import inventory_reference
from generate_man import man_pages
from generate_proto import generate_proto

from bdops.components.state_file import state_schema
from bdops.core.checks import Check, Threshold
from bdops.core.said import said_of_fields
from bdops.errors import ExitCode
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


OPERATIONS_HEAD = "## Operations"
REFERENCE_HEAD = "## Reference"
CHECK_HEAD = "## `check` is a monitoring plugin"


def generated() -> Iterator[tuple[Path, str]]:
    """Every generated file with the content that it should have."""
    from bdops.cli.completion import SCRIPTS, command_tree
    from bdops.cli.operations import operations
    from bdops.inventory.schema import inventory_schema
    from bdops.playbooks.schema import playbook_schema

    yield ROOT / "docs/checks.md", checks_page()
    yield ROOT / "docs/commands.md", commands_page()
    yield ROOT / "docs/errors.md", errors_page(ROOT / "bdops")
    for name in (*COMPONENTS, "host"):
        yield ROOT / f"docs/state-{name}.schema.json", as_json(state_schema(component(name).state))
    for name, page in man_pages():
        yield ROOT / f"man/{name}", page
    yield ROOT / "bdops/cli/completion_tree.json", as_json(command_tree())
    for shell, script in SCRIPTS.items():
        yield ROOT / f"completions/bdops.{shell}", script
    schema = inventory_schema({name: settings(name) for name in COMPONENTS})
    yield ROOT / "inventory/inventory.schema.json", as_json(schema)
    yield ROOT / "playbooks/playbook.schema.json", as_json(playbook_schema(operations()))
    yield ROOT / "docs/playbooks.md", with_operations((ROOT / "docs/playbooks.md").read_text())
    yield ROOT / "docs/exit-codes.md", with_exit_codes((ROOT / "docs/exit-codes.md").read_text())
    page = (ROOT / "docs/inventory.md").read_text()
    yield ROOT / "docs/inventory.md", page.partition(REFERENCE_HEAD)[0] + REFERENCE_HEAD + "\n" + inventory_reference()


def as_json(content: Any) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def checks_page() -> str:
    parts = [CHECKS_HEAD]
    for name in (*COMPONENTS, "host"):
        found = component(name)
        parts.append(f"\n## {found.title}\n")
        parts += [check_section(check) for check in found.checks]
    return "".join(parts)


def with_operations(page: str) -> str:
    """The page of playbooks, its last section made anew from the commands: what each operation takes."""
    from bdops.cli.operations import operations

    lines = [page.partition(OPERATIONS_HEAD)[0], OPERATIONS_HEAD, "\n\n| operation | with |\n| --- | --- |\n"]
    for operation in operations().values():
        words = ", ".join(f"**{o.key}**" if o.required else o.key for o in operation.options)
        kind = "" if operation.kind == "changes" else " (reads)"
        lines.append(f"| `{operation.name}`{kind} | {words} |\n")
    return "".join(lines)


def with_exit_codes(page: str) -> str:
    """The page of exit codes, its first table made anew from `ExitCode`."""
    rows = "".join(f"| {int(ExitCode[name])} | {text} |\n" for name, text in said_of_fields(ExitCode).items())
    head = "# Exit codes\n\n| code | meaning |\n| --- | --- |\n"
    more = "\nEvery error has a code of its own too, which says more: [errors.md](errors.md).\n\n"
    return head + rows + more + CHECK_HEAD + page.partition(CHECK_HEAD)[2]


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
