"""How backups stand, for checks: read in a few calls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bdops.components.backup_files import BackupFolder
from bdops.components.hdfs.namenode import NameNode
from bdops.components.hdfs.settings import Settings
from bdops.components.hdfs.snapshot import calls
from bdops.components.hdfs.snapshot.catalogue import Catalogue, records
from bdops.components.hdfs.state import BackupPolicy, DirectoryBackups, ImageBackups
from bdops.core.backups import newest_good, newest_proved
from bdops.core.model import Deployment


def policy_of(settings: Settings) -> BackupPolicy:
    """What the inventory asks for."""
    return BackupPolicy(
        directories=settings.snapshot_dirs,
        max_age_h=settings.snapshot_max_age_h,
        image_max_age_h=settings.image_max_age_h,
        proved_max_age_d=settings.backup_proved_max_age_d,
    )


def directory_backups(namenode: NameNode, settings: Settings) -> tuple[DirectoryBackups, ...]:
    """Every directory of which snapshots may be made, and those that the inventory wants some of. Raises BdopsError."""
    roots = {r.path: r for r in calls.snapshot_roots(namenode)}
    found = {r.path: DirectoryBackups(path=r.path, snapshots=r.snapshots, limit=r.limit) for r in roots.values()}
    for path in settings.snapshot_dirs:
        root = roots.get(path)
        if root is None:
            found[path] = DirectoryBackups(path=path)
            continue
        notes = Catalogue(settings.snapshot_catalogue, root).read(namenode)
        known = records(root, calls.snapshots_of(namenode, path), notes)
        newest, proved = newest_good(known), newest_proved(known)
        found[path] = replace(
            found[path],
            newest=newest.id if newest else None,
            newest_at=newest.taken_at if newest else None,
            proved_at=proved.proved_at if proved else None,
            gone=tuple(sorted(r.id for r in known if not r.good)),
        )
    return tuple(found.values())


def image_backups(deployment: Deployment) -> ImageBackups:
    """The images in the inventory's folder on this machine. Raises ConfigError when it cannot be read."""
    folder = deployment.settings.image_dir
    if folder is None:
        return ImageBackups()
    known = BackupFolder(Path(folder).expanduser(), "hdfs", deployment.cluster).records()
    newest = newest_good(known)
    last = max(known, key=lambda r: (r.state.get("fetched_at") or r.taken_at.isoformat(), r.id), default=None)
    return ImageBackups(
        folder=folder,
        images=sum(r.good for r in known),
        newest=newest.id if newest else None,
        newest_at=newest.taken_at if newest else None,
        failed=f"{last.id}: {last.error}" if last and not last.good else None,
    )
