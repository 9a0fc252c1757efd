"""Checks of the ensemble as a whole: does it have a quorum, one leader, and followers that follow."""

from __future__ import annotations

from bdops.components.zk import ensemble
from bdops.components.zk.ensemble import short
from bdops.components.zk.state import Server, ZkState
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.quorum import Quorum
from bdops.core.units import plural

# A follower this far behind does not count towards the quorum: it would have to catch up before its vote helps.
BEHIND = Threshold("behind", "", None, 10_000)


def _quorum(state: ZkState, limits: Limits) -> Verdict:
    q = ensemble.quorum(state, behind=limits["behind"].critical or float("inf"))
    if q is None:
        return Verdict("the voters are not known: no server told the configuration", severity=Severity.UNKNOWN)
    seen = {s.name: s for s in ensemble.servers(state)}
    missing = sorted(q.configured - q.caught_up)
    untold = [name for name in missing if name not in seen or _untold(seen[name])]
    severity = _quorum_severity(q, untold)
    findings = tuple(
        Finding(
            short(name),
            Severity.UNKNOWN if name in untold else max(severity, Severity.WARNING, key=lambda x: x.rank),
            _why_missing(state, name),
            (name,) if name in seen else (),
        )
        for name in missing
    )
    metrics = (
        Metric("voters_configured", len(q.configured)),
        Metric("voters_caught_up", len(q.caught_up), warning=q.needed, critical=q.needed - 1),
    )
    counts = f"{len(q.caught_up)} of {plural(len(q.configured), 'voter')} caught up, {q.needed} needed"
    if severity is Severity.UNKNOWN:
        claimed = _claimed_by_leader(state)
        said = f"; the leader counts {claimed} with itself" if claimed else ""
        counts += f", and {len(untold)} could not be read{said}"
    elif severity is Severity.CRITICAL:
        counts = f"{'too few' if ensemble.leader(state) else 'quorum lost'}: {counts}"
    elif severity is Severity.WARNING:
        counts = f"no spare: {counts}; the next stop loses the quorum"
    else:
        counts += f", {q.spare} may stop"
    return Verdict(counts, findings, metrics, severity)


def _untold(server: Server) -> bool:
    """Whether this server may be caught up for all that is known: it answered nothing that tells."""
    return server.serving is None or (server.serving and server.zxid is None)


def _quorum_severity(q: Quorum, untold: list[str]) -> Severity:
    if q.spare > 0:
        return Severity.OK
    if q.spare == 0:
        return Severity.WARNING
    return Severity.UNKNOWN if len(q.caught_up) + len(untold) >= q.needed else Severity.CRITICAL


def _why_missing(state: ZkState, name: str) -> str:
    server = next((s for s in ensemble.servers(state) if s.name == name), None)
    if server is None:
        return "configured as a voter, but not in the inventory: it was not read"
    if server.error:
        return server.error
    first = ensemble.newest(state)
    missing = ensemble.lag(server, first) if first else None
    if first and missing:
        return f"{plural(missing, 'transaction')} behind {short(first.name)}"
    return (
        f"not taking part: state {server.peer_state or server.mode or 'mode unknown'}, zxid {server.zxid or 'unknown'}"
    )


def _claimed_by_leader(state: ZkState) -> int | None:
    first = ensemble.leader(state)
    return None if first is None or first.synced_followers is None else first.synced_followers + 1


def _leader(state: ZkState, limits: Limits) -> Verdict:
    found = ensemble.leaders(state)
    if len(found) == 1:
        others = [
            Finding(short(s.name), Severity.CRITICAL, f"follows server {s.leader_id}", (s.name,))
            for s in state.servers or ()
            if s.serving and None not in (s.leader_id, found[0].myid) and s.leader_id != found[0].myid
        ]
        name = short(found[0].name)
        if others:
            return Verdict(f"{name} leads, but not everyone follows it", tuple(others))
        return Verdict(f"{name} {'stands alone' if found[0].mode == 'standalone' else 'leads'}")
    if len(found) > 1:
        findings = tuple(
            Finding(
                short(s.name),
                Severity.CRITICAL,
                f"{'stands alone' if s.mode == 'standalone' else 'says it leads'}, zxid {s.zxid}",
                (s.name,),
            )
            for s in found
        )
        return Verdict(f"{len(found)} servers say that they lead", findings)
    unread = [s for s in ensemble.servers(state) if s.serving is not True]
    followed = {s.leader_id for s in state.servers or () if s.serving and s.leader_id is not None}
    if followed and unread:
        names = ", ".join(short(ensemble.ids(state).get(i, f"server.{i}")) for i in sorted(followed))
        findings = tuple(Finding(short(s.name), Severity.UNKNOWN, s.error or "not read", (s.name,)) for s in unread)
        return Verdict(f"the followers follow {names}, which could not be read", findings)
    if all(s.serving is None for s in ensemble.servers(state)):
        return Verdict("no server could be read", severity=Severity.UNKNOWN)
    return Verdict("no server leads: the ensemble does not serve", severity=Severity.CRITICAL)


def _synced_followers(state: ZkState, limits: Limits) -> Verdict:
    first = ensemble.leader(state)
    voters = ensemble.configured(state)
    if first is None or voters is None:
        return Verdict("no leader to ask", severity=Severity.UNKNOWN)
    if first.mode == "standalone":
        return Verdict("a server that stands alone has no followers")
    if first.synced_followers is None:
        return Verdict(
            f"the leader {short(first.name)} did not tell: {first.admin_error or first.words_error or 'key missing'}",
            severity=Severity.UNKNOWN,
        )
    expected = len(voters) - 1
    observers = ensemble.configured(state, "observer") or frozenset()
    copy = ensemble.reference(state)
    told = first.synced_observers if copy and copy.observers_known else None
    counts = f"{first.synced_followers} of {plural(expected, 'follower')} synced"
    metrics = (Metric("synced_followers", first.synced_followers, warning=expected - 1),)
    if observers and told is not None:
        counts += f", {told} of {plural(len(observers), 'observer')}"
    short_of = first.synced_followers < expected or (told is not None and told < len(observers))
    if not short_of:
        return Verdict(counts, metrics=metrics)
    away = [s for s in ensemble.servers(state) if s is not first and not _broadcasts(s)]
    severity = Severity.CRITICAL if first.synced_followers + 1 <= len(voters) // 2 else Severity.WARNING
    findings = tuple(
        Finding(short(s.name), severity, s.error or f"state {s.peer_state or 'unknown'}", (s.name,)) for s in away
    )
    return Verdict(f"{counts}, by the leader {short(first.name)}", findings, metrics, severity)


def _broadcasts(server: object) -> bool:
    return "broadcast" in (getattr(server, "peer_state", None) or "")


def _pending_syncs(state: ZkState, limits: Limits) -> Verdict:
    first = ensemble.leader(state)
    if first is None:
        return Verdict("no leader to ask", severity=Severity.UNKNOWN)
    if first.mode == "standalone":
        return Verdict("a server that stands alone has no syncs")
    if first.pending_syncs is None:
        return Verdict(f"the leader {short(first.name)} did not tell: missing is not zero", severity=Severity.UNKNOWN)
    limit = limits["pending_syncs"]
    severity = limit.severity(first.pending_syncs)
    summary = f"{plural(first.pending_syncs, 'sync')} pending at the leader {short(first.name)}"
    findings = (Finding(short(first.name), severity, summary, (first.name,)),) if severity is not Severity.OK else ()
    return Verdict(summary, findings, (limit.metric(first.pending_syncs),))


def _zxid_lag(state: ZkState, limits: Limits) -> Verdict:
    first = ensemble.leader(state)
    if first is None or first.zxid is None:
        return Verdict("no leader to compare with", severity=Severity.UNKNOWN)
    limit = limits["zxid_lag"]
    findings: list[Finding] = []
    worst = 0
    for server in ensemble.servers(state):
        # Servers that are down are ZK_SERVER_DOWN's, and a second leader is ZK_LEADER's.
        if server.serving is False or server.mode in ("leader", "standalone"):
            continue
        missing = ensemble.lag(server, first)
        if missing is None:
            why = server.error or "its zxid was not read"
            findings.append(Finding(short(server.name), Severity.UNKNOWN, why, (server.name,)))
            continue
        worst = max(worst, missing)
        if (severity := limit.severity(missing)) is not Severity.OK:
            detail = f"{plural(missing, 'transaction')} behind: {server.zxid} where the leader has {first.zxid}"
            findings.append(Finding(short(server.name), severity, detail, (server.name,)))
    summary = f"at most {plural(worst, 'transaction')} behind {short(first.name)}"
    return Verdict(summary, tuple(findings), (limit.metric(worst),))


CHECKS: tuple[Check[ZkState], ...] = (
    Check(
        code="ZK_QUORUM",
        needs=("servers",),
        judge=_quorum,
        thresholds=(BEHIND,),
        meaning="Voters of the ensemble's own configuration that are serving, in the broadcast phase and not more than "
        "`behind` transactions behind, against the majority of the *configured* voters (floor(n/2)+1; two of four is "
        "none). Below it the ensemble stops serving writes. Warning when exactly the majority is left. UNKNOWN when "
        "the voters that could not be read would make the difference.",
        remedy="Start the servers named here, one at a time, before anything else is stopped.\n"
        "- `bdops zk status` shows who answers and with which zxid; `bdops check` on the hosts shows disks and "
        "services.\n"
        "- On the host: the service's log; a full disk under dataDir or dataLogDir and a wrong myid are the usual "
        "causes.\n"
        "- An ensemble of 1 or 2 voters has no spare by design: grow it to 3, or mute this with a reason.",
    ),
    Check(
        code="ZK_LEADER",
        needs=("servers",),
        judge=_leader,
        meaning="Exactly one server leads, and every follower follows that one. No leader: nothing is served. Two "
        "leaders: "
        "an old one that has lost its followers and has not noticed yet (for syncLimit ticks), or two ensembles.",
        remedy="Wait for one election (a few seconds) and look again; if it stays, look at the voters' logs.\n"
        "- No leader: is there a quorum (ZK_QUORUM)? Can the servers reach each other on the election port (3888)?\n"
        "- Two for longer: compare `bdops zk status` with the servers' zoo.cfg; servers of two ensembles share "
        "addresses.",
    ),
    Check(
        code="ZK_SYNCED_FOLLOWERS",
        needs=("servers",),
        judge=_synced_followers,
        meaning="The leader's own count of followers in step (zk_synced_followers), and observers, against the "
        "configuration. "
        "This is the view that decides whether writes commit; a key that the leader does not tell is UNKNOWN, not "
        "zero.",
        remedy="Look at the servers named: down, or still copying a snapshot from the leader.\n"
        "- `bdops zk status -v` shows each one's state; `following - synchronization` needs time: data size / "
        "network.\n"
        "- A follower that never gets through: raise initLimit and syncLimit, look at its disk's latency (fsync).",
    ),
    Check(
        code="ZK_PENDING_SYNCS",
        needs=("servers",),
        judge=_pending_syncs,
        thresholds=(Threshold("pending_syncs", "", 10, 100),),
        meaning="Sync requests that wait at the leader for earlier writes to commit. Many mean that commits are slow.",
        remedy="Look at ZK_LATENCY and the disks' latency on the voters: the slowest of the majority sets the pace.\n"
        "- `echo mntr | nc LEADER 2181 | grep -E 'fsync|quorum_ack'` on the leader.",
    ),
    Check(
        code="ZK_ZXID_LAG",
        needs=("servers",),
        judge=_zxid_lag,
        thresholds=(Threshold("zxid_lag", "", 10, 1000),),
        meaning="Transactions that the leader has applied and a follower or observer has not, half a second after the "
        "leader was read (so the order of reading does not count). Counters are compared within an epoch; of a server "
        "in "
        "an older epoch only the leader's transactions in its own are counted. Clients of that server read old data.",
        remedy="Look at the host of the server named: CPU, garbage collection, disk latency, network to the leader.\n"
        "- It catches up by itself when it is only slow; when the lag grows, restart that server (it copies a "
        "snapshot).\n"
        "- Do not stop another voter meanwhile.",
    ),
)
