"""The host's side of a job: the operator's command (a reboot, an upgrade) between the stops and the starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from bdops.core.actor import DONE, ActContext, Nothing, Progress, RestartRules, StatelessActs, pending
from bdops.core.model import Cluster, Host
from bdops.core.plan import Step, Target
from bdops.errors import OperationFailed
from bdops.hosts.acts import ActState, forget_act, start_act, wait_act
from bdops.hosts.ssh import SshPool

ACT_TIMEOUT_S = 4 * 3600.0
READ_TIMEOUT_S = 20.0
_BOOT_ID = ("cat", "/proc/sys/kernel/random/boot_id")


class HostActor(StatelessActs):
    """Runs one command on one host, detached: a lost connection, or a killed bdops, neither kills nor repeats it."""

    component = "host"
    rules = RestartRules(act_timeout_s=ACT_TIMEOUT_S, stable_reads=1)

    def __init__(self, cluster: Cluster, pool: SshPool) -> None:
        super().__init__(cluster.name)
        self._pool = pool
        self._hosts = {h.name: h for h in cluster.hosts}
        self._ended: set[str] = set()

    def command(self, host: str, argv: Collection[str]) -> Target:
        """The target that runs `argv` on the host. Raises what the host raises when it cannot be reached."""
        return Target(
            name=f"{self.cluster_name}/{host}",
            acts=("run",),
            role="host",
            note=" ".join(argv),
            args={"host": host, "argv": list(argv), "boot_id": self._boot_id(self._hosts[host])},
        )

    def read(self, *, timeout_s: float) -> Nothing:
        return Nothing(cluster=self.cluster_name, taken_at=datetime.now(UTC))

    def progress(self, state: Nothing, step: Step, act: str, baseline: Mapping[str, Any]) -> Progress:
        """Only the command's own end tells: a resume adopts it on the host, or finds that it never began."""
        return DONE if step.id in self._ended else pending(f"the command on {step.args['host']}")

    def perform(self, step: Step, act: str, context: ActContext) -> None:
        """Run the command. One that is cut off by the host's restart has done what a reboot is for."""
        host = self._hosts[step.args["host"]]
        start_act(self._pool, host, context.act_id, step.args["argv"], timeout_s=READ_TIMEOUT_S)
        ended = wait_act(self._pool, host, context.act_id, timeout_s=context.timeout_s)
        if ended.state == "running":
            raise OperationFailed("the command has not ended yet", where=host.name, code="ACT_TIMEOUT")
        rebooted = ended.state == "lost" and self._boot_id(host) != step.args["boot_id"]
        if not rebooted and (ended.state == "lost" or ended.exit_status != 0):
            # The folder goes, so that a resume runs the command again.
            forget_act(self._pool, host, context.act_id, timeout_s=READ_TIMEOUT_S)
            raise _failed(host, ended)
        forget_act(self._pool, host, context.act_id, timeout_s=READ_TIMEOUT_S)
        self._ended.add(step.id)

    def _boot_id(self, host: Host) -> str:
        return self._pool.run(host, _BOOT_ID, timeout_s=READ_TIMEOUT_S).stdout.strip()


def _failed(host: Host, ended: ActState) -> OperationFailed:
    lines = ended.output.strip().splitlines()
    how = "was killed" if ended.state == "lost" else f"exits {ended.exit_status}"
    return OperationFailed(
        f"the command {how}: {lines[-1] if lines else 'no words'}",
        where=host.name,
        hint="what was stopped is still stopped: repair it and resume, which runs the command again",
        code="COMMAND_FAILED",
    )
