"""One lab of real servers for the whole run (tests/lab, tests/faults), with what the collected tests need.

A test module says what it needs: `pytestmark = pytest.mark.lab("kafka", "zk")`; without arguments it needs the
component that is in its name (test_kafka.py, test_lab_zk.py), or everything. `BDOPS_TEST_LAB=NAME` makes the
tests use a lab that runs already (in BDOPS_STATE_DIR), which is then neither loaded nor taken down.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bdops.lab import status
from bdops.lab.lab import Lab
from bdops.lab.paths import cache_dir
from bdops.lab.processes import marked
from bdops.registry import COMPONENTS
from tests.contract.cli import Ran
from tests.contract.cli import bdops as run_bdops

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Begun in the background of a shell, which has its children ignore it: some tests are about it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

T = TypeVar("T")
UP_TIMEOUT_S = 2400
"""The first run on a machine fetches all servers from Maven Central."""
HEALTHY_TIMEOUT_S = 90

Bdops = Callable[..., Ran]


def needed(item: pytest.Item) -> set[str]:
    """The components that a test needs."""
    marks = list(item.iter_markers("lab"))
    named = {component for mark in marks for component in mark.args}
    if named or not marks:
        return named
    words = set(Path(item.path).stem.split("_"))
    return words & set(COMPONENTS) or set(COMPONENTS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The test that happens to start the lab may take as long as that takes.

    Tests with a secured lab of their own come first: a machine need not have room for both.
    """
    items.sort(key=lambda item: not item.path.name.startswith("test_secure_"))
    first = next((item for item in items if item.get_closest_marker("lab")), None)
    if first:
        first.add_marker(pytest.mark.timeout(UP_TIMEOUT_S))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder without anybody's configuration."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def new_state_dir() -> Iterator[Callable[[], Path]]:
    """Makes state folders of their own, with short paths; what is left in them at the end goes."""
    made: list[Path] = []

    def make() -> Path:
        made.append(Path(tempfile.mkdtemp(prefix="bdops-test-", dir="/tmp")))
        return made[-1]

    yield make
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest, home: Path, new_state_dir: Callable[[], Path]) -> Iterator[Lab]:
    """The lab of this run, up and loaded. Fails, and with it every test that wants it, when it does not come up."""
    attach = os.environ.get("BDOPS_TEST_LAB")
    if attach:
        yield Lab.open(attach)
        return
    components = sorted(set().union(*(needed(item) for item in request.session.items)))
    state_dir = new_state_dir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BDOPS_STATE_DIR", str(state_dir))
        env = {"BDOPS_STATE_DIR": str(state_dir), "BDOPS_CACHE_DIR": str(cache_dir())}

        def bdops(*argv: str) -> Ran:
            return run_bdops("lab", *argv, "--name", "test", home=home, timeout_s=UP_TIMEOUT_S, **env)

        try:
            for argv in (("up", *components), ("load", *components)):
                done = bdops(*argv)
                if done.returncode != 0:
                    pytest.fail(f"`bdops lab {' '.join(argv)}` failed:\n{done.stdout}\n{done.stderr}", pytrace=False)
            yield Lab.open("test")
        finally:
            down = bdops("down", "--destroy")
            left = marked(state_dir / "labs" / "test")
            assert down.returncode == 0, f"{down.stdout}\n{down.stderr}"
            assert not left, f"`bdops lab down` left processes: {left}"


@pytest.fixture(scope="session")
def bdops(lab: Lab, home: Path) -> Bdops:
    """Runs the real bdops against the lab, in a process of its own: exit code, stdout, stderr, parsed JSON."""
    env = {
        "BDOPS_STATE_DIR": str(lab.folder.parent.parent),
        "BDOPS_CACHE_DIR": str(lab.cache),
        "BDOPS_INVENTORY": str(lab.inventory),
    }

    def run(*argv: str, timeout_s: float = 180, **more: str) -> Ran:
        return run_bdops(*argv, home=home, timeout_s=timeout_s, **{**env, **more})

    return run


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """`eventually(probe, timeout_s)`: the probe's first true answer; its last answer or error fails the test."""

    def poll(probe: Callable[[], T], timeout_s: float) -> T:
        deadline = time.monotonic() + timeout_s
        while True:
            error: Exception | None = None
            answer: Any = None
            try:
                answer = probe()
            except Exception as e:
                error = e
            if error is None and answer:
                return answer
            if time.monotonic() >= deadline:
                if error:
                    raise error
                raise AssertionError(f"not within {timeout_s} s; the last answer was {answer!r}")
            time.sleep(0.2)

    return poll


@pytest.fixture(scope="module", autouse=True)
def lab_is_whole_after_the_module(request: pytest.FixtureRequest) -> Iterator[None]:
    """A fault that a module leaves behind fails that module, and does not poison the next one."""
    yield
    mine = [i for i in request.session.items if i.path == request.path and "lab" in getattr(i, "fixturenames", ())]
    if not mine or request.session.shouldstop:
        return
    one: Lab = request.getfixturevalue("lab")
    deadline = time.monotonic() + HEALTHY_TIMEOUT_S
    wrong = status.whole(one)
    while wrong and time.monotonic() < deadline:
        time.sleep(0.5)
        wrong = status.whole(one)
    if wrong:
        run: Bdops = request.getfixturevalue("bdops")
        run("lab", "fault", "--heal", "--name", one.name)
        run("lab", "up", *one.components, "--name", one.name)
        pytest.fail(f"{request.path.name} left the lab broken: {wrong}", pytrace=False)
