"""`bdops completion`: the scripts that make a shell ask bdops, and the tree of commands that the answers come from."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from bdops.cli import frame

app = frame.App(help="Print the completion script of a shell.")

MAX_HELP = 80

_KINDS = {
    "SELECTOR": "selector", "INSTANCE": "selector", "HOST": "host", "JOB": "job", "PLAYBOOK": "playbook",
    "TARGET": "target", "TOPIC-PARTITION": "topic", "CLUSTER": "cluster", "FORMAT": "format", "FILE": "files",
    "PLAN": "files", "SHELL": "shell", "FOLDER": "files", "DIR": "files",
}  # fmt: skip
"""What a metavar wants."""
_KINDS_OF_OPTIONS = {"--inventory": "files", "--cluster": "cluster", "--topic": "topic", "--exclude-topic": "topic"}

BASH = r"""# bdops: completion for bash (4.4 or newer). Load it from ~/.bashrc, or put it into bash-completion's folder.
_bdops() {
    local reply kind
    reply=$(_BDOPS_COMPLETE=bash COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" "$1" 2>/dev/null) || return
    kind=${reply%%$'\n'*}
    if [[ $kind == files ]]; then
        compopt -o default -o filenames
        COMPREPLY=()
        return
    fi
    local IFS=$'\n'
    set -f
    if [[ $reply == *$'\n'* ]]; then COMPREPLY=(${reply#*$'\n'}); else COMPREPLY=(); fi
    set +f
}
complete -F _bdops bdops
"""

ZSH = r"""#compdef bdops
# bdops: completion for zsh. Put it into a folder of $fpath as _bdops, or source it after compinit.
_bdops() {
    local -a reply offers
    local line word
    reply=("${(@f)$(_BDOPS_COMPLETE=zsh ${words[1]} "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ $reply[1] == files ]]; then
        _files
        return
    fi
    for line in "${(@)reply[2,-1]}"; do
        word=${line%%$'\t'*}
        if [[ $line == *$'\t'* ]]; then
            offers+=("${word//:/\\:}:${line#*$'\t'}")
        elif [[ -n $line ]]; then
            offers+=("${word//:/\\:}")
        fi
    done
    _describe -V bdops offers
}
if [[ $funcstack[1] == _bdops ]]; then
    _bdops "$@"
else
    compdef _bdops bdops
fi
"""

FISH = r"""# bdops: completion for fish. Put it into ~/.config/fish/completions as bdops.fish.
function __bdops
    set -l words (commandline -opc)
    set -l reply (env _BDOPS_COMPLETE=fish $words[1] $words[2..-1] (commandline -ct) 2>/dev/null)
    if test "$reply[1]" = files
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $reply[2..-1]
    end
end
complete -c bdops -f -a '(__bdops)'
"""


class Shell(StrEnum):
    """The shells that there are scripts for."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


SCRIPTS = {Shell.bash: BASH, Shell.zsh: ZSH, Shell.fish: FISH}


@app.command()
def completion(
    ctx: typer.Context, shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]
) -> None:
    """Print the completion script of a shell: bash, zsh or fish.

    Example: bdops completion bash >~/.local/share/bash-completion/completions/bdops
    """
    print(SCRIPTS[shell], end="")


def command_tree() -> dict[str, Any]:
    """All commands, options and arguments, with the kind of value that each wants: what `completing` reads."""
    from bdops.cli.app import COMMANDS, root_command

    root = root_command()
    carrier = _parts(root)[0]
    commands = {name: {**_node(root.get_command(None, name)), "help": text} for name, text in COMMANDS.items()}
    return {"common": carrier, "commands": _without(commands, carrier)}


def _node(command: Any) -> dict[str, Any]:
    options, arguments = _parts(command)
    text = _brief(command.help or "")
    if hasattr(command, "list_commands"):
        return {"help": text, "commands": {name: _node(found) for name, found in command.commands.items()}}
    return {"help": text, "options": options, "arguments": arguments}


def _parts(command: Any) -> tuple[dict[str, list[str | None]], list[list[Any]]]:
    """The options by each of their names, with kind (None: takes no value) and help; the arguments' kinds in order."""
    options: dict[str, list[str | None]] = {"--help": [None, "Show this message and exit."]}
    arguments: list[list[Any]] = []
    for param in command.params:
        metavar = (param.metavar or "").strip("[].").removesuffix("...").removesuffix("]")
        if param.param_type_name == "argument":
            arguments.append([_KINDS.get(metavar, ""), param.nargs == -1])
            continue
        if getattr(param, "hidden", False):
            continue
        flag = param.is_flag or param.count
        named = next((_KINDS_OF_OPTIONS[o] for o in param.opts if o in _KINDS_OF_OPTIONS), None)
        kind = None if flag else named or _KINDS.get(metavar, "")
        for name in (*param.opts, *param.secondary_opts):
            options[name] = [kind, _brief(param.help or "")]
    return options, arguments


def _without(commands: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    """Common options stand once in the tree, and not in each command."""
    for node in commands.values():
        if "options" in node:
            node["options"] = {name: about for name, about in node["options"].items() if common.get(name) != about}
        _without(node.get("commands", {}), common)
    return commands


def _brief(text: str) -> str:
    first = " ".join(text.split("\n\n")[0].split())
    return first if len(first) <= MAX_HELP else f"{first[: MAX_HELP - 3].rsplit(' ', 1)[0]}..."
