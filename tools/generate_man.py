"""man/: a manual page for bdops and one for each of its commands, from the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from generate_commands import leaves, metavar

from bdops.core.said import said_of_fields
from bdops.errors import ExitCode

FILES = (
    ("~/.config/bdops/config.yaml", "Defaults: inventory, cluster, timeout, verbose."),
    ("~/.local/state/bdops", "Jobs and their journals, the history of checks, names for completion."),
)
ENVIRONMENT = (
    ("BDOPS_INVENTORY", "The inventory, where -i does not name one."),
    ("BDOPS_STATE_DIR", "A folder in place of ~/.local/state/bdops."),
    ("BDOPS_TIMEOUT", "The deadline of each reading, where --timeout does not give it."),
    ("NO_COLOR", "No colours."),
)


def man_pages() -> Iterator[tuple[str, str]]:
    """The name of each page's file and its text. Imports every command."""
    from bdops.cli.app import COMMANDS, root_command

    root = root_command()
    common = {name for param in root.params for name in param.opts}
    yield "bdops.1", _root_page(root, COMMANDS)
    for name, title in COMMANDS.items():
        yield f"bdops-{name}.1", _page(name, title, root.get_command(None, name), common)


def _root_page(root: Any, commands: dict[str, str]) -> str:
    lines = [
        *_head("bdops", "look after Kafka, HDFS, Elasticsearch and ZooKeeper clusters"),
        ".SH SYNOPSIS\n.B bdops\n[OPTIONS] COMMAND [ARGUMENTS]\n",
        ".SH COMMANDS\n",
        *(_tagged(f"\\fBbdops\\-{roff(name)}\\fR(1)", text) for name, text in commands.items()),
        ".SH OPTIONS\nThey may stand before or after the command's name.\n",
        *_options(root.params),
        ".SH EXIT STATUS\n",
        *(_tagged(f"\\fB{int(ExitCode[name])}\\fR", text) for name, text in said_of_fields(ExitCode).items()),
        ".PP\n\\fBbdops check\\fR is a monitoring plugin: 0 ok, 1 warning, 2 critical, 3 unknown or any error.\n",
        ".SH FILES\n",
        *(_tagged(f"\\fI{roff(name)}\\fR", text) for name, text in FILES),
        ".SH ENVIRONMENT\n",
        *(_tagged(f"\\fB{roff(name)}\\fR", text) for name, text in ENVIRONMENT),
    ]
    return "".join(lines)


def _page(name: str, title: str, command: Any, common: set[str]) -> str:
    lines = _head(f"bdops-{name}", title.rstrip("."))
    for path, leaf in leaves(f"bdops {name}", command):
        arguments = [p for p in leaf.params if p.param_type_name == "argument"]
        options = [p for p in leaf.params if p.param_type_name == "option" and not common & set(p.opts)]
        about, _, example = inspect.cleandoc(leaf.help or "").partition("Example:")
        usage = " ".join(["[OPTIONS]", *(metavar(a) for a in arguments)])
        lines.append(f".SH {roff(path).upper()}\n.B {roff(path)}\n{roff(usage)}\n.PP\n")
        lines.append("\n.PP\n".join(roff(_joined(part)) for part in about.strip().split("\n\n")) + "\n")
        lines += [_tagged(roff(metavar(a)), a.help) for a in arguments if getattr(a, "help", None)]
        lines += _options(options)
        if example.strip():
            lines.append(f".PP\nExample:\n.PP\n.nf\n.RS\n{roff(example.strip())}\n.RE\n.fi\n")
    lines.append(".SH SEE ALSO\n.BR bdops (1)\nfor the options of every command, and the exit status.\n")
    return "".join(lines)


def _head(name: str, what: str) -> list[str]:
    return [
        '.\\" Generated from the commands by `make generate`.\n',
        f'.TH {roff(name).upper()} 1 "" "bdops" "bdops"\n',
        f".SH NAME\n{roff(name)} \\- {roff(what)}\n",
    ]


def _options(params: list[Any]) -> list[str]:
    found = []
    for param in params:
        if getattr(param, "hidden", False) or param.param_type_name == "argument":
            continue
        names = ", ".join(f"\\fB{roff(name)}\\fR" for name in (*param.opts, *param.secondary_opts))
        value = "" if param.is_flag or param.count else f" \\fI{roff(metavar(param))}\\fR"
        found.append(_tagged(f"{names}{value}", param.help or ""))
    return found


def _tagged(term: str, text: str) -> str:
    return f".TP\n{term}\n{roff(_joined(text))}\n"


def _joined(text: str) -> str:
    return " ".join(text.split())


def roff(text: str) -> str:
    """Plain text for troff: no line of it is a request, and a hyphen stays one that can be copied."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\`")
    return re.sub(r"(?m)^(?=[.'])", r"\\&", escaped)
