"""Files that are there whole or not at all: written beside their place, synced to the disk, then put into it.

The one way for files that somebody else may read meanwhile, or that must outlast a crash. Whoever is killed leaves the
file beside: `partial_of` knows it by its name.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from bdops.errors import OperationFailed

PRIVATE = 0o600
PARTIAL, RANDOM_BYTES = ".partial", 6
"""Of the name of a file that is being written: `.NAME.RANDOM.partial`."""
NAME_BYTES = 230
"""Of NAME, so that all of it is no longer than file systems take (255)."""


def replacing(path: Path, mode: int = PRIVATE) -> AbstractContextManager[BinaryIO]:
    """A new file to write, which takes the path's place at the end. On any error nothing has changed.

    `mode` are its permission bits, whatever was there. A link there is replaced, and not followed; what is neither a
    file nor leads to one, such as a device, stays, as does a link into /proc, such as /dev/stdout: FileExistsError.
    The folder must be there. Raises OSError.
    """
    return _written(path, mode, Path.replace)


def creating(path: Path, mode: int = PRIVATE) -> AbstractContextManager[BinaryIO]:
    """As `replacing`, of a file that is new: raises FileExistsError when it is there, even if only since the start."""
    return _written(path, mode, _link)


@contextmanager
def writing(path: Path, what: str) -> Iterator[BinaryIO]:
    """`replacing`, for a file that the user has named. Raises OperationFailed: `what` cannot be written, where, why."""
    try:
        with replacing(path) as file:
            yield file
    except OSError as e:
        raise OperationFailed(f"{what} cannot be written: {e.strerror or e}", where=str(path)) from None


def partial_of(name: str) -> str | None:
    """The name of the file that a file of this name is to become, or was when somebody was killed; None: none. Pure."""
    stem, _, random = name.removesuffix(PARTIAL).rpartition(".")
    is_one = name.startswith(".") and name.endswith(PARTIAL) and len(random) == 2 * RANDOM_BYTES
    return stem[1:] if is_one and len(stem) > 1 else None


def sync_folder(folder: Path) -> None:
    """Have names that were put into a folder, or taken out of it, on the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as e:
        # Some file systems (of a network, as a rule) sync no folders.
        if e.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _written(path: Path, mode: int, put: Callable[[Path, Path], object]) -> Iterator[BinaryIO]:
    _refuse_streams(path)
    name = os.fsencode(path.name)[:NAME_BYTES].decode(errors="ignore")
    temporary = path.with_name(f".{name}.{os.urandom(RANDOM_BYTES).hex()}{PARTIAL}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if mode != PRIVATE:
                os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        put(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _refuse_streams(path: Path) -> None:
    """/dev/stdout is a link into /proc, to a file where output goes to one: replaced, it is gone for everybody."""
    no_file = path.exists() and not path.is_file() and not path.is_dir()  # of a folder the system says it better
    ways = [path.parent.resolve(), *([path.parent / path.readlink()] if path.is_symlink() else [])]
    if no_file or any(way.is_relative_to("/proc") for way in ways):
        raise FileExistsError(errno.EEXIST, "it is there, and is no file", str(path))


def _link(temporary: Path, path: Path) -> None:
    """Unlike a rename, a second name never takes another file's place."""
    os.link(temporary, path)
    temporary.unlink()
