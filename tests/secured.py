"""A secured lab of one component: made for a module of tests, and destroyed after them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from typing import Any

import pytest
import yaml

from bdops.lab.lab import Lab
from bdops.lab.paths import cache_dir
from bdops.lab.processes import marked
from tests.contract.cli import Ran
from tests.contract.cli import bdops as run_bdops
from tests.servers import serving

UP_TIMEOUT_S = 1200
"""The first run on a machine fetches the servers."""


@dataclass(frozen=True)
class Secured:
    """The lab, and bdops run against it. `said` is all that it ever said, of which nothing may be a secret."""

    lab: Lab
    component: str
    home: Path
    scratch: Path
    said: list[str] = field(default_factory=list)

    def run(self, *argv: str, code: int | None = 0, inventory: Path | None = None, **more: str) -> Ran:
        """A command of bdops, which must end with `code` (None: any)."""
        env = {
            "BDOPS_STATE_DIR": str(self.lab.folder.parent.parent),
            "BDOPS_CACHE_DIR": str(self.lab.cache),
            "BDOPS_INVENTORY": str(inventory or self.lab.inventory),
        }
        done = run_bdops(*argv, home=self.home, timeout_s=180, **{**env, **more})
        self.said.append(done.stdout + done.stderr)
        assert code is None or done.returncode == code, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def inventory(self, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Path:
        """The lab's inventory after `change(component, hosts)`, as a file."""
        data = yaml.safe_load(self.lab.inventory.read_text())
        cluster = data["clusters"][self.lab.name]
        change(cluster["components"][self.component], cluster["hosts"])
        file = self.scratch / f"inventory{len(list(self.scratch.iterdir()))}.yaml"
        file.write_text(yaml.safe_dump(data))
        return file

    def with_settings(self, **settings: Any) -> Path:
        return self.inventory(lambda component, hosts: component.update(settings))

    def by_another_name(self) -> Path:
        """The inventory with addresses that lead to the same servers, and are in no certificate: 127.5.257 is how the
        C library also takes 127.5.1.1."""

        def change(component: object, hosts: dict[str, Any]) -> None:
            for number, name in enumerate(sorted(hosts), start=1):
                hosts[name]["address"] = f"127.{self.lab.network}.{number * 256 + 1}"

        return self.inventory(change)

    def secret(self, text: str) -> dict[str, str]:
        """A secret of this text, as the inventory refers to it."""
        file = self.scratch / f"secret{len(list(self.scratch.iterdir()))}"
        file.touch(mode=0o600)
        file.write_text(text + "\n")
        return {"file": str(file)}

    def notified(self, inventory: Path) -> str:
        """What a receiver of notifications is told of a check that is not ok; it counts as said."""
        told: list[bytes] = []

        def receiver(connection: socket) -> None:
            request = connection.recv(65536)
            length = int(re.search(rb"(?i)content-length: (\d+)", request)[1])  # type: ignore[index]
            while len(request.partition(b"\r\n\r\n")[2]) < length and (more := connection.recv(65536)):
                request += more
            told.append(request)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        with serving(receiver) as port:
            url = self.secret(f"json://127.0.0.1:{port}/")["file"]
            self.run(self.component, "check", "--record", "--notify", f"file:{url}", code=None, inventory=inventory)
        self.said.append(b"".join(told).decode())
        return self.said[-1]

    def secrets(self) -> Mapping[str, bytes]:
        """All of the lab's passwords and keys, by the names of their files."""
        files = [f for f in (self.lab.folder / "security").iterdir() if f.suffix not in (".crt", ".pem")]
        return {f.name: f.read_bytes().strip() for f in files}

    def assert_no_secret_got_out(self) -> None:
        """Nothing that was said, and no file but the servers' own and those that the inventory refers to, has one."""
        own = {self.lab.folder / "security"} | {h.folder / self.component for h in self.lab.hosts}
        seen = {"output": "".join(self.said).encode()}
        for file in self.lab.folder.parent.parent.rglob("*"):
            mode = file.lstat().st_mode
            if stat.S_ISREG(mode) and not own & set(file.parents):
                seen[str(file)] = file.read_bytes()
        assert any("journal" in name for name in seen)
        secrets = self.secrets()
        assert secrets
        assert not [(name, secret) for name, text in seen.items() for secret, word in secrets.items() if word in text]

    def assert_only_the_owner_may_look(self) -> None:
        for entry in self.lab.folder.rglob("*"):
            mode = entry.lstat().st_mode
            if (self.lab.folder / "security") in (entry, *entry.parents):
                assert not stat.S_IMODE(mode) & 0o077, f"{entry} {mode:o}"
        assert stat.S_IMODE(self.lab.folder.stat().st_mode) == 0o700


@contextmanager
def secured_lab(component: str, *, home: Path, state_dir: Path, scratch: Path) -> Iterator[Secured]:
    """`bdops lab up COMPONENT --secure`, `lab load`, and at the end `lab down --destroy`.

    A secured lab of BDOPS_TEST_LAB that has the component is taken as it is.
    """
    attach = os.environ.get("BDOPS_TEST_LAB")
    running = Lab.open(attach) if attach else None
    if running and running.secure and component in running.components:
        yield Secured(running, component, home, scratch)
        return
    env = {"BDOPS_STATE_DIR": str(state_dir), "BDOPS_CACHE_DIR": str(cache_dir())}

    def bdops(*argv: str) -> Ran:
        return run_bdops("lab", *argv, "--name", "secure", home=home, timeout_s=UP_TIMEOUT_S, **env)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BDOPS_STATE_DIR", str(state_dir))
        try:
            for argv in (("up", component, "--secure"), ("load", component, "--factor", "0.1")):
                done = bdops(*argv)
                if done.returncode != 0:
                    pytest.fail(f"`bdops lab {' '.join(argv)}` failed:\n{done.stdout}\n{done.stderr}", pytrace=False)
            yield Secured(Lab.open("secure"), component, home, scratch)
        finally:
            down = bdops("down", "--destroy")
            left = marked(state_dir / "labs" / "secure")
            assert down.returncode == 0, f"{down.stdout}\n{down.stderr}"
            assert not left, f"`bdops lab down` left processes: {left}"
