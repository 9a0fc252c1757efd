"""How backups stand, for checks: read in a few calls."""

from __future__ import annotations

from dataclasses import replace

from bdops.components.backup_standing import Backups, read_folder
from bdops.components.hdfs.namenode import NameNode
from bdops.components.hdfs.settings import Settings
from bdops.components.hdfs.snapshot import calls
from bdops.components.hdfs.snapshot.catalogue import Catalogue, records
from bdops.components.hdfs.state import BackupPolicy, DirectoryBackups
from bdops.core.backups import newest_good, newest_proved
from bdops.core.model import Deployment


def policy_of(settings: Settings) -> BackupPolicy:
    """What the inventory asks for."""
    return BackupPolicy(
        directories=settings.snapshot_dirs,
        max_age_h=settings.snapshot_max_age_h,
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


def image_backups(deployment: Deployment, *, timeout_s: float) -> Backups:
    """The images in the inventory's folder on this machine. Never raises: why not is in the answer."""
    settings = deployment.settings
    return read_folder(settings.image_dir, settings.image_max_age_h, deployment, timeout_s=timeout_s)
