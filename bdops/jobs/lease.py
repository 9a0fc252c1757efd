"""The lease: one job at a time per cluster, whoever starts it from wherever.

It is kept on the cluster's own hosts, as a file `{work_dir}/{cluster}.lease` on the first five by name (all,
where there are fewer), and is held by whoever holds it on a majority of them. Its end is told by each host's
own clock, so no operator's clock matters. An owner that is dead does not renew it, and it can be taken over
when it has run out; the same job may take its own lease again at once, for its lock says that its former
process is dead.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bdops.core.model import Host
from bdops.core.quorum import majority
from bdops.core.units import format_duration, plural
from bdops.errors import BdopsError, ExitCode, OperationFailed, StateUnknown, Unreachable
from bdops.hosts.ssh import SshPool

TTL_S = 60
RENEW_EVERY_S = 15.0
MAX_HOSTS = 5
CALL_TIMEOUT_S = 10.0

# $1 the folder, $2 the file in it, $3 what to do, $4 the token, $5 seconds to live, $6 the owner (one line of JSON).
# The folder's lock makes each call one step; `ln` never replaces, so a folder that was removed and made again
# under a caller cannot give the lease twice. Three lines in the file: end, token, owner.
_SCRIPT = """\
set -u
umask 077
mkdir -p "$1" && cd "$1" || exit 9
exec 9<. || exit 9
flock -w 5 9 || { echo "busy"; exit 0; }
now=$(date +%s)
end=0 token= owner=
if [ -e "$2" ]; then
  [ -r "$2" ] || { echo "foreign $(ls -ld "$2")"; exit 0; }
  { read -r end; read -r token; read -r owner; } <"$2"
fi
case $3 in
take)
  if [ "$token" ] && [ "$token" != "$4" ] && [ "$end" -gt "$now" ]; then
    echo "held $((end - now)) $owner"; exit 0
  fi
  printf '%s\\n%s\\n%s\\n' "$((now + $5))" "$4" "$6" >"$2.$4" || exit 9
  if [ "$token" ]; then mv -f "$2.$4" "$2" || exit 9
  else
    ln "$2.$4" "$2" || { rm -f "$2.$4"; echo "busy"; exit 0; }
    rm -f "$2.$4"
  fi
  echo "taken" ;;
drop)
  if [ "$token" = "$4" ]; then rm -f "$2"; fi
  cd / && rmdir "$1" 2>/dev/null
  echo "dropped" ;;
show)
  if [ "$token" ]; then echo "held $((end - now)) $owner"; else echo "free"; fi
  rmdir "$1" 2>/dev/null ;;
esac
exit 0
"""


class LeaseHeld(BdopsError):
    """Another job holds the cluster's lease."""

    exit_code = ExitCode.LEASE_HELD
    default_code = "LEASE_HELD"


class LeaseLost(OperationFailed):
    """The lease could not be renewed in time, or somebody else has it: nothing more may be done."""

    default_code = "LEASE_LOST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds a lease: the job, what it does, and the person, machine and process that carries it out."""

    job: str
    command: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A lease as one host has it. `left_s`: until it runs out; negative when it has."""

    host: str
    owner: Owner
    left_s: int


class Lease:
    """One job's lease of one cluster. `token` is the job's id: whoever has it is that job."""

    def __init__(self, pool: SshPool, cluster: str, hosts: Sequence[Host], owner: Owner) -> None:
        self.cluster = cluster
        self.owner = owner
        self._pool = pool
        self._hosts = sorted(hosts, key=lambda h: h.name)[:MAX_HOSTS]
        self._good_until = 0.0
        self._lost: BdopsError | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Take it on a majority of the hosts, and keep renewing it until `drop`.

        Raises LeaseHeld with the owner's name, or StateUnknown when a majority of the hosts does not answer:
        whether somebody else has it is not known then.
        """
        try:
            self._take()
        except BdopsError:
            self._call_all("drop")
            raise
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises LeaseLost unless the lease is held now. To be asked right before each act."""
        if self._lost is None and time.monotonic() >= self._good_until:
            # This process may have been stopped for a while, and the renewal with it.
            try:
                self._take()
            except BdopsError as e:
                self._lost = e
        if self._lost is not None:
            raise LeaseLost(f"the cluster's lease is lost: {self._lost.message}", where=self._lost.where)

    def drop(self) -> None:
        """Give it up on every host, trying twice; what cannot be reached runs out by itself within a minute."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=CALL_TIMEOUT_S)
        answers = self._call_all("drop")
        if any(isinstance(a, BdopsError) for a in answers):
            self._call_all("drop")

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_EVERY_S):
            try:
                self._take()
            except LeaseHeld as e:
                self._lost = e
                return
            except BdopsError:
                continue  # `check` finds out when it has not worked for too long

    def _take(self) -> None:
        asked_at = time.monotonic()
        answers = self._call_all("take")
        taken = [a for a in answers if a == "taken"]
        needed = majority(len(self._hosts))
        if len(taken) >= needed:
            # By the slowest clock of all: from before the first host was asked.
            self._good_until = asked_at + TTL_S * 0.8
            return
        held = [a for a in answers if isinstance(a, Held)]
        if held:
            raise _held(self.cluster, held)
        errors = [a for a in answers if isinstance(a, BdopsError)]
        raise StateUnknown(
            f"the lease needs {needed} of {plural(len(self._hosts), 'host')}, and {len(taken)} gave it"
            + (f": {errors[0].message}" if errors else ""),
            where=", ".join(e.where for e in errors if e.where) or None,
            hint="`bdops check` shows which hosts cannot be reached",
            code="LEASE_UNKNOWN",
        )

    def _call_all(self, verb: str) -> list[str | Held | BdopsError]:
        with ThreadPoolExecutor(len(self._hosts)) as threads:
            return list(threads.map(lambda host: self._call(host, verb), self._hosts))

    def _call(self, host: Host, verb: str) -> str | Held | BdopsError:
        owner = json.dumps({"job": self.owner.job, "command": self.owner.command, "by": self.owner.by})
        return call(self._pool, host, self.cluster, verb, token=self.owner.job, owner=owner)


class LentLease(Lease):
    """A job's lease in the hands of a job that is a step of it: looked after, and neither taken nor given up."""

    def __init__(self, lease: Lease) -> None:
        self.cluster = lease.cluster
        self.owner = lease.owner
        self.take = self.check = lease.check  # type: ignore[method-assign]

    def drop(self) -> None:
        return None


def require_free(pool: SshPool, cluster: str, hosts: Sequence[Host]) -> None:
    """Raises LeaseHeld when another job has the cluster in hand, so that a lease could not be taken now."""
    live = [a for a in read_leases(pool, cluster, hosts) if isinstance(a, Held) and a.left_s > 0]
    count = min(len(hosts), MAX_HOSTS)
    if live and count - len(live) < majority(count):
        raise _held(cluster, live)


def _held(cluster: str, held: Sequence[Held]) -> LeaseHeld:
    first = held[0]
    return LeaseHeld(
        f"cluster {cluster} is in the hands of job {first.owner.job} ({first.owner.command}), "
        f"carried out by {first.owner.by}; its lease runs for another {format_duration(max(0, first.left_s))}",
        where=", ".join(h.host for h in held),
        hint="wait for it to end; the lease of a process that has died runs out within a minute",
    )


def read_leases(pool: SshPool, cluster: str, hosts: Sequence[Host]) -> list[Held | BdopsError]:
    """The cluster's lease as each of its hosts has it; those that have none are left out."""
    chosen = sorted(hosts, key=lambda h: h.name)[:MAX_HOSTS]
    with ThreadPoolExecutor(len(chosen)) as threads:
        answers = list(threads.map(lambda host: call(pool, host, cluster, "show"), chosen))
    return [a for a in answers if not isinstance(a, str)]


def call(
    pool: SshPool, host: Host, cluster: str, verb: str, *, token: str = "", owner: str = "{}"
) -> str | Held | BdopsError:
    """One host's answer: `taken`, `dropped`, `free`, who holds it, or what went wrong."""
    file = re.sub(r"[^A-Za-z0-9._-]", "_", cluster) + ".lease"
    argv = ("sh", "-c", _SCRIPT, "bdops-lease", host.work_dir, file, verb, token, str(TTL_S), owner)
    deadline = time.monotonic() + CALL_TIMEOUT_S
    while True:
        try:
            done = pool.run(host, argv, timeout_s=max(0.1, deadline - time.monotonic()))
        except BdopsError as e:
            return e
        word, _, rest = done.stdout.strip().partition(" ")
        if word == "busy" and time.monotonic() < deadline - 1:
            time.sleep(0.05)
            continue
        return _answer(host, word, rest, done.stderr.strip() or f"exit status {done.exit_status}")


def _answer(host: Host, word: str, rest: str, said: str) -> str | Held | BdopsError:
    if word in ("taken", "dropped", "free"):
        return word
    if word == "held":
        left, _, owner = rest.partition(" ")
        try:
            return Held(host=host.name, owner=Owner(**json.loads(owner)), left_s=int(left))
        except (ValueError, TypeError):
            said = f"the lease's file is damaged: {rest}"
    elif word == "foreign":
        said = f"the lease's file belongs to another user: {rest}"
    return Unreachable(
        f"the lease cannot be read or written: {said}", where=f"{host.name}:{host.work_dir}", code="LEASE_FILE"
    )


def by_this_process(user: str, machine: str, pid: int) -> str:
    """`ops@admin1 (pid 4711)`: how an owner is named."""
    return f"{user}@{machine} (pid {pid})"
