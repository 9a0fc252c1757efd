"""Checks of hosts: reachable, clocks, disks, and whether service managers and APIs agree."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from bdops.components.host.state import DataDir, HostService, HostState, ObservedHost
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.units import format_duration, format_size, plural

# Answers that leave open how the host is: it is there, and would not have us.
_NOT_LET_IN = {"SSH_AUTH", "HOST_KEY_UNKNOWN", "SSH_SHELL", "CONFIG_INVALID"}


def _hosts(state: HostState) -> tuple[ObservedHost, ...]:
    """All hosts that were asked, with one that says so for each that should have been and was not."""
    seen = state.hosts or ()
    names = {h.name for h in seen}
    absent = (e for e in state.expected or () if e.name not in names)
    return seen + tuple(ObservedHost(name=e.name, error="not in the state", error_code="SSH_SHELL") for e in absent)


def _read(state: HostState) -> tuple[ObservedHost, ...]:
    return tuple(h for h in _hosts(state) if h.error is None)


def _blame(state: HostState, host: ObservedHost) -> tuple[str, ...]:
    return (f"{state.cluster}/{host.name}",)


def _reachable(state: HostState, limits: Limits) -> Verdict:
    findings = []
    hint = None
    for host in _hosts(state):
        if host.error is None:
            continue
        severity = Severity.UNKNOWN if host.error_code in _NOT_LET_IN else Severity.CRITICAL
        findings.append(Finding(host.name, severity, host.error, _blame(state, host)))
        hint = hint or host.hint
    reached = len(_read(state))
    summary = f"{reached} of {plural(len(_hosts(state)), 'host')} reached by SSH"
    return Verdict(summary, tuple(findings), (Metric("hosts_reached", reached),), hint=hint)


def _clock_skew(state: HostState, limits: Limits) -> Verdict:
    limit = limits["clock_skew"]
    findings = []
    offsets = {h.name: h.clock_offset_s for h in _read(state) if h.clock_offset_s is not None}
    for h in _read(state):
        if h.clock_offset_s is None:
            findings.append(Finding(h.name, Severity.UNKNOWN, "its `date` told no time", _blame(state, h)))
    if not offsets:
        return Verdict("no host told its time", tuple(findings), severity=Severity.UNKNOWN)
    # Two hosts have no majority to be right: this machine's clock is the third opinion.
    usual = median([*offsets.values(), *([0.0] if len(offsets) < 3 else [])])
    worst = 0.0
    for host in _read(state):
        if host.clock_offset_s is None:
            continue
        # What the round trip leaves open counts for the host.
        skew = max(0.0, abs(host.clock_offset_s - usual) - (host.clock_error_s or 0.0))
        worst = max(worst, skew)
        if (severity := limit.severity(skew)) is not Severity.OK:
            side = "ahead" if host.clock_offset_s > usual else "behind"
            detail = f"{format_duration(skew)} {side} of the other hosts"
            findings.append(Finding(host.name, severity, detail, _blame(state, host)))
    open_to_doubt_s = median([h.clock_error_s or 0.0 for h in _read(state) if h.clock_offset_s is not None])
    own = max(0.0, abs(usual) - open_to_doubt_s)
    if limit.severity(own) is not Severity.OK:
        side = "behind" if usual > 0 else "ahead of"
        detail = f"its clock is {format_duration(own)} {side} the hosts'"
        findings.append(Finding("this machine", Severity.WARNING, detail))
    summary = f"at most {format_duration(worst)} from the median of {plural(len(offsets), 'host')}"
    return Verdict(summary, tuple(findings), (limit.metric(worst),))


def _disk_use(state: HostState, limits: Limits) -> Verdict:
    def detail(d: DataDir) -> str:
        return f"{format_size(d.available_bytes or 0)} of {format_size(d.size_bytes or 0)} left"

    return _use(state, limits["disk_use"], "full", lambda d: _percent(d.used_bytes, d.available_bytes), detail)


def _inode_use(state: HostState, limits: Limits) -> Verdict:
    def percent(d: DataDir) -> float | None:
        if d.exists and d.mount and d.inodes is None:
            return 0.0  # a filesystem without a fixed number of inodes
        free = None if d.inodes is None or d.inodes_used is None else d.inodes - d.inodes_used
        return _percent(d.inodes_used, free)

    def detail(d: DataDir) -> str:
        return f"{(d.inodes or 0) - (d.inodes_used or 0)} of {d.inodes} inodes left"

    return _use(state, limits["inode_use"], "of inodes used", percent, detail)


def _percent(used: int | None, free: int | None) -> float | None:
    """As df has it: of what ordinary users can have."""
    if used is None or free is None:
        return None
    return 100 * used / (used + free) if used + free else 100.0


def _use(
    state: HostState,
    limit: Threshold,
    word: str,
    percent: Callable[[DataDir], float | None],
    detail: Callable[[DataDir], str],
) -> Verdict:
    """Judge every filesystem once, under the names of all data directories on it."""
    findings: list[Finding] = []
    metrics: list[Metric] = []
    worst = 0.0
    filesystems = 0
    for host in _read(state):
        for path in _not_told(state, host):
            findings.append(Finding(f"{host.name}:{path}", Severity.UNKNOWN, "not told", _blame(state, host)))
        shared: dict[str, list[DataDir]] = {}
        for d in host.data_dirs or ():
            if d.exists:
                shared.setdefault(d.mount or d.path, []).append(d)
            elif limit.name == "disk_use":
                why = "no such directory, or the SSH user cannot see it"
                findings.append(Finding(f"{host.name}:{d.path}", Severity.CRITICAL, why, _blame(state, host)))
        for mount, dirs in shared.items():
            filesystems += 1
            used = percent(dirs[0])
            if used is None:
                findings.append(
                    Finding(f"{host.name}:{mount}", Severity.UNKNOWN, "df told nothing", _blame(state, host))
                )
                continue
            worst = max(worst, used)
            # One a filesystem: a trend is one disk's, and the fullest one may be another each time.
            metrics.append(limit.metric(round(used, 2), f"{limit.name} {host.name}:{mount}"))
            if (severity := limit.severity(used)) is not Severity.OK:
                paths = ", ".join(d.path for d in dirs)
                text = f"{used:.0f} % {word}, {detail(dirs[0])}; data: {paths}"
                findings.append(Finding(f"{host.name}:{mount}", severity, text, _blame(state, host)))
    if not filesystems and not findings:
        if not _read(state):
            return Verdict("no host could be read", severity=Severity.UNKNOWN)
        return Verdict("the inventory names no data directories")
    return Verdict(
        f"at most {worst:.0f} % {word} on {plural(filesystems, 'filesystem')}",
        tuple(findings),
        (limit.metric(worst), *metrics),
    )


def _not_told(state: HostState, host: ObservedHost) -> list[str]:
    expected = next((e for e in state.expected or () if e.name == host.name), None)
    told = {d.path for d in host.data_dirs or ()}
    return [path for path in (expected.data_dirs if expected else ()) if path not in told]


def _services(state: HostState, limits: Limits) -> Verdict:
    serving = state.serving or {}
    findings = []
    judged = 0
    for host in _read(state):
        for service in host.services or ():
            judged += 1
            severity, detail = judge_service(service, serving.get(service.instance))
            if severity is not Severity.OK:
                name = service.instance.partition("/")[2] or service.instance
                findings.append(Finding(name, severity, detail, (service.instance,)))
    if not judged:
        if not _read(state):
            return Verdict("no host could be read", severity=Severity.UNKNOWN)
        return Verdict("the inventory names no services")
    running = sum(1 for h in _read(state) for s in h.services or () if s.state == "running")
    return Verdict(
        f"{running} of {plural(judged, 'service')} running by their managers",
        tuple(findings),
        (Metric("services_running", running),),
    )


def judge_service(service: HostService, serving: bool | None) -> tuple[Severity, str]:
    """The service manager's state against the API's (`serving`; None: not known), and the words for it."""
    said = f"the service manager says: {service.detail or service.state}"
    if service.state == "unknown":
        return Severity.UNKNOWN, said
    if service.state == "absent":
        return Severity.CRITICAL, service.detail or "the service manager does not know it"
    if service.state in ("starting", "stopping"):
        return Severity.WARNING, said
    if service.state == "running":
        if serving is None:
            return Severity.UNKNOWN, f"{said}; whether its API serves is not known"
        return (Severity.OK, said) if serving else (Severity.CRITICAL, f"{said}, but its API does not serve")
    if serving:
        return Severity.WARNING, f"{said}, but its API serves: it was started in another way"
    return Severity.CRITICAL, said


CHECKS: tuple[Check[HostState], ...] = (
    Check(
        code="HOST_REACHABLE",
        needs=("hosts",),
        judge=_reachable,
        meaning="bdops logs in to every host by SSH, as every command that touches a process has to. Critical: the "
        "host does "
        "not answer, or its host key has changed. UNKNOWN: it answers and does not let us in.",
        remedy="Try the same by hand: `ssh -v -p PORT USER@ADDRESS` with the inventory's ssh settings.\n"
        "- timed out or refused: is the host up, sshd running, the port right (`bdops inventory hosts`)?\n"
        "- host key unknown: compare its fingerprint on the host, then run the ssh-keyscan command given.\n"
        "- host key changed: find out why first; a reinstalled host does that, and so does somebody in between.",
    ),
    Check(
        code="HOST_CLOCK_SKEW",
        needs=("hosts",),
        judge=_clock_skew,
        thresholds=(Threshold("clock_skew", "s", 0.5, 5.0),),
        meaning="Each host's clock against the median of all of them, less half the round trip of the question. "
        "Kerberos, tokens and log order suffer; retention by time deletes too early or too late.",
        remedy="Look at the time service of the host: `chronyc tracking` or `timedatectl timesync-status`.\n"
        "- `this machine`: it is the clock of the machine that bdops runs on; the hosts agree among themselves.",
    ),
    Check(
        code="HOST_DISK_USE",
        needs=("hosts",),
        judge=_disk_use,
        thresholds=(Threshold("disk_use", "%", 80, 90),),
        meaning="Use of the filesystems under the data and log directories that the inventory names, as df counts it. "
        "A "
        "directory that does not exist is a finding as well: a disk that was not mounted looks like that.",
        remedy="Make room or take data off: `du -xh --max-depth 2 MOUNT | sort -h | tail` on the host.\n"
        "- missing: `findmnt`, `dmesg | tail`: a disk that failed, or was not mounted at boot.\n"
        "- Kafka and HDFS rebalance by themselves to nothing: move replicas or blocks off that disk.",
    ),
    Check(
        code="HOST_INODE_USE",
        needs=("hosts",),
        judge=_inode_use,
        thresholds=(Threshold("inode_use", "%", 80, 90),),
        meaning="Inodes in use on the same filesystems: without a free one no file can be made, whatever df -h says.",
        remedy="Find the directory with too many files: `du --inodes -x MOUNT | sort -n | tail` on the host.",
    ),
    Check(
        code="HOST_SERVICE",
        needs=("hosts", "serving"),
        judge=_services,
        meaning="The service manager's state of every instance against what its own API says. Running and not "
        "serving: hung, "
        "still starting, or not in its ensemble. Stopped and serving: started past the manager, and a restart through "
        "it would start a second one. Failed: the manager has given up.",
        remedy="Look at the instance's log, and at the manager's: `supervisorctl status`, `systemctl status UNIT`.\n"
        "- running, does not serve: the component's own checks say what is wrong with it (`bdops check INSTANCE`).\n"
        "- stopped or failed: start it through the manager once the log tells why it ended.\n"
        "- stopped, but serves: stop that process by hand, then start the service.",
    ),
)
