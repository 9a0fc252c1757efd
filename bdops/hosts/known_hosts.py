"""known_hosts: read once, and of its lines only those that may be about the host in question.

Format: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". paramiko's own loader is quadratic: 7 s for 4,000 lines.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import shlex
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
    keys = []
    for line in _lines(path, _stamp(path)):
        if line.startswith(b"|1|"):
            if not _hash_matches(line, name.encode()):
                continue
        elif not _may_be_about(line, name):
            continue
        if key := _key_of(line.decode("utf-8", "replace"), name):
            keys.append(key)
    return tuple(keys)


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


@lru_cache(maxsize=16)
def _lines(path: Path, stamp: tuple[int, int] | None) -> tuple[bytes, ...]:
    """The file's lines that have a key in them; read again only when its `stamp` is another."""
    if stamp is None:
        return ()
    try:
        content = path.read_bytes()
    except OSError as e:
        raise ConfigError(f"cannot read known_hosts: {e.strerror}", where=str(path)) from None
    stripped = (line.strip() for line in content.splitlines())
    return tuple(line for line in stripped if line and not line.startswith(b"#"))


def _may_be_about(line: bytes, name: str) -> bool:
    """A cheap look: a name is in its line as it is, unless the line is hashed, marked or has wildcards."""
    names = line.split(None, 1)[0]
    return line.startswith(b"@") or b"*" in names or b"?" in names or name.encode() in names.lower()


def _hash_matches(line: bytes, name: bytes) -> bool:
    """`|1|salt|hash`: HMAC-SHA1 of the name."""
    parts = line.split(None, 1)[0].split(b"|")
    if len(parts) != 4:
        return False
    try:
        salt, digest = base64.b64decode(parts[2]), base64.b64decode(parts[3])
    except binascii.Error:
        return False
    return hmac.compare_digest(hmac.digest(salt, name, "sha1"), digest)


def _key_of(line: str, name: str) -> KnownKey | None:
    fields = line.split()
    marker = fields.pop(0) if fields[0].startswith("@") else None
    if len(fields) < 3 or marker not in (None, "@revoked"):
        return None
    names, kind, encoded = fields[:3]
    if names.startswith("|1|"):
        if not _hash_matches(names.encode(), name.encode()):
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
