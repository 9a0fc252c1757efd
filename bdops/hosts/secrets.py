"""Reveals secrets at the moment of use. The value is returned and nothing else: it is in no error and no log."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from bdops.core.model import SecretRef
from bdops.errors import ConfigError

COMMAND_TIMEOUT_S = 30.0
"""A password manager may have to ask a person or a server."""

MAX_SECRET_BYTES = 64 * 1024


def reveal(ref: SecretRef, *, command_timeout_s: float = COMMAND_TIMEOUT_S) -> str:
    """The secret that `ref` refers to, less one trailing newline.

    Raises ConfigError (code SECRET_UNAVAILABLE) when it is not there, is empty, or its file may be read by
    everyone. A command's own words go to stderr, never into the error.
    """
    if ref.file is not None:
        value = _of_file(ref.file)
    elif ref.env is not None:
        value = _of_environment(ref.env)
    elif ref.keyring is not None:
        value = _of_keyring(ref.keyring)
    elif ref.command:
        value = _of_command(ref.command, command_timeout_s)
    else:
        raise _error("a secret's reference names no source", "in the inventory", "give file, env, keyring or command")
    if not value:
        raise _error("the secret is empty", str(ref))
    return value


def _of_file(name: str) -> str:
    path = Path(name).expanduser()
    try:
        # Not blocking: a pipe in place of the file must not hang the command.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as e:
        raise _error(f"cannot read the secret's file: {e.strerror}", str(path)) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _error("the secret's file is not a regular file", str(path))
        if status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
            mode = stat.S_IMODE(status.st_mode)
            raise _error(f"the secret's file is open to others (mode {mode:04o})", str(path), f"chmod 600 {path}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            raw = file.read(MAX_SECRET_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(raw) > MAX_SECRET_BYTES:
        raise _error(f"the secret's file is larger than {MAX_SECRET_BYTES // 1024} KiB", str(path))
    return _text(raw, str(path))


def _of_environment(name: str) -> str:
    if name not in os.environ:
        raise _error("the secret's environment variable is not set", f"env {name}", f"export {name}=...")
    return os.environ[name]


def _of_keyring(name: str) -> str:
    service, slash, user = name.rpartition("/")
    if not slash or not service or not user:
        raise _error("a keyring reference is SERVICE/USER", f"keyring {name}")
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise _error(
            "the secret is in a keyring, and the keyring library is not installed",
            f"keyring {name}",
            "pip install 'bdops[keyring]'",
        ) from None
    try:
        value = keyring.get_password(service, user)
    except keyring.errors.KeyringError as e:
        raise _error(f"the keyring cannot be used: {type(e).__name__}", f"keyring {name}") from None
    if value is None:
        raise _error("the secret is not in the keyring", f"keyring {name}", f"keyring set {service} {user}")
    return str(value)


def _of_command(argv: tuple[str, ...], timeout_s: float) -> str:
    where = f"command {argv[0]}"
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=timeout_s, check=False)
    except FileNotFoundError:
        raise _error("the command that prints the secret does not exist", where) from None
    except OSError as e:
        raise _error(f"the command that prints the secret cannot be run: {e.strerror}", where) from None
    except subprocess.TimeoutExpired:
        raise _error(f"the command that prints the secret did not end within {timeout_s:g} s", where) from None
    if done.returncode != 0:
        end = f"exit code {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise _error(f"the command that prints the secret failed with {end}", where, "run it by hand")
    return _text(done.stdout, where)


def _text(raw: bytes, where: str) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise _error("the secret is not UTF-8 text", where) from None
    return text.removesuffix("\n").removesuffix("\r")


def _error(message: str, where: str, hint: str | None = None) -> ConfigError:
    return ConfigError(message, where=where, hint=hint, code="SECRET_UNAVAILABLE")
