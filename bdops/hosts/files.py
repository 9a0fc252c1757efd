"""Files to and from hosts: whole or not at all, proved by their checksum, and left alone when they are equal.

A push writes a temporary file beside the target and renames it over the target once its content is proved and on the
disk; a pull does the same here. What travels is streamed in pieces.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bdops.core.model import Host
from bdops.errors import OperationFailed, UsageError
from bdops.files import replacing
from bdops.hosts.outcomes import where
from bdops.hosts.ssh import SshPool
from bdops.hosts.ssh_files import PIECE_BYTES, Remote, RemoteStat, open_remote

Change = Literal["changed", "unchanged"]

# Parameters: the file, how many bytes of it count. Nothing is printed where there is no sha256sum.
_SUM = 'head -c "$2" <"$1" | sha256sum 2>/dev/null'
# Parameters: the temporary file, its size, its checksum, the target. What is in its place by now is replaced whole.
_FINISH = """\
sum=$(head -c "$2" <"$1" | sha256sum 2>/dev/null)
case ${sum%% *} in "$3" | '') ;; *) echo "checksum ${sum%% *}"; exit 0 ;; esac
sync "$1" 2>/dev/null || sync
if [ -h "$4" ] || [ -d "$4" ]; then echo "target"; exit 0; fi
mv -f "$1" "$4" || exit
sync "${4%/*}/" 2>/dev/null
echo "done ${sum%% *}"
"""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of this machine as it was when it was read. `mode` are its permission bits."""

    path: Path
    size_bytes: int
    sha256: str
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What came of one file and one host. `verified`: by its checksum; else by its size alone."""

    change: Change
    path: str
    size_bytes: int
    verified: bool


def local_file(path: Path) -> LocalFile:
    """The file with its checksum. Raises UsageError when it cannot be read or is not a regular file."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"{path} is not a regular file", code="FILE_LOCAL")
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise UsageError(f"cannot read {path}: {e.strerror}", code="FILE_LOCAL") from None
    return LocalFile(path, status.st_size, digest, stat.S_IMODE(status.st_mode) & 0o777)


def push(
    pool: SshPool,
    host: Host,
    source: LocalFile,
    target: str,
    *,
    mode: int | None,
    timeout_s: float,
    dry_run: bool = False,
) -> Copied:
    """Make `target` (an absolute path, or a folder to put it into) on the host equal to the source.

    The mode is `mode`, else the one of the file that is replaced, else the source's; a file that is replaced keeps its
    owner. With `dry_run` nothing is written, and `changed` is what would be. Raises what SshPool.run does and
    OperationFailed: FILE_LINK, FILE_TARGET, FILE_CHECKSUM, FILE_FAILED.
    """
    end = time.monotonic() + timeout_s
    with open_remote(pool, host, timeout_s=timeout_s) as remote:
        path, there = _target(remote, source, target)
        wanted = mode if mode is not None else there.mode if there else source.mode
        if there and there.size_bytes == source.size_bytes:
            same = _remote_sum(pool, host, path, source.size_bytes, end) == source.sha256
            if same and there.mode == wanted:
                return Copied(change="unchanged", path=path, size_bytes=source.size_bytes, verified=True)
            if same:
                if not dry_run:
                    remote.chmod(path, wanted)
                return Copied(change="changed", path=path, size_bytes=source.size_bytes, verified=True)
        if dry_run:
            return Copied(change="changed", path=path, size_bytes=source.size_bytes, verified=False)
        verified = _upload(pool, host, remote, source, path, wanted, there, end)
    return Copied(change="changed", path=path, size_bytes=source.size_bytes, verified=verified)


def _target(remote: Remote, source: LocalFile, target: str) -> tuple[str, RemoteStat | None]:
    """The target file's path, and what is there. A link is refused: what it leads to may be anywhere."""
    if not target.startswith("/"):
        raise UsageError(f"the target {target!r} is not an absolute path")
    path = target
    there = remote.status(path)
    if there and there.kind == "link" and (behind := remote.status(path, follow=True)) and behind.kind == "folder":
        there = behind
    if target.endswith("/") or (there and there.kind == "folder"):
        path = posixpath.join(target, source.path.name)
        there = remote.status(path)
    if there and there.kind == "link":
        raise OperationFailed(
            f"{path} is a link to {remote.link(path)}",
            where=where(remote.host),
            hint="push to where it leads, or remove it",
            code="FILE_LINK",
        )
    if there and there.kind != "file":
        raise OperationFailed(f"{path} is there and is not a file", where=where(remote.host), code="FILE_TARGET")
    return path, there


def _upload(
    pool: SshPool,
    host: Host,
    remote: Remote,
    source: LocalFile,
    path: str,
    mode: int,
    there: RemoteStat | None,
    end: float,
) -> bool:
    """Write, prove, rename. Tells whether the checksum was compared."""
    temporary = posixpath.join(
        posixpath.dirname(path), f".{posixpath.basename(path)[:200]}.bdops-{os.urandom(6).hex()}"
    )
    try:
        remote.write(temporary, _pieces(source.path), deadline=end)
        if (size := remote.size(temporary)) != source.size_bytes:
            raise _changed_meanwhile(host, f"{size} bytes arrived, and {source.path} had {source.size_bytes}")
        if there:
            remote.take_owner(temporary, there)
        remote.chmod(temporary, mode)
        argv = ("sh", "-c", _FINISH, "bdops-push", temporary, str(source.size_bytes), source.sha256, path)
        done = pool.run(host, argv, timeout_s=max(0.1, end - time.monotonic()))
    finally:
        # It is gone when all went well.
        with suppress(Exception):
            remote.remove(temporary)
    said, _, digest = done.stdout.strip().partition(" ")
    if said == "checksum":
        raise _changed_meanwhile(host, f"the checksum is {digest}, and {source.sha256} was wanted")
    if said == "target":
        raise OperationFailed(f"{path} became a link or a folder meanwhile", where=where(host), code="FILE_TARGET")
    if said != "done":
        why = done.stderr.strip() or f"exit {done.exit_status}"
        raise OperationFailed(f"{path} could not be put in place: {why}", where=where(host), code="FILE_FAILED")
    return bool(digest)


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from iter(lambda: file.read(PIECE_BYTES), b"")
    except OSError as e:
        raise UsageError(f"cannot read {path}: {e.strerror}", code="FILE_LOCAL") from None


def pull(pool: SshPool, host: Host, source: str, folder: Path, *, timeout_s: float) -> Copied:
    """Make `folder`/NAME here equal to the host's file `source`; one that grows is cut at its present end.

    Raises what SshPool.run does, OperationFailed (FILE_MISSING, FILE_TARGET, FILE_CHECKSUM, FILE_FAILED), and
    UsageError (FILE_LOCAL) when nothing can be written here.
    """
    if not source.startswith("/") or source.endswith("/"):
        raise UsageError(f"{source!r} is not the absolute path of a file")
    end = time.monotonic() + timeout_s
    path = folder / posixpath.basename(source)
    with open_remote(pool, host, timeout_s=timeout_s) as remote:
        there = remote.status(source, follow=True)
        if there is None:
            raise OperationFailed(f"there is no {source}", where=where(host), code="FILE_MISSING")
        if there.kind != "file":
            raise OperationFailed(f"{source} is not a file", where=where(host), code="FILE_TARGET")
        size = there.size_bytes
        theirs = _remote_sum(pool, host, source, size, end)
        if theirs and _is_equal(path, size, theirs):
            return Copied(change="unchanged", path=str(path), size_bytes=size, verified=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, there.mode & 0o777) as copy:
                digest = hashlib.sha256()
                got = 0
                for piece in remote.read(source, size, deadline=end):
                    digest.update(piece)
                    got += copy.write(piece)
                if got != size or (theirs and digest.hexdigest() != theirs):
                    raise _changed_meanwhile(host, f"{source} changed while it was read")
        except OSError as e:
            raise UsageError(f"cannot write {path}: {e.strerror}", code="FILE_LOCAL") from None
    return Copied(change="changed", path=str(path), size_bytes=size, verified=bool(theirs))


def _is_equal(path: Path, size_bytes: int, sha256: str) -> bool:
    with suppress(OSError, UsageError):
        return not path.is_symlink() and path.stat().st_size == size_bytes and local_file(path).sha256 == sha256
    return False


def _remote_sum(pool: SshPool, host: Host, path: str, size_bytes: int, end: float) -> str | None:
    """The checksum of the file's first bytes, by the host; None where it has no sha256sum."""
    argv = ("sh", "-c", _SUM, "bdops-sum", path, str(size_bytes))
    done = pool.run(host, argv, timeout_s=max(0.1, end - time.monotonic()))
    match = re.match(r"\\?([0-9a-f]{64})\b", done.stdout)
    return match[1] if match else None


def _changed_meanwhile(host: Host, why: str) -> OperationFailed:
    return OperationFailed(
        f"the copy is not what was to be copied: {why}",
        where=where(host),
        hint="the file changed meanwhile, or was damaged on its way; nothing was replaced: try again",
        code="FILE_CHECKSUM",
    )
