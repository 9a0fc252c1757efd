"""`bdops pull`: one file of many hosts, each into a folder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bdops.cli import frame, on_hosts
from bdops.cli.push import DEFAULT_TIMEOUT_S, DeadlineOption

if TYPE_CHECKING:
    from bdops.hosts.fanout import Target
    from bdops.hosts.files import Copied
    from bdops.hosts.ssh import SshPool

app = frame.App(help="Copy a file from hosts.")


@app.command()
def pull(
    ctx: typer.Context,
    selector: on_hosts.HOSTS,
    remote: Annotated[str, typer.Argument(metavar="PATH", help="The file there; absolute.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to put it here: FOLDER/HOST/NAME.")],
    parallel: on_hosts.ParallelOption = 32,
    own_timeout_s: DeadlineOption = None,
) -> None:
    """Copy a file from hosts to FOLDER/HOST/NAME; exits 1 if that failed anywhere, else 4 if a host was not reached.

    Example: bdops pull prod/kafka /var/log/kafka/server.log logs
    """
    from bdops.hosts.files import pull as pull_file

    session = frame.session(ctx)
    batches = on_hosts.batches_of(session, selector)
    timeout_s = on_hosts.deadline_s(session, own_timeout_s, DEFAULT_TIMEOUT_S)

    def work(pool: SshPool, target: Target) -> Copied:
        return pull_file(pool, target.host, remote, folder / target.name, timeout_s=timeout_s)

    results = on_hosts.run_on_hosts(session, batches, work, parallel=parallel)
    on_hosts.show_copies(session, results, "changed")
