"""Where labs keep their state, their jars and their sockets."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from bdops.errors import ConfigError


def state_dir() -> Path:
    """The folder of everything that bdops remembers: `BDOPS_STATE_DIR`, else the user's state folder."""
    given = os.environ.get("BDOPS_STATE_DIR")
    if given:
        return Path(given).expanduser().absolute()
    from platformdirs import user_state_path

    return user_state_path("bdops")


def cache_dir() -> Path:
    """The folder of what can be fetched again (jars): `BDOPS_CACHE_DIR`, else the user's cache folder."""
    given = os.environ.get("BDOPS_CACHE_DIR")
    if given:
        return Path(given).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("bdops")


def labs_dir() -> Path:
    return state_dir() / "labs"


def runtime_dir(lab_folder: Path) -> Path:
    """The short folder of a lab's sockets and pid files: a socket's path may have 107 characters at the most."""
    key = hashlib.sha256(str(lab_folder).encode()).hexdigest()[:10]
    return Path(f"/tmp/bdops-{os.getuid()}-{key}")


def private_folder(path: Path) -> Path:
    """Create a folder that only its owner may enter.

    Raises ConfigError when it is there and somebody else's: in /tmp anybody can be first.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigError(
            f"{path} is not a folder of this user", hint=f"remove it: sudo rm -r {path}", code="LAB_FOLDER_FOREIGN"
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)
    return path
