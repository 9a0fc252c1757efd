"""Small file systems for the full-disk faults: an image file mounted at a data folder. Only root can have them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bdops.errors import OperationFailed


def is_possible() -> bool:
    return os.getuid() == 0


def is_mounted(mount: Path) -> bool:
    return str(mount) in mounts()


def mounts() -> set[str]:
    """The mount points of this machine (blanks and the like are octal escapes in /proc/self/mounts)."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return {line.split()[1].encode().decode("unicode_escape") for line in lines}


def attach(image: Path, mount: Path, size_mb: int) -> None:
    """Mount the image, made and formatted if it is not there yet. Nothing happens when it is mounted."""
    if is_mounted(mount):
        return
    image.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mount.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not image.exists():
        fresh = image.with_suffix(".new")
        with fresh.open("wb") as file:
            file.truncate(size_mb * 2**20)  # sparse: takes only what is written
        # No blocks kept for root: a server of root must see the disk full like any other.
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(fresh))
        fresh.rename(image)
    _run("mount", "-o", "loop", str(image), str(mount))


def detach(mount: Path) -> None:
    """Unmount; nothing happens when it is not mounted."""
    if is_mounted(mount):
        _run("umount", str(mount))


def _run(*argv: str) -> None:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env={**os.environ, "PATH": path}
        )
    except FileNotFoundError as e:
        raise OperationFailed(f"{argv[0]} is missing", hint="apt-get install e2fsprogs mount") from e
    if done.returncode != 0:
        raise OperationFailed(f"`{' '.join(argv)}` failed: {done.stderr.strip() or done.stdout.strip()}")
