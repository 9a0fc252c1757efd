"""`bdops push`: a file to many hosts, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bdops.cli import frame, on_hosts
from bdops.errors import UsageError

if TYPE_CHECKING:
    from bdops.hosts.fanout import Target
    from bdops.hosts.files import Copied
    from bdops.hosts.ssh import SshPool

app = frame.App(help="Copy a file to hosts.")

DEFAULT_TIMEOUT_S = 600.0
DeadlineOption = Annotated[
    float | None,
    typer.Option("--timeout", metavar="TIME", parser=frame.parse_time, help="Deadline of each host; 10m."),
]


@app.command()
def push(
    ctx: typer.Context,
    local: Annotated[Path, typer.Argument(metavar="FILE", help="The file here.")],
    selector: on_hosts.HOSTS,
    remote: Annotated[str, typer.Argument(metavar="PATH", help="The file there, or a folder; absolute.")],
    mode: Annotated[
        str | None,
        typer.Option("--mode", metavar="MODE", help="Its permissions, octal; else those of the file it replaces."),
    ] = None,
    parallel: on_hosts.ParallelOption = 32,
    serial: on_hosts.SerialOption = False,
    batch: on_hosts.BatchOption = None,
    keep_going: on_hosts.KeepGoingOption = False,
    own_timeout_s: DeadlineOption = None,
) -> None:
    """Copy a file to hosts where it differs; exits 1 if that failed anywhere, else 4 if a host was not reached.

    The new file is checked and on the disk before it takes the old one's place; links there are not followed.

    Example: bdops push server.properties prod/kafka /etc/kafka/server.properties --mode 0640
    """
    from bdops.hosts.files import local_file
    from bdops.hosts.files import push as push_file

    session = frame.session(ctx)
    bits = _mode(mode)
    if not remote.startswith("/"):
        raise UsageError(f"the target {remote!r} is not an absolute path")
    source = local_file(local)
    batches = on_hosts.batches_of(session, selector, serial=serial, batch=batch)
    timeout_s = on_hosts.deadline_s(session, own_timeout_s, DEFAULT_TIMEOUT_S)

    def work(pool: SshPool, target: Target) -> Copied:
        return push_file(pool, target.host, source, remote, mode=bits, timeout_s=timeout_s, dry_run=session.dry_run)

    results = on_hosts.run_on_hosts(session, batches, work, parallel=parallel, keep_going=keep_going)
    on_hosts.show_copies(session, results, "would change" if session.dry_run else "changed")


def _mode(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.removeprefix("0o")
    if not digits or any(c not in "01234567" for c in digits) or int(digits, 8) > 0o7777:
        raise UsageError(f"--mode {text} is not a mode", hint="octal, as chmod has it: --mode 0644")
    return int(digits, 8)
