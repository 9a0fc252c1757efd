"""Being let in: the keys of the inventory or the usual ones, the agent's, then the password."""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bdops.core.model import Host, Ssh
from bdops.errors import NotAuthorised
from bdops.hosts.outcomes import PhaseTimeout, where

if TYPE_CHECKING:
    import paramiko

# Of the common public keys, those that are tried when the inventory names none.
_DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")


def authenticate(transport: paramiko.Transport, host: Host, timeout_s: float) -> None:
    """Try the inventory's keys (or the usual ones), the agent's, then the password, until one is accepted."""
    import paramiko

    user = host.ssh.user or getpass.getuser()
    deadline = time.monotonic() + timeout_s
    tried: list[str] = []
    for name, key in _keys(host.ssh, tried):
        if time.monotonic() > deadline:
            raise PhaseTimeout(host, "authentication", timeout_s)
        try:
            transport.auth_publickey(user, key)
        except paramiko.BadAuthenticationType as e:
            tried.append(f"{name}: the server takes only {', '.join(e.allowed_types)}")
            break
        except (paramiko.SSHException, OSError, EOFError) as e:
            if not transport.is_active():
                tried.append(f"{name}: the server closed the connection ({e})")
                break
            if "timeout" in str(e).lower():
                raise PhaseTimeout(host, "authentication", timeout_s) from None
            tried.append(f"{name}: not accepted")
        if transport.is_authenticated():
            return
    if host.ssh.password is not None and transport.is_active():
        _try_password(transport, host, user, tried)
    if not transport.is_authenticated():
        raise NotAuthorised(
            f"user {user} is not let in; "
            + ("; ".join(tried) if tried else "there is no key, agent or password to try"),
            where=where(host),
            hint=f"try: ssh -v -p {host.ssh.port} {user}@{host.address}; set ssh.user and ssh.keys in the inventory",
            code="SSH_AUTH",
        )


def _try_password(transport: paramiko.Transport, host: Host, user: str, tried: list[str]) -> None:
    import paramiko

    from bdops.hosts.secrets import reveal

    assert host.ssh.password is not None
    try:
        transport.auth_password(user, reveal(host.ssh.password))
    except (paramiko.SSHException, OSError, EOFError) as e:
        why = "not accepted" if isinstance(e, paramiko.AuthenticationException) else str(e)
        tried.append(f"the password from {host.ssh.password}: {why}")


def _keys(ssh: Ssh, tried: list[str]) -> Iterable[tuple[str, paramiko.PKey]]:
    """Keys with a name for people. A named key that cannot be read is told in `tried` and passed over."""
    import paramiko

    named = ssh.keys or tuple(k for k in _DEFAULT_KEYS if Path(k).expanduser().exists())
    for path in named:
        try:
            file = Path(path).expanduser()
            yield f"key {path}", _key(file, file.stat().st_mtime_ns)
        except (paramiko.PasswordRequiredException, TypeError):
            tried.append(f"key {path}: has a passphrase, which only an agent can give")
        except OSError as e:
            tried.append(f"key {path}: {e.strerror}")
        except (paramiko.SSHException, ValueError, paramiko.pkey.UnknownKeyType):
            tried.append(f"key {path}: not a private key that can be used (ed25519, ecdsa, rsa)")
    if ssh.agent:
        agent = paramiko.Agent()
        try:
            for key in agent.get_keys():
                yield f"agent key {key.comment or key.fingerprint}", key
        finally:
            agent.close()


@lru_cache(maxsize=64)
def _key(file: Path, stamp: int) -> paramiko.PKey:
    """A private key, read once for all hosts, and again when its file has another `stamp`. Raises as paramiko does."""
    import paramiko

    return paramiko.PKey.from_path(file)
