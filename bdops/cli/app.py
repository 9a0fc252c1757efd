"""The root command. It knows its subcommands by name alone: a module is imported when one of its commands runs."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any

import typer

from bdops import __version__
from bdops.cli.frame import App, Group
from bdops.errors import UsageError
from bdops.registry import COMPONENTS

COMMANDS: dict[str, str] = {
    "check": "Check everything, or what a selector names; a monitoring plugin.",
    "watch": "Watch clusters and jobs live.",
    "why": "Explain what is wrong: from symptom to cause.",
    **{name: f"{title}: status, checks, lists, restarts." for name, title in COMPONENTS.items()},
    "jobs": "Jobs: list, show, follow, resume, abort, undo.",
    "doctor": "Find and remove what jobs, or anyone, left behind.",
    "run": "Run a playbook: operations, one after the other, as one job.",
    "exec": "Run a command on hosts.",
    "push": "Copy a file to hosts.",
    "pull": "Copy a file from hosts.",
    "host": "Restart or maintain everything on one host.",
    "cron": "Put checks and other commands into the crontab.",
    "completion": "Print the completion script of a shell.",
    "inventory": "Validate and explain the inventory.",
    "lab": "Real clusters of real servers on this machine.",
}


class LazyGroup(Group):
    """A group whose commands are modules of bdops.cli, imported when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            command = typer.main.get_command(import_module(f"bdops.cli.{cmd_name}").app)
            command.name = cmd_name
            self.commands[cmd_name] = command
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-"):
            require_command(args[0])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def require_command(word: str) -> None:
    """Raise UsageError, with the likely spelling, for a word that is no command."""
    if word not in COMMANDS:
        likely = get_close_matches(word, COMMANDS, n=1)
        hint = f"did you mean `bdops {likely[0]}`?" if likely else "see `bdops --help`"
        raise UsageError(f"there is no command {word!r}", hint=hint)


app = App(cls=LazyGroup, help="Look after Kafka, HDFS, Elasticsearch and ZooKeeper clusters.")


def _print_version(value: bool) -> None:
    if value:
        print(f"bdops {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


def root_command() -> Any:
    """The whole command tree, its leaves not yet imported."""
    return typer.main.get_command(app)
