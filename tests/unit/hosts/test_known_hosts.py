"""known_hosts, as sshd(8) has it, and at a size that must not matter."""

from __future__ import annotations

import base64
import hmac
import time
from pathlib import Path

import pytest

from bdops.errors import ConfigError
from bdops.hosts import known_hosts
from bdops.hosts.known_hosts import KnownKey, known_keys

A = b"\x00\x00\x00\x0bssh-ed25519A"
B = b"\x00\x00\x00\x0bssh-ed25519B"
KEY_A, KEY_B = (base64.b64encode(k).decode() for k in (A, B))


def hashed(name: str, salt: bytes = b"0123456789abcdefghij") -> str:
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def keys(tmp_path: Path, text: str, address: str = "10.0.0.1", port: int = 22) -> tuple[KnownKey, ...]:
    path = tmp_path / "known_hosts"
    path.write_text(text)
    return known_keys(path, address, port)


@pytest.mark.parametrize(
    ("names", "address", "port", "found"),
    [
        ("10.0.0.1", "10.0.0.1", 22, True),
        ("10.0.0.1", "10.0.0.10", 22, False),
        ("10.0.0.10", "10.0.0.1", 22, False),
        ("node1,10.0.0.1", "10.0.0.1", 22, True),
        ("NODE1.example.com", "node1.Example.com", 22, True),
        ("10.0.0.1", "10.0.0.1", 2222, False),
        ("[10.0.0.1]:2222", "10.0.0.1", 2222, True),
        ("[10.0.0.1]:2222", "10.0.0.1", 22, False),
        ("[2001:db8::1]:2222", "2001:db8::1", 2222, True),
        ("10.0.0.*", "10.0.0.1", 22, True),
        ("10.0.0.?", "10.0.0.11", 22, False),
        ("10.0.0.*,!10.0.0.1", "10.0.0.1", 22, False),
        ("!10.0.0.1,10.0.0.*", "10.0.0.2", 22, True),
        ("[*]:2222", "10.0.0.1", 2222, True),
        (hashed("10.0.0.1"), "10.0.0.1", 22, True),
        (hashed("10.0.0.1"), "10.0.0.2", 22, False),
        (hashed("[10.0.0.1]:2222"), "10.0.0.1", 2222, True),
        (hashed("10.0.0.1"), "10.0.0.1", 2222, False),
    ],
)
def test_a_line_is_about_the_hosts_that_it_names(
    tmp_path: Path, names: str, address: str, port: int, found: bool
) -> None:
    assert bool(keys(tmp_path, f"{names} ssh-ed25519 {KEY_A} a comment\n", address, port)) == found


def test_all_keys_of_a_host_are_found_in_order(tmp_path: Path) -> None:
    text = (
        f"# comment\n\n10.0.0.1 ssh-ed25519 {KEY_A}\nother ssh-ed25519 {KEY_A}\n{hashed('10.0.0.1')} ssh-rsa {KEY_B}\n"
    )
    assert keys(tmp_path, text) == (KnownKey("ssh-ed25519", A), KnownKey("ssh-rsa", B))


def test_a_revoked_key_is_told_apart(tmp_path: Path) -> None:
    assert keys(tmp_path, f"@revoked * ssh-ed25519 {KEY_A}\n") == (KnownKey("ssh-ed25519", A, revoked=True),)


def test_a_certificate_authority_vouches_for_nothing(tmp_path: Path) -> None:
    assert keys(tmp_path, f"@cert-authority * ssh-ed25519 {KEY_A}\n") == ()


@pytest.mark.parametrize(
    "line",
    ["10.0.0.1", "10.0.0.1 ssh-ed25519", "10.0.0.1 ssh-ed25519 !!!", "|1|x|y ssh-rsa AAAA", "|1|", "@revoked", "\xff"],
)
def test_a_damaged_line_is_passed_over(tmp_path: Path, line: str) -> None:
    assert keys(tmp_path, f"{line}\n10.0.0.1 ssh-ed25519 {KEY_A}\n") == (KnownKey("ssh-ed25519", A),)


def test_a_file_that_does_not_exist_knows_nobody(tmp_path: Path) -> None:
    assert known_keys(tmp_path / "absent", "10.0.0.1", 22) == ()


def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        known_keys(tmp_path, "10.0.0.1", 22)


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    assert keys(tmp_path, f"10.0.0.1 ssh-ed25519 {KEY_A}\n") == (KnownKey("ssh-ed25519", A),)
    assert keys(tmp_path, f"10.0.0.1 ssh-ed25519 {KEY_B}\n# longer\n") == (KnownKey("ssh-ed25519", B),)


def test_sixty_hosts_in_eight_thousand_lines_take_a_moment_only(tmp_path: Path) -> None:
    plain = [f"10.1.{i // 250}.{i % 250} ssh-ed25519 {KEY_B}" for i in range(4000)]
    salted = [f"{hashed(f'10.2.{i // 250}.{i % 250}', str(i).encode())} ssh-ed25519 {KEY_B}" for i in range(4000)]
    path = tmp_path / "known_hosts"
    path.write_text("\n".join([*plain, *salted]) + "\n")
    started = time.process_time()
    for i in range(60):
        assert len(known_keys(path, f"10.2.0.{i}", 22)) == 1
    # paramiko's own loader takes 7 s for the plain half, once.
    assert time.process_time() - started < 3


def test_the_commands_name_the_port_and_the_file() -> None:
    path = Path("/home/op/my known_hosts")
    assert known_hosts.accepting_command(path, "10.0.0.1", 2222) == (
        "ssh-keyscan -p 2222 10.0.0.1 >> '/home/op/my known_hosts'"
    )
    assert known_hosts.accepting_command(path, "10.0.0.1", 22).startswith("ssh-keyscan 10.0.0.1 ")
    assert known_hosts.forgetting_command(path, "10.0.0.1", 2222) == (
        "ssh-keygen -R '[10.0.0.1]:2222' -f '/home/op/my known_hosts'"
    )


def test_the_fingerprint_is_openssh_s() -> None:
    # printf '' | openssl dgst -sha256 -binary | base64
    assert known_hosts.fingerprint(b"") == "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
