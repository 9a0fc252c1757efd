"""What an ssh_config file says of a host, in a declared subset of ssh_config(5). Pure but for reading the file.

An option that would change the connection and that bdops does not have is an error with its line when its block
applies to the host: a connection made otherwise than the file says is worse than none.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from bdops.errors import ConfigError

SUPPORTED = (
    "Host", "HostName", "User", "Port", "IdentityFile", "IdentitiesOnly", "IdentityAgent", "ProxyJump",
    "UserKnownHostsFile", "ConnectTimeout",
)  # fmt: skip

# What cannot matter to a command without a terminal or forwarding, on a connection of our own.
_IGNORED = frozenset({
    "addkeystoagent", "batchmode", "checkhostip", "clearallforwardings", "compression", "connectionattempts",
    "controlmaster", "controlpath", "controlpersist", "dynamicforward", "enableescapecommandline", "escapechar",
    "exitonforwardfailure", "fingerprinthash", "forkafterauthentication", "forwardagent", "forwardx11",
    "forwardx11timeout", "forwardx11trusted", "gatewayports", "hashknownhosts", "ipqos", "localcommand",
    "localforward", "loglevel", "logverbose", "nohostauthenticationforlocalhost", "numberofpasswordprompts",
    "permitlocalcommand", "permitremoteopen", "remoteforward", "requesttty", "sendenv", "serveralivecountmax",
    "serveraliveinterval", "sessiontype", "stdinnull", "streamlocalbindmask", "streamlocalbindunlink",
    "syslogfacility", "tcpkeepalive", "updatehostkeys", "usekeychain", "visualhostkey", "xauthlocation",
})  # fmt: skip
# Options that bdops does not have, at a value that says what it does anyway.
_AS_WE_DO = {
    "stricthostkeychecking": {"yes", "ask"},
    "pubkeyauthentication": {"yes"},
    "proxycommand": {"none"},
    "canonicalizehostname": {"no"},
    "addressfamily": {"any"},
    "globalknownhostsfile": {"none", "/dev/null"},
    "gssapiauthentication": {"no"},
    "hostbasedauthentication": {"no"},
    "kbdinteractiveauthentication": {"no"},
    "challengeresponseauthentication": {"no"},
    "passwordauthentication": {"no"},
    "verifyhostkeydns": {"no"},
    "tunnel": {"no"},
}


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    key: str
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """The option as people write it."""
        return next((each for each in SUPPORTED if each.lower() == self.key), self.key)


@dataclass(frozen=True, slots=True)
class _Block:
    """The lines under one `Host` or `Match`, which is its head; None: what stands before the first of either."""

    head: _Line | None
    lines: tuple[_Line, ...]


def settings_of(path: Path, word: str) -> Mapping[str, Any]:
    """What the file says of `ssh WORD`: `address`, and fields of `bdops.core.model.Ssh`; only what is said.

    Raises ConfigError (code SSH_CONFIG) with file and line for a file that cannot be read or is wrong, and for
    what is not supported in a block that applies.
    """
    found: dict[str, Any] = {}
    keys: list[tuple[_Line, str]] = []
    known: _Line | None = None
    only_keys: bool | None = None
    for line in _applying(path, word):
        if line.key in _IGNORED:
            continue
        if line.key in _AS_WE_DO:
            if not (line.words and line.words[0].lower() in _AS_WE_DO[line.key]):
                raise _unsupported(path, line)
            continue
        value = _value(path, line)
        match line.key:
            case "hostname":
                found.setdefault("address", _filled(path, line, value, {"h": word}).lower())
            case "user":
                found.setdefault("user", value)
            case "port":
                found.setdefault("port", _number(path, line, value, 65535))
            case "identityfile":
                keys.append((line, value))
            case "identitiesonly":
                only_keys = _flag(path, line, value) if only_keys is None else only_keys
            case "identityagent":
                if value not in ("none", "SSH_AUTH_SOCK", "$SSH_AUTH_SOCK"):
                    raise _unsupported(path, line, "only none and SSH_AUTH_SOCK are: export SSH_AUTH_SOCK instead")
                found.setdefault("agent", value != "none")
            case "proxyjump":
                if "," in value:
                    raise _unsupported(path, line, "name the nearest jump host, and give it a ProxyJump of its own")
                found.setdefault("jump", None if value == "none" else value.removeprefix("ssh://"))
            case "userknownhostsfile":
                if len(line.words) > 1:
                    raise _unsupported(path, line, "one file is")
                known = known or line
            case "connecttimeout":
                if value != "none":
                    found.setdefault("connect_timeout_s", float(_number(path, line, value, 600)))
            case _:
                raise _unsupported(path, line)
    words = {
        "h": found.get("address", word),
        "n": word,
        "r": found.get("user", "") or getpass.getuser(),
        "p": str(found.get("port", 22)),
    }
    if keys:
        named = [(line, value) for line, value in keys if value != "none"]
        found["keys"] = tuple(dict.fromkeys(_filled(path, line, value, words) for line, value in named))
    if known:
        found["known_hosts"] = _filled(path, known, known.words[0], words)
    if only_keys:
        # An agent that has the very keys could sign with them; bdops reads them from their files.
        found["agent"] = False
    return found


def _applying(path: Path, word: str) -> Iterator[_Line]:
    """The lines of the blocks that apply to the host, in the file's order: of one option the first counts."""
    for block in _read(path, _stamp(path)):
        if block.head is None or (block.head.key == "host" and _matches(block.head.words, word)):
            yield from block.lines
        elif block.head.key == "match":
            if tuple(w.lower() for w in block.head.words) != ("all",):
                raise _unsupported(path, block.head, "only `Match all` is: write it as a `Host` block")
            yield from block.lines


def _matches(patterns: Sequence[str], word: str) -> bool:
    """ssh_config(5), PATTERNS: * and ?; one that is negated and matches rules the block out."""
    found = False
    for pattern in patterns:
        literal = pattern.removeprefix("!").replace("[", "[[]")
        if fnmatchcase(word, literal):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as e:
        raise ConfigError(f"cannot read the ssh_config: {e.strerror}", where=str(path), code="SSH_CONFIG") from None
    return (stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _read(path: Path, stamp: tuple[int, int]) -> tuple[_Block, ...]:
    """The file's blocks; read again only when its `stamp` is another."""
    try:
        text = path.read_text()
    except OSError as e:
        raise ConfigError(f"cannot read the ssh_config: {e.strerror}", where=str(path), code="SSH_CONFIG") from None
    except UnicodeDecodeError:
        raise ConfigError("the ssh_config is not UTF-8 text", where=str(path), code="SSH_CONFIG") from None
    blocks: list[tuple[_Line | None, list[_Line]]] = [(None, [])]
    for number, raw in enumerate(text.splitlines(), start=1):
        line = _parsed(path, number, raw)
        if line is None:
            continue
        if line.key in ("host", "match"):
            blocks.append((line, []))
        else:
            blocks[-1][1].append(line)
    return tuple(_Block(head, tuple(lines)) for head, lines in blocks)


_OPTION = re.compile(r"\s*([A-Za-z0-9]+)(?:\s*=\s*|\s+)(.*)")
_WORD = re.compile(r'"([^"]*)"|([^\s"]+)')


def _parsed(path: Path, number: int, raw: str) -> _Line | None:
    """`Option value ...` or `Option=value`; values may be quoted. None for an empty line or a comment."""
    text = raw.strip()
    if not text or text.startswith("#"):
        return None
    match = _OPTION.fullmatch(text)
    words: list[str] = []
    rest = match[2] if match else ""
    while rest := rest.strip():
        word = _WORD.match(rest)
        if word is None:
            raise ConfigError(f"no end of the quotation: {text}", where=f"{path}:{number}", code="SSH_CONFIG")
        if word[2] and word[2].startswith("#"):
            break
        words.append(word[1] if word[2] is None else word[2])
        rest = rest[word.end() :]
    if match is None or not words:
        raise ConfigError(f"expected an option and its value: {text}", where=f"{path}:{number}", code="SSH_CONFIG")
    return _Line(number, match[1].lower(), tuple(words))


def _value(path: Path, line: _Line) -> str:
    if line.key != "userknownhostsfile" and len(line.words) > 1 and line.name in SUPPORTED:
        raise ConfigError(f"{line.name} takes one value", where=f"{path}:{line.number}", code="SSH_CONFIG")
    return line.words[0]


def _number(path: Path, line: _Line, value: str, most: int) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= most:
        raise ConfigError(
            f"{line.name} {value}: expected a number from 1 to {most}",
            where=f"{path}:{line.number}",
            code="SSH_CONFIG",
        )
    return int(value)


def _flag(path: Path, line: _Line, value: str) -> bool:
    if value.lower() not in ("yes", "no"):
        raise ConfigError(f"{line.name} {value}: expected yes or no", where=f"{path}:{line.number}", code="SSH_CONFIG")
    return value.lower() == "yes"


_TOKEN = re.compile(r"%(.?)|\$\{")


def _filled(path: Path, line: _Line, value: str, words: Mapping[str, str]) -> str:
    """The value with its %-tokens and ~ filled in: those that we know, of ssh_config(5), TOKENS."""
    known = {"%": "%", "d": str(Path.home()), "u": getpass.getuser(), **words}

    def token(match: re.Match[str]) -> str:
        if match[1] is None or match[1] not in known:
            where = f"{path}:{line.number}"
            hint = f"known: {' '.join(f'%{each}' for each in sorted(known))}"
            raise ConfigError(f"{line.name}: {match[0]} cannot be filled in", where=where, hint=hint, code="SSH_CONFIG")
        return known[match[1]]

    filled = _TOKEN.sub(token, value)
    return str(Path(filled).expanduser()) if filled.startswith("~") else filled


def _unsupported(path: Path, line: _Line, hint: str | None = None) -> ConfigError:
    return ConfigError(
        f"the ssh_config says {line.name} {' '.join(line.words)}, which bdops does not support",
        where=f"{path}:{line.number}",
        hint=hint or f"supported: {', '.join(SUPPORTED)}",
        code="SSH_CONFIG",
    )
