"""Is there a good snapshot? FAILED and PARTIAL never count as one."""

from __future__ import annotations

from collections.abc import Sequence

from bdops.components.backup_checks import AGE, PROVED_AGE, age_limit, judge_proof
from bdops.components.es.state import EsState, Repository, Snapshot, SnapshotPolicy
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.units import format_duration, listed, plural

GOOD = "SUCCESS"
RUNNING = ("IN_PROGRESS", "STARTED", "INIT")


def newest_good(repository: Repository) -> Snapshot | None:
    good = [s for s in repository.snapshots if s.state == GOOD]
    return max(good, key=lambda s: s.ended_at or s.started_at, default=None)


def _age(state: EsState, limits: Limits) -> Verdict:
    assert state.repositories is not None
    assert state.indices is not None
    if not state.indices:
        return Verdict("there is no index to back up")
    policy = state.snapshot_policy or SnapshotPolicy()
    threshold = age_limit(limits, policy.max_age_h)
    if wanted := policy.repositories:
        known = {r.name: r for r in state.repositories}
        findings = []
        metrics = []
        for name in wanted:
            if name not in known:
                findings.append(Finding(name, Severity.CRITICAL, "the repository is not registered"))
                continue
            finding, metric = _judge_age(name, [known[name]], state, threshold)
            findings.append(finding)
            metrics += metric
    elif not state.repositories:
        findings = [Finding("repositories", Severity.WARNING, "none is registered: there is no snapshot of anything")]
        metrics = []
    else:
        name = state.repositories[0].name if len(state.repositories) == 1 else "all repositories"
        finding, metrics = _judge_age(name, state.repositories, state, threshold)
        findings = [finding]
    summary = "; ".join(f"{f.object}: {f.detail}" for f in findings)
    return Verdict(summary, tuple(f for f in findings if f.severity is not Severity.OK), tuple(metrics))


def _judge_age(
    name: str, repositories: Sequence[Repository], state: EsState, threshold: Threshold
) -> tuple[Finding, list[Metric]]:
    good = [(s, r) for r in repositories if (s := newest_good(r)) is not None]
    unreadable = [r for r in repositories if r.error]
    if not good:
        if unreadable:
            text = "; ".join(f"{r.name} cannot be read: {r.error}" for r in unreadable)
            return Finding(name, Severity.UNKNOWN, text), []
        bad = sum(len(r.snapshots) for r in repositories)
        more = f", {plural(bad, 'other')} failed, partial or running" if bad else ""
        return Finding(name, Severity.CRITICAL, f"no good snapshot{more}"), []
    newest, repository = max(good, key=lambda pair: pair[0].ended_at or pair[0].started_at)
    # The data is as old as the start: what was written later is not in it.
    age_s = max(0.0, (state.taken_at - newest.started_at).total_seconds())
    severity = threshold.severity(age_s)
    text = f"the newest good snapshot, {repository.name}/{newest.name}, is {format_duration(age_s)} old"
    later = [s for r in repositories for s in r.snapshots if s.state != GOOD and s.started_at > newest.started_at]
    if later and severity is not Severity.OK:
        text += f"; since then: {listed((f'{s.name} {s.state}' for s in later), 3)}"
    if unreadable and severity is not Severity.OK:
        text += f"; not readable: {listed(r.name for r in unreadable)}"
    return Finding(name, severity, text), [threshold.metric(round(age_s), f"snapshot_age {repository.name}")]


def _failed(state: EsState, limits: Limits) -> Verdict:
    assert state.repositories is not None
    findings: list[Finding] = []
    for repository in state.repositories:
        if repository.error:
            findings.append(Finding(repository.name, Severity.WARNING, f"cannot be read: {repository.error}"))
        finished = [s for s in repository.snapshots if s.state not in RUNNING]
        newest = max(finished, key=lambda s: s.started_at, default=None)
        if newest is not None and newest.state != GOOD:
            shards = f", {newest.failed_shards} of {newest.total_shards} shards failed" if newest.total_shards else ""
            why = f": {newest.reason}" if newest.reason else ""
            findings.append(
                Finding(f"{repository.name}/{newest.name}", Severity.WARNING, f"{newest.state}{shards}{why}")
            )
    if findings:
        return Verdict("; ".join(f"{f.object} {f.detail}" for f in findings), tuple(findings))
    return Verdict("the last snapshot of every repository is good" if state.repositories else "no repository")


def _proved(state: EsState, limits: Limits) -> Verdict:
    assert state.repositories is not None
    policy = state.snapshot_policy or SnapshotPolicy()
    mine = [r for r in state.repositories if not policy.repositories or r.name in policy.repositories]
    proofs = [r.proved_at for r in mine if r.proved_at is not None]
    where = mine[0].name if len(mine) == 1 else "all repositories"
    return judge_proof(where, max(proofs, default=None), state.taken_at, limits, policy.proved_max_age_d)


def _running(state: EsState, limits: Limits) -> Verdict:
    assert state.repositories is not None
    running = [(r, s) for r in state.repositories for s in r.snapshots if s.state in RUNNING]
    findings = []
    longest = 0.0
    for repository, snapshot in running:
        for_s = max(0.0, (state.taken_at - snapshot.started_at).total_seconds())
        longest = max(longest, for_s)
        severity = limits["running"].severity(for_s)
        if severity is not Severity.OK:
            findings.append(
                Finding(
                    f"{repository.name}/{snapshot.name}", severity, f"has been running for {format_duration(for_s)}"
                )
            )
    metrics = (limits["running"].metric(round(longest)), Metric("running_snapshots", len(running)))
    if findings:
        return Verdict("; ".join(f"{f.object} {f.detail}" for f in findings), tuple(findings), metrics)
    return Verdict(f"{plural(len(running), 'snapshot')} running" if running else "none running", metrics=metrics)


CHECKS: tuple[Check[EsState], ...] = (
    Check(
        code="ES_BACKUP_AGE",
        meaning="The age of the newest *good* snapshot: what a disaster would cost now. FAILED and PARTIAL ones "
        "never count. With `snapshot_repositories` in the inventory each of those must have one, else any "
        "repository will do.",
        remedy="take one: `PUT _snapshot/REPOSITORY/NAME?wait_for_completion=true`, and look why the schedule "
        "did not\n\n"
        "- `GET _snapshot/REPOSITORY/*?sort=start_time&order=desc&size=10` shows the last ones and their "
        "failures.\n"
        "- No repository: register one (`PUT _snapshot/NAME`) on storage that does not die with the "
        "cluster.",
        judge=_age,
        needs=("repositories", "indices"),
        thresholds=(AGE,),
    ),
    Check(
        code="ES_BACKUP_FAILED",
        meaning="The last finished snapshot of a repository is FAILED, PARTIAL or INCOMPATIBLE, or the repository "
        "cannot be read. An older good one may still be there (ES_BACKUP_AGE), but the next will "
        "probably fail likewise.",
        remedy="see its failures: `GET _snapshot/REPOSITORY/SNAPSHOT`\n\n"
        "- PARTIAL: some primaries were not active; mend ES_STATUS first.\n"
        "- The repository: `POST _snapshot/REPOSITORY/_verify` says which nodes cannot reach it.",
        judge=_failed,
        needs=("repositories",),
    ),
    Check(
        code="ES_BACKUP_PROVED_AGE",
        meaning="The age of the last restore that proved a snapshot (`bdops es snapshot drill`). A snapshot that was "
        "never restored is a hope. Nothing is held against its age unless `backup_proved_max_age_d` is in the "
        "inventory.",
        remedy="`bdops es snapshot drill` restores the newest good one beside what lives, compares, and cleans up.",
        judge=_proved,
        needs=("repositories",),
        thresholds=(PROVED_AGE,),
    ),
    Check(
        code="ES_SNAPSHOT_RUNNING",
        meaning="A snapshot has been running for long. It holds on to shards (an index that is in it cannot be "
        "deleted, a node of it should not be restarted) and keeps the next one from being recent.",
        remedy="see how far it is: `GET _snapshot/REPOSITORY/SNAPSHOT/_status`; `DELETE` of it aborts it",
        judge=_running,
        needs=("repositories",),
        thresholds=(Threshold("running", "s", 4 * 3600, 12 * 3600),),
    ),
)
