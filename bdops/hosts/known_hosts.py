"""known_hosts: read once, and of its lines only those that may be about the host in question.

Format: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". paramiko's own loader is quadratic: 7 s for 4,000 lines.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from bdops.errors import ConfigError


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One line: a key (type and blob, as the wire has them) that is a host's, or `revoked`."""

    type: str
    blob: bytes
    revoked: bool = False


def marked_name(address: str, port: int) -> str:
    """What known_hosts calls a server: the address, or `[address]:port` off the standard port."""
    return address if port == 22 else f"[{address}]:{port}"


def known_keys(path: Path, address: str, port: int) -> tuple[KnownKey, ...]:
    """The keys that the file has for this server; none when the file does not exist.

    Raises ConfigError when it cannot be read. Lines that are damaged or about others are passed over;
    certificate authorities (`@cert-authority`) are not supported and vouch for nothing.
    """
    name = marked_name(address, port).lower()
    raw = name.encode()
    file = _read(path, _stamp(path))
    lines = [*file.by_name.get(raw, ()), *file.others]
    lines += [line for salt, digest, line in file.hashed if hmac.digest(salt, raw, "sha1") == digest]
    keys = (_key_of(line, name) for _, line in sorted(lines))
    return tuple(k for k in keys if k)


def fingerprint(blob: bytes) -> str:
    """`SHA256:...` as OpenSSH prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def accepting_command(path: Path, address: str, port: int) -> str:
    """The command that adds the server's present keys."""
    option = "" if port == 22 else f"-p {port} "
    return f"ssh-keyscan {option}{shlex.quote(address)} >> {shlex.quote(str(path))}"


def forgetting_command(path: Path, address: str, port: int) -> str:
    """The command that removes the keys that are known of the server."""
    return f"ssh-keygen -R {shlex.quote(marked_name(address, port))} -f {shlex.quote(str(path))}"


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise ConfigError(f"cannot read known_hosts: {e.strerror}", where=str(path)) from None
    return (stat.st_mtime_ns, stat.st_size)


Line = tuple[int, bytes]
"""A line with its number, which keeps the order."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file's lines by how to find those of a host: by its name as it is, by a hash of it, or by a closer look."""

    by_name: Mapping[bytes, list[Line]]
    hashed: list[tuple[bytes, bytes, Line]]
    others: list[Line]


@lru_cache(maxsize=16)
def _read(path: Path, stamp: tuple[int, int] | None) -> _File:
    """The file; read again only when its `stamp` is another."""
    if stamp is None:
        return _File({}, [], [])
    try:
        content = path.read_bytes()
    except OSError as e:
        raise ConfigError(f"cannot read known_hosts: {e.strerror}", where=str(path)) from None
    by_name: dict[bytes, list[Line]] = {}
    hashed: list[tuple[bytes, bytes, Line]] = []
    others: list[Line] = []
    for number, line in enumerate(content.splitlines()):
        names = line.split(None, 1)[0] if line.strip() else b"#"
        if names.startswith(b"#"):
            continue
        if names.startswith(b"|1|"):
            if parts := _salt_and_digest(names):
                hashed.append((*parts, (number, line)))
        elif names.startswith(b"@") or any(c in names for c in b"*?!"):
            others.append((number, line))
        else:
            for name in names.lower().split(b","):
                by_name.setdefault(name, []).append((number, line))
    return _File(by_name, hashed, others)


def _salt_and_digest(names: bytes) -> tuple[bytes, bytes] | None:
    """`|1|salt|digest`: the digest is the HMAC-SHA1 of the name."""
    try:
        _, _, salt, digest = names.split(b"|")
        return base64.b64decode(salt), base64.b64decode(digest)
    except ValueError:
        return None


def _key_of(line: bytes, name: str) -> KnownKey | None:
    """The key of a line that is about this host, None when it is not after all, or is damaged."""
    fields = line.decode("utf-8", "replace").split()
    marker = fields.pop(0) if fields[0].startswith("@") else None
    if len(fields) < 3 or marker not in (None, "@revoked"):
        return None
    names, kind, encoded = fields[:3]
    if names.startswith("|1|"):
        parts = _salt_and_digest(names.encode())
        if parts is None or hmac.digest(parts[0], name.encode(), "sha1") != parts[1]:
            return None
    elif not _names_match(names.lower(), name):
        return None
    try:
        return KnownKey(kind, base64.b64decode(encoded, validate=True), revoked=marker == "@revoked")
    except binascii.Error:
        return None


def _names_match(names: str, name: str) -> bool:
    """Patterns with * and ?; one that is negated (`!`) and matches rules the line out."""
    found = False
    for pattern in names.split(","):
        negated = pattern.startswith("!")
        # fnmatch would take the brackets of [address]:port for a set of characters.
        literal = pattern.removeprefix("!").replace("[", "[[]")
        if fnmatchcase(name, literal):
            if negated:
                return False
            found = True
    return found
