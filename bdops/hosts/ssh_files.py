"""SFTP on a host's connection: the few calls that files need, with deadlines and errors of ours."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bdops.core.model import Host
from bdops.errors import OperationFailed, Unreachable
from bdops.hosts.outcomes import PhaseTimeout, where
from bdops.hosts.ssh import SshPool

if TYPE_CHECKING:
    import paramiko

PIECE_BYTES = 32768
# Requests under way: 2 MiB of a file, whatever its size.
_AHEAD = 64
_ANSWER_S = 30.0


Kind = Literal["file", "folder", "link", "other"]
_KINDS: tuple[tuple[Callable[[int], bool], Kind], ...] = (
    (stat.S_ISREG, "file"), (stat.S_ISDIR, "folder"), (stat.S_ISLNK, "link"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RemoteStat:
    """What a path is. `mode` are its permission bits."""

    kind: Kind
    size_bytes: int
    mode: int
    uid: int
    gid: int


class Remote:
    """The files of one host. Every call raises OperationFailed (FILE_FAILED), or Unreachable when the host is gone."""

    def __init__(self, host: Host, client: paramiko.SFTPClient) -> None:
        self.host = host
        self._client = client

    def status(self, path: str, *, follow: bool = False) -> RemoteStat | None:
        """What is there, a link itself unless it is followed; None for nothing."""
        with self._told(path):
            try:
                found = self._client.stat(path) if follow else self._client.lstat(path)
            except FileNotFoundError:
                return None
        mode = found.st_mode or 0
        kind: Kind = next((kind for test, kind in _KINDS if test(mode)), "other")
        return RemoteStat(kind, found.st_size or 0, stat.S_IMODE(mode), found.st_uid or 0, found.st_gid or 0)

    def link(self, path: str) -> str:
        """Where a link leads."""
        with self._told(path):
            return self._client.readlink(path) or "nowhere"

    def size(self, path: str) -> int:
        """The size of a file, in bytes."""
        with self._told(path):
            return self._client.stat(path).st_size or 0

    def chmod(self, path: str, mode: int) -> None:
        """Set the permission bits."""
        with self._told(path):
            self._client.chmod(path, mode)

    def take_owner(self, path: str, other: RemoteStat) -> None:
        """Give the file the owner and group of another one, where they differ."""
        with self._told(path):
            mine = self._client.stat(path)
            if (mine.st_uid, mine.st_gid) != (other.uid, other.gid):
                self._client.chown(path, other.uid, other.gid)

    def remove(self, path: str) -> None:
        """Remove a file."""
        with self._told(path):
            self._client.remove(path)

    def write(self, path: str, pieces: Iterable[bytes], *, deadline: float) -> None:
        """Write a new file, 0600; an error when it is there. `deadline` is by time.monotonic."""
        with self._told(path), self._client.open(path, "wx") as file:
            self._client.chmod(path, 0o600)
            # Acknowledgements are read as they come, and not one by one.
            file.set_pipelined(True)
            for piece in pieces:
                self._check(deadline)
                file.write(piece)

    def read(self, path: str, size_bytes: int, *, deadline: float) -> Iterator[bytes]:
        """The first bytes of a file, in pieces."""
        with self._told(path), self._client.open(path, "rb") as file:
            # Not the whole file at once: paramiko would keep all that comes faster than it is taken.
            for start in range(0, size_bytes, _AHEAD * PIECE_BYTES):
                end = min(size_bytes, start + _AHEAD * PIECE_BYTES)
                wanted = [(at, min(PIECE_BYTES, end - at)) for at in range(start, end, PIECE_BYTES)]
                self._check(deadline)
                for piece in file.readv(wanted):
                    if not piece:
                        return
                    yield piece

    def _check(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise OperationFailed("the file did not get there in time", where=where(self.host), code="FILE_TIMEOUT")

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        import paramiko

        try:
            yield
        except TimeoutError:
            raise PhaseTimeout(self.host, "file transfer", _ANSWER_S) from None
        except (paramiko.SSHException, EOFError, ConnectionError) as e:
            raise _lost(self.host, e) from None
        except OSError as e:
            words = e.strerror or str(e) or type(e).__name__
            raise OperationFailed(f"{path}: {words}", where=where(self.host), code="FILE_FAILED") from None


def _lost(host: Host, error: Exception) -> Unreachable:
    why = str(error) or type(error).__name__
    return Unreachable(f"the connection was lost while files were copied: {why}", where=where(host), code="SSH_LOST")


@contextmanager
def open_remote(pool: SshPool, host: Host, *, timeout_s: float) -> Iterator[Remote]:
    """The files of a host, over its one connection. Raises what SshPool.run does on the way there."""
    import paramiko

    with pool.session(host, timeout_s=timeout_s) as transport:
        wait_s = min(timeout_s, _ANSWER_S)
        try:
            channel = transport.open_session(timeout=wait_s)
            channel.settimeout(wait_s)
            channel.invoke_subsystem("sftp")
            client = paramiko.SFTPClient(channel)
        except TimeoutError:
            raise PhaseTimeout(host, "sftp", wait_s) from None
        except (paramiko.SSHException, EOFError, OSError) as e:
            if not transport.is_active():
                raise _lost(host, e) from None
            hint = "`Subsystem sftp internal-sftp` in its sshd_config"
            raise OperationFailed("the host has no SFTP", where=where(host), hint=hint, code="FILE_NO_SFTP") from None
        try:
            yield Remote(host, client)
        finally:
            with suppress(Exception):
                client.close()
