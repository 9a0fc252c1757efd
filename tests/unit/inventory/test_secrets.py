"""Secrets by reference: each source, and what is said when it does not give one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from bdops.core.model import SecretRef
from bdops.errors import ConfigError
from bdops.hosts.secrets import reveal


def secret_file(folder: Path, content: bytes, mode: int = 0o600) -> str:
    file = folder / "secret"
    file.write_bytes(content)
    file.chmod(mode)
    return str(file)


@pytest.mark.parametrize(
    ("content", "value"), [(b"hunter2\n", "hunter2"), (b"hunter2", "hunter2"), (b" x \n\n", " x \n"), (b"a\r\n", "a")]
)
def test_a_file_gives_its_text_less_one_newline(content: bytes, value: str, tmp_path: Path) -> None:
    assert reveal(SecretRef(file=secret_file(tmp_path, content))) == value


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o666, 0o601])
def test_a_file_that_others_may_read_is_refused_with_the_remedy(mode: int, tmp_path: Path) -> None:
    name = secret_file(tmp_path, b"hunter2", mode)
    with pytest.raises(ConfigError, match=f"open to others .mode {mode:04o}") as caught:
        reveal(SecretRef(file=name))
    assert caught.value.hint == f"chmod 600 {name}"
    assert "hunter2" not in str(caught.value)


def test_a_group_may_read_a_secret(tmp_path: Path) -> None:
    assert reveal(SecretRef(file=secret_file(tmp_path, b"x", 0o640))) == "x"


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 70_000])
def test_a_file_without_a_usable_secret_is_an_error(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        reveal(SecretRef(file=secret_file(tmp_path, content)))


def test_a_missing_file_a_folder_and_a_pipe_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as caught:
        reveal(SecretRef(file=str(tmp_path / "absent")))
    assert caught.value.where == str(tmp_path / "absent")
    with pytest.raises(ConfigError, match="not a regular file"):
        reveal(SecretRef(file=str(tmp_path)))
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="not a regular file"):
        reveal(SecretRef(file=str(tmp_path / "pipe")))


def test_the_environment_gives_a_secret_or_says_what_to_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BDOPS_TEST_SECRET", "s3")
    assert reveal(SecretRef(env="BDOPS_TEST_SECRET")) == "s3"
    monkeypatch.delenv("BDOPS_TEST_SECRET")
    with pytest.raises(ConfigError, match="not set") as caught:
        reveal(SecretRef(env="BDOPS_TEST_SECRET"))
    assert caught.value.hint == "export BDOPS_TEST_SECRET=..."


def test_a_command_gives_what_it_prints() -> None:
    assert reveal(SecretRef(command=(sys.executable, "-c", "print('s3')"))) == "s3"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("print('hunter2'); raise SystemExit(3)", "failed with exit code 3"),
        (
            "import os, signal; print('hunter2', flush=True); os.kill(os.getpid(), signal.SIGTERM)",
            "failed with signal 15",
        ),
        ("pass", "the secret is empty"),
        ("import sys; sys.stdout.buffer.write(bytes([255]))", "not UTF-8"),
    ],
)
def test_a_command_that_fails_says_how_and_never_what_it_printed(program: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        reveal(SecretRef(command=(sys.executable, "-c", program)))
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint} {caught.value.where}"
    assert caught.value.__cause__ is None


def test_a_command_that_hangs_is_given_up() -> None:
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"did not end within 0.2 s"):
        reveal(SecretRef(command=("sleep", "20")), command_timeout_s=0.2)
    assert time.monotonic() - began < 5


def test_a_command_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match="does not exist") as caught:
        reveal(SecretRef(command=("bdops-no-such-program", "argument")))
    assert caught.value.where == "command bdops-no-such-program"


def test_a_keyring_reference_needs_service_and_user() -> None:
    with pytest.raises(ConfigError, match="SERVICE/USER"):
        reveal(SecretRef(keyring="alone"))


def test_without_the_keyring_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        reveal(SecretRef(keyring="bdops/prod"))
    assert caught.value.hint == "pip install 'bdops[keyring]'"


def test_a_reference_to_nothing_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no source"):
        reveal(SecretRef())
