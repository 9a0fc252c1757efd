"""What the lab writes for supervisord, read back by supervisord's own parser."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from bdops.lab.hosts import LabHost
from bdops.lab.recipe import Program
from bdops.lab.supervision import program_config, supervisor_config


def host(tmp_path: Path) -> LabHost:
    return LabHost(name="node1", address="127.9.1.1", rack="r1", folder=tmp_path / "node1", runtime=tmp_path / "run")


def as_supervisord_reads_it(folder: Path, one: LabHost, program: Program) -> object:
    from supervisor import options

    for path in (one.programs_folder, one.logs, one.runtime):
        path.mkdir(parents=True)
    (one.programs_folder / "x.conf").write_text(program_config(one, program))
    one.supervisor_config.write_text(supervisor_config(folder, one))
    read = options.ServerOptions()
    read.realize(["-c", str(one.supervisor_config)])
    configs = {p.name: p for group in read.process_group_configs for p in group.process_configs}
    assert set(configs) == {"sshd", "server"}
    return configs["server"]


def test_words_with_blanks_quotes_percents_and_dollars_arrive_as_they_are(tmp_path: Path) -> None:
    argv = ["/bin/java", "-Dformat=%d %%", "it's", 'a "b"', "$HOME", "a;b", "#c", "ünï"]
    env = {"OPTS": '-Dx="y" 100%', "EMPTY": "", "PATH_LIKE": "/a:/b"}
    program = Program(name="server", host="node1", instance="x/node1", argv=argv, env=env, stop_wait_s=7)
    read = as_supervisord_reads_it(tmp_path, host(tmp_path), program)
    settings = ['OPTS=-Dx="y" 100%', "EMPTY=", "PATH_LIKE=/a:/b"]
    assert shlex.split(read.command) == ["/usr/bin/env", *settings, *argv]  # type: ignore[attr-defined]
    assert (read.stopwaitsecs, read.autostart, read.startsecs) == (7, False, 0)  # type: ignore[attr-defined]


@pytest.mark.parametrize("word", ["a ;b", "a #b", "a\nb"])
def test_what_supervisord_would_cut_off_is_refused(word: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot have this"):
        program_config(host(tmp_path), Program(name="server", host="node1", instance="", argv=["x", word]))
