"""Is there a snapshot of what the inventory wants kept, an image of the NameNode, and a proof that one restores?"""

from __future__ import annotations

from bdops.components.backup_checks import AGE, PROVED_AGE, age_limit, judge_newest, judge_proof
from bdops.components.backup_standing import Backups, age_of, failed_of, proved_of
from bdops.components.hdfs.state import BackupPolicy, DirectoryBackups, HdfsState
from bdops.core.checks import Check, Finding, Limits, Metric, Severity, Threshold, Verdict
from bdops.core.units import plural


def _wanted(state: HdfsState) -> list[DirectoryBackups]:
    asked = (state.backup_policy or BackupPolicy()).directories
    return [b for b in state.backups or () if b.path in asked]


def _verdict(found: list[tuple[Finding, tuple[Metric, ...]]]) -> Verdict:
    return Verdict(
        "; ".join(f"{f.object}: {f.detail}" for f, _ in found),
        tuple(f for f, _ in found if f.severity is not Severity.OK),
        tuple(m for _, metrics in found for m in metrics),
    )


def _age(state: HdfsState, limits: Limits) -> Verdict:
    policy = state.backup_policy or BackupPolicy()
    limit = age_limit(limits, policy.max_age_h)
    wanted = _wanted(state)
    if not wanted:
        return Verdict("the inventory asks for snapshots of no directory (snapshot_dirs)")
    found: list[tuple[Finding, tuple[Metric, ...]]] = []
    for backups in wanted:
        if backups.limit is None:
            found.append((Finding(backups.path, Severity.CRITICAL, "no snapshots may be made of it"), ()))
        else:
            name = f"snapshot_age {backups.path}"
            found.append(judge_newest(backups.path, backups.newest, backups.newest_at, state.taken_at, limit, name))
    return _verdict(found)


def _images(state: HdfsState) -> Backups:
    assert state.images is not None
    return state.images


def _image_age(state: HdfsState, limits: Limits) -> Verdict:
    none_asked = "the inventory asks for no images of the NameNode (image_dir)"
    return age_of(_images(state), state.taken_at, limits, metric="image_age", none_asked=none_asked)


def _failed(state: HdfsState, limits: Limits) -> Verdict:
    images = failed_of(_images(state))
    if images.severity is not None:
        return images
    gone = (
        Finding(f"{b.path}/.snapshot/{name}", Severity.WARNING, "somebody else has deleted it")
        for b in _wanted(state)
        for name in b.gone
    )
    if findings := (*gone, *images.findings):
        return Verdict("; ".join(f"{f.object}: {f.detail}" for f in findings), findings)
    return Verdict("no backup has failed, or gone unasked")


def _proved(state: HdfsState, limits: Limits) -> Verdict:
    """Of the directories together, and of the images."""
    policy, wanted, images = state.backup_policy or BackupPolicy(), _wanted(state), _images(state)
    if images.error:
        return proved_of(images, state.taken_at, limits)
    found: dict[str, Verdict] = {}
    if wanted:
        proved_at = max((b.proved_at for b in wanted if b.proved_at is not None), default=None)
        where = wanted[0].path if len(wanted) == 1 else "all directories"
        found[where] = judge_proof(where, proved_at, state.taken_at, limits, policy.proved_max_age_d)
    if images.folder:
        found[images.folder] = proved_of(images, state.taken_at, limits)
    if not found:
        return Verdict("the inventory asks for no backups (snapshot_dirs, image_dir)")
    return Verdict(
        "; ".join(f"{where}: {verdict.summary}" for where, verdict in found.items()),
        tuple(f for verdict in found.values() for f in verdict.findings),
        tuple(m for verdict in found.values() for m in verdict.metrics),
    )


def _snapshot_limit(state: HdfsState, limits: Limits) -> Verdict:
    threshold = limits["used"]
    findings, metrics, fullest = [], [], 0.0
    for backups in state.backups or ():
        if not backups.limit:
            continue
        used = 100 * backups.snapshots / backups.limit
        fullest = max(fullest, used)
        severity = threshold.severity(used)
        if severity is not Severity.OK:
            text = f"{backups.snapshots:,} snapshots of {backups.limit:,} that it may have"
            findings.append(Finding(backups.path, severity, text))
            metrics.append(threshold.metric(round(used, 1), f"snapshots_used {backups.path}"))
    count = sum(1 for b in state.backups or () if b.limit)
    if findings:
        return Verdict("; ".join(f"{f.object}: {f.detail}" for f in findings), tuple(findings), tuple(metrics))
    text = f"{plural(count, 'directory', 'directories')} with snapshots, {fullest:.0f} % full at the most"
    return Verdict(text, metrics=(threshold.metric(round(fullest, 1)),))


CHECKS: tuple[Check[HdfsState], ...] = (
    Check(
        code="HDFS_BACKUP_AGE",
        meaning="The age of the newest snapshot of each directory that the inventory wants kept (`snapshot_dirs`). It "
        "is critical when there is none, or when none may be made.",
        remedy="`bdops hdfs snapshot create --destination DIR`, and look why the schedule did not\n\n"
        "- None may be made: `bdops hdfs snapshot allow DIR`.\n"
        "- A snapshot is on the same disks as the data: it helps against mistakes, not against a fire. "
        "`bdops hdfs snapshot distcp` plans the copy to a second cluster.",
        judge=_age,
        needs=("backups",),
        thresholds=(AGE,),
    ),
    Check(
        code="HDFS_IMAGE_AGE",
        meaning="The age of the newest image of the NameNode in `image_dir`, by its checkpoint: an image that was "
        "fetched today of a checkpoint of last week is a week old.",
        remedy="`bdops hdfs snapshot image`; when it stays old, look why there are no checkpoints "
        "(HDFS_CHECKPOINT_AGE)",
        judge=_image_age,
        needs=("images",),
        thresholds=(AGE,),
    ),
    Check(
        code="HDFS_BACKUP_FAILED",
        meaning="A snapshot that bdops has made was deleted by somebody else, or the last image of the NameNode could "
        "not be fetched, or its file is damaged or gone.",
        remedy="`bdops hdfs snapshot list` names it; `bdops hdfs snapshot prune` takes note of it\n\n"
        "- Who deletes snapshots: the NameNode's audit log has `cmd=deleteSnapshot`.",
        judge=_failed,
        needs=("backups", "images"),
    ),
    Check(
        code="HDFS_BACKUP_PROVED_AGE",
        meaning="The age of the last drill that proved a snapshot, and of the last one that proved an image of the "
        "NameNode, where the inventory asks for these. Nothing is held against it unless `backup_proved_max_age_d` is "
        "in the inventory.",
        remedy="`bdops hdfs snapshot drill` restores a sample beside the data, compares, and cleans up; with "
        "`--destination image` a NameNode of its own loads an image.",
        judge=_proved,
        needs=("backups", "images"),
        thresholds=(PROVED_AGE,),
    ),
    Check(
        code="HDFS_SNAPSHOT_LIMIT",
        meaning="A directory has nearly as many snapshots as it may have (65,536 unless "
        "`dfs.namenode.snapshot.max.limit` says otherwise). With all of them the next one fails; and long before "
        "that every listing of a snapshot is slow.",
        remedy="`bdops hdfs snapshot prune --keep '24h 7d 4w 12m' --destination DIR`",
        judge=_snapshot_limit,
        needs=("backups",),
        thresholds=(Threshold("used", "%", 80, 95),),
    ),
)
