"""Checks of each server: is it up, can it be asked, is it configured as the others and the inventory say."""

from __future__ import annotations

from collections import Counter

from bdops.components.zk import ensemble
from bdops.components.zk.ensemble import short
from bdops.components.zk.state import Member, Server, ZkState
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Verdict
from bdops.core.units import plural


def _server_down(state: ZkState, limits: Limits) -> Verdict:
    findings = []
    everyone = ensemble.servers(state)
    for s in everyone:
        if s.serving is False:
            findings.append(Finding(short(s.name), Severity.CRITICAL, s.error or "not serving", (s.name,)))
        elif s.serving is None:
            findings.append(Finding(short(s.name), Severity.UNKNOWN, s.error or "not read", (s.name,)))
        elif s.read_only:
            detail = "serves read-only: it has lost the quorum"
            findings.append(Finding(short(s.name), Severity.CRITICAL, detail, (s.name,)))
    serving = sum(1 for s in everyone if s.serving)
    summary = f"{serving} of {plural(len(everyone), 'server')} serving"
    return Verdict(summary, tuple(findings), (Metric("servers_serving", serving),))


def _interfaces(state: ZkState, limits: Limits) -> Verdict:
    findings = []
    asked = [s for s in ensemble.servers(state) if s.serving]
    for s in asked:
        for kind, error in (("AdminServer", s.admin_error), ("4-letter words", s.words_error)):
            if error:
                findings.append(Finding(short(s.name), Severity.WARNING, f"{kind}: {error}", (s.name,)))
    unknown = [s for s in ensemble.servers(state) if s.serving is None]
    findings += [Finding(short(s.name), Severity.UNKNOWN, s.error or "not read", (s.name,)) for s in unknown]
    if not findings:
        return Verdict(f"all interfaces of {plural(len(asked), 'server')} answer")
    return Verdict(f"{plural(len(findings), 'interface')} without an answer", tuple(findings))


def _config(state: ZkState, limits: Limits) -> Verdict:
    findings: list[Finding] = []
    copy = ensemble.reference(state)
    asked = [s for s in ensemble.servers(state) if s.serving is not False]
    if copy is None or copy.members is None:
        if any(s.mode == "standalone" for s in asked) and len(asked) == 1:
            return Verdict("a server that stands alone has no membership")
        return Verdict("no server told its configuration", severity=Severity.UNKNOWN)
    for s in asked:
        findings += _copy_differs(s, copy)
    findings += _against_inventory(state, copy)
    version = f"version {copy.config_version}" if copy.config_version else "version not told (word conf)"
    if not findings:
        return Verdict(f"{plural(len(copy.members), 'member')}, {version}, equal on all and in the inventory")
    return Verdict(
        f"{plural(len(findings), 'difference')} from {short(copy.name)}'s configuration, {version}", tuple(findings)
    )


def _copy_differs(server: Server, copy: Server) -> list[Finding]:
    """What is different in this server's copy of the membership: other voters are grave, an old version is not yet."""
    name = short(server.name)
    if server.mode == "standalone":
        return [Finding(name, Severity.CRITICAL, "stands alone, outside the ensemble", (server.name,))]
    if server.members is None or copy.members is None:
        why = server.error or server.words_error or "its configuration was not read"
        return [Finding(name, Severity.UNKNOWN, why, (server.name,))]
    if _voters(server.members) != _voters(copy.members):
        detail = f"has other voters: {_listed(server.members)}, where {short(copy.name)} has {_listed(copy.members)}"
        return [Finding(name, Severity.CRITICAL, detail, (server.name,))]
    if None not in (server.config_version, copy.config_version) and server.config_version != copy.config_version:
        detail = f"configuration version {server.config_version}, {short(copy.name)} has {copy.config_version}"
        return [Finding(name, Severity.WARNING, detail, (server.name,))]
    return []


def _voters(members: tuple[Member, ...]) -> set[tuple[int, str | None]]:
    return {(m.id, m.address) for m in members if m.role == "participant"}


def _listed(members: tuple[Member, ...]) -> str:
    return " ".join(f"{m.id}={m.address}" for m in members if m.role == "participant")


def _against_inventory(state: ZkState, copy: Server) -> list[Finding]:
    if state.expected is None or copy.members is None:
        return []
    findings: list[Finding] = []
    names = ensemble.ids(state)
    expected = {e.name: e for e in state.expected}
    members = {names.get(m.id, f"server.{m.id}"): m for m in copy.members}
    for name, member in members.items():
        known = expected.get(name)
        if known is None:
            detail = f"in the configuration ({member.address or member.client}), not in the inventory"
            findings.append(Finding(name, Severity.WARNING, detail))
        elif member.role != known.role:
            detail = f"{member.role} in the configuration, {known.role} in the inventory"
            findings.append(Finding(short(name), Severity.WARNING, detail, (name,)))
    for e in state.expected:
        if e.name not in members and not (e.role == "observer" and not copy.observers_known):
            detail = "in the inventory, not in the configuration: it has no vote"
            findings.append(Finding(short(e.name), Severity.CRITICAL, detail, (e.name,)))
    own_ids = {s.name: s.myid for s in state.servers or () if s.myid is not None}
    for e in state.expected:
        own = own_ids.get(e.name)
        if e.myid is not None and own is not None and own != e.myid:
            detail = f"its id is {own}, {e.myid} in the inventory"
            findings.append(Finding(short(e.name), Severity.WARNING, detail, (e.name,)))
    for number, count in Counter(own_ids.values()).items():
        if count > 1:
            same = sorted(n for n, i in own_ids.items() if i == number)
            detail = f"shares id {number} with {', '.join(map(short, same[1:]))}"
            findings.append(Finding(short(same[0]), Severity.CRITICAL, detail, tuple(same)))
    return findings


def _version_skew(state: ZkState, limits: Limits) -> Verdict:
    versions = {s.name: s.version for s in state.servers or () if s.version}
    if not versions:
        return Verdict("no server told its version", severity=Severity.UNKNOWN)
    usual = Counter(versions.values()).most_common(1)[0][0]
    findings = tuple(
        Finding(short(n), Severity.WARNING, f"{v}, most have {usual}", (n,)) for n, v in versions.items() if v != usual
    )
    return Verdict(f"version {', '.join(sorted(set(versions.values())))}", findings)


CHECKS: tuple[Check[ZkState], ...] = (
    Check(
        code="ZK_SERVER_DOWN",
        needs=("servers",),
        judge=_server_down,
        meaning="Every server of the inventory serves clients, reading and writing. Critical: nothing listens, it "
        "accepts and "
        "never answers (paused, overloaded), it says that it has no quorum, or it serves read-only. UNKNOWN: something "
        "answers, but not in a way that tells (TLS or a wrong port, no interface open to bdops).",
        remedy="Look at the server's service and log on its host, then start it: `bdops check HOST` shows the "
        "service's state.\n"
        "- refused: the process is gone; the log's last lines say why (disk full, wrong myid, a damaged log file).\n"
        "- accepts and does not answer: a stopped process (`ps -o stat` shows T), a long garbage collection, a dead "
        "disk.\n"
        "- not serving: it runs without a quorum; see ZK_QUORUM, and whether it reaches the others on 2888 and 3888.",
    ),
    Check(
        code="ZK_INTERFACES",
        needs=("servers",),
        judge=_interfaces,
        meaning="bdops reads a server by its AdminServer (HTTP) and by 4-letter words on the client port. One of them "
        "is "
        "enough for most checks; this says which one is missing and why. `conf` is needed for the configuration's "
        "version "
        "and for observers; by default ZooKeeper whitelists `srvr` alone.",
        remedy="Open what is named, or tell the inventory that it is closed on purpose.\n"
        "- words: `4lw.commands.whitelist=srvr,mntr,conf,isro` in zoo.cfg and a restart; or `four_letter_words: "
        "false`.\n"
        "- AdminServer: `admin.enableServer=true`, `admin.serverPort`, Jetty on the class path; or `admin_port: null`.",
    ),
    Check(
        code="ZK_CONFIG",
        needs=("servers",),
        judge=_config,
        meaning="All servers have the same membership, in the same version, and it is that of the inventory. "
        "Different voters "
        "can mean two majorities. A member that the inventory does not know is not looked after; an instance that the "
        "configuration does not have has no vote.",
        remedy="Compare `bdops zk status` with zoo.cfg and zoo.cfg.dynamic on the servers named.\n"
        "- Older version: a reconfiguration has not arrived there yet; if it stays, restart that server.\n"
        "- Different voters: the static files differ; make them equal and restart followers first, the leader last.\n"
        "- Inventory: correct it (`bdops inventory explain`), or `zkCli.sh reconfig -add|-remove`.",
    ),
    Check(
        code="ZK_VERSION_SKEW",
        needs=("servers",),
        judge=_version_skew,
        meaning="All servers run the same release. A mix is fine during a rolling upgrade, and only then.",
        remedy="Finish the upgrade: `bdops zk status` shows each server's version.",
    ),
)
