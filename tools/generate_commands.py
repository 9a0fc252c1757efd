"""docs/commands.md: every command with its arguments, options and example, from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

HEAD = """# Commands

Every command of bdops, its arguments and its options, as `bdops COMMAND --help` shows them. This page is generated from
the commands by `make generate`. Exit codes: exit-codes.md; the output: output.md.

## Options of every command

They may stand before or after the command's name.

"""


def commands_page() -> str:
    """The whole page. Imports every command."""
    from bdops.cli.app import COMMANDS, root_command

    root = root_command()
    common = {name for param in root.params for name in param.opts}
    parts = [HEAD, _options(root.params)]
    for name in COMMANDS:
        command = root.get_command(None, name)
        parts.append(f"\n## {name}\n")
        for path, leaf in leaves(f"bdops {name}", command):
            parts.append(_section(path, leaf, common))
    return "".join(parts)


def leaves(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    for name in command.list_commands(None):
        yield from leaves(f"{path} {name}", command.get_command(None, name))


def _section(path: str, command: Any, common: set[str]) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not common & set(p.opts)]
    usage = " ".join([path, *(["[OPTIONS]"] if options else []), *(metavar(a) for a in arguments)])
    about, _, example = inspect.cleandoc(command.help or "").partition("Example:")
    lines = [f"\n### {path}\n\n{_plain(about)}\n\n```\n{usage}\n```\n"]
    if example.strip():
        lines.append(f"\nExample: `{example.strip()}`\n")
    told = [a for a in arguments if getattr(a, "help", None)]
    if told:
        lines.append("\n" + "".join(f"- `{metavar(a)}`: {_plain(a.help)}\n" for a in told))
    if options:
        lines.append("\n" + _options(options))
    return "".join(lines)


def _options(params: list[Any]) -> str:
    lines = ["| option | what it does |\n| --- | --- |\n"]
    for param in params:
        if getattr(param, "hidden", False) or param.param_type_name == "argument":
            continue
        names = ", ".join((*param.opts, *param.secondary_opts))
        value = "" if param.is_flag or param.count else f" {metavar(param)}"
        lines.append(f"| `{names}{value}` | {_plain(param.help or '')} |\n")
    return "".join(lines)


def metavar(param: Any) -> str:
    return str(param.metavar or (param.name or "").upper())


def _plain(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
