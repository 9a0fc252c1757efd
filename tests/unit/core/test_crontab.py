from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.core.crontab import BadCrontab, CronJob, block, blocks, daily, delay, every, with_block, without_block

FOREIGN = "MAILTO=ops@example.org\n# BEGIN of something else\n0 4 * * * /usr/bin/backup --date \\%F\n\n"


def matches(field: str, value: int, low: int, high: int) -> bool:
    """Whether crontab(5)'s field holds the value."""
    where, _, step = field.partition("/")
    first, _, last = where.partition("-")
    span = range(low, high + 1) if where == "*" else range(int(first), int(last or first) + 1)
    return value in span[:: int(step or 1)]


@pytest.mark.parametrize("seconds", [60, 300, 600, 900, 1800, 3600, 4 * 3600, 24 * 3600])
@pytest.mark.parametrize("key", ["one", "two", "three"])
def test_every_so_often_is_so_often_also_over_midnight(seconds: int, key: str) -> None:
    minute, hour, *rest = every(seconds, key).split()
    assert rest == ["*", "*", "*"]
    runs = [60 * h + m for h in range(24) for m in range(60) if matches(minute, m, 0, 59) and matches(hour, h, 0, 23)]
    gaps = {b - a for a, b in zip(runs, [*runs[1:], runs[0] + 24 * 60], strict=True)}
    assert gaps == {seconds // 60}


def test_machines_do_not_start_at_the_same_minute() -> None:
    assert len({every(1800, f"host{i}") for i in range(200)}) == 30
    assert len({delay(f"host{i}", 30) for i in range(500)}) == 31


@pytest.mark.parametrize("seconds", [30, 90, 7 * 60, 5 * 3600, 48 * 3600, 0])
def test_what_does_not_divide_an_hour_or_a_day_is_refused(seconds: int) -> None:
    with pytest.raises(BadCrontab):
        every(seconds, "x")


def test_a_time_of_a_day_or_a_week() -> None:
    assert daily("03:10") == "10 3 * * *"
    assert daily("Sun 3:05") == "5 3 * * sun"
    for wrong in ("24:00", "3", "03:60", "someday 03:00", ""):
        with pytest.raises(BadCrontab):
            daily(wrong)


lines = st.lists(
    st.one_of(
        st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=20),
        st.sampled_from(
            ["", "# BEGIN", "# END bdopsy", "* * * * * true", "\udcff\udcfe", "# BEGINbdops x", "\r", "\x85"]
        ),
    ),
    max_size=8,
)
names = st.sampled_from(["check", "backup", "a-b_c"])


def whole(found: list[str]) -> str:
    return "".join(f"{line}\n" for line in found)


@given(lines, lines, names, st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=30))
def test_a_block_that_is_put_in_and_taken_out_leaves_every_byte(
    before: list[str], after: list[str], name: str, line: str
) -> None:
    if line.startswith(("# BEGIN bdops", "# END bdops")):
        return
    text = whole(before)
    there = with_block(text, name, line)
    assert without_block(there, name) == text
    assert with_block(there, name, line) == there
    assert without_block(there + whole(after), name) == text + whole(after)
    other = with_block(there + whole(after), name, "another line")
    assert other == text + block(name, "another line") + whole(after)


@given(lines, st.permutations(["check", "backup", "a-b_c"]))
def test_blocks_do_not_disturb_each_other(before: list[str], order: list[str]) -> None:
    text = whole(before)
    for name in order:
        text = with_block(text, name, f"line of {name}")
    assert blocks(text) == {name: f"line of {name}\n" for name in order}
    for name in reversed(order):
        text = without_block(text, name)
    assert text == whole(before)


def test_a_last_line_without_an_end_is_not_swallowed() -> None:
    assert with_block("0 4 * * * true", "check", "x").startswith("0 4 * * * true\n# BEGIN bdops check")


def test_what_somebody_wrote_into_a_block_goes_with_it_and_what_is_beside_it_stays() -> None:
    text = with_block(FOREIGN, "check", "x").replace("x\n", "x\n# by hand\n") + "1 1 * * * true\n"
    assert without_block(text, "check") == FOREIGN + "1 1 * * * true\n"


@pytest.mark.parametrize(
    "text",
    [
        "# BEGIN bdops check\nx\n",
        "x\n# END bdops check\n",
        "# BEGIN bdops check\n# BEGIN bdops other\n# END bdops other\n# END bdops check\n",
        "# BEGIN bdops check\n# END bdops other\n",
        2 * "# BEGIN bdops check\n# END bdops check\n",
    ],
)
def test_marks_that_do_not_pair_up_are_refused_and_not_guessed_at(text: str) -> None:
    with pytest.raises(BadCrontab):
        with_block(text, "check", "x")
    with pytest.raises(BadCrontab):
        without_block(text, "other")


def run(job: CronJob) -> subprocess.CompletedProcess[str]:
    """As cron does it: everything behind the five fields is sh's, an escaped percent sign is one."""
    command = job.line().split(" ", 5)[5].replace("\\%", "%")
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=30, env={"PATH": "/usr/bin:/bin"}
    )


def job(tmp_path: Path, *argv: str, limit_s: int = 10, news: bool = False) -> CronJob:
    return CronJob(
        name="check",
        schedule="* * * * *",
        argv=argv,
        lock_file=str(tmp_path / "it's a 100% lock"),
        limit_s=limit_s,
        says_news_alone=news,
        environment={"WORD": "50% 'of it'"},
    )


def test_a_command_that_ends_well_is_silent_and_one_that_fails_is_not(tmp_path: Path) -> None:
    script = 'echo "$WORD%s\\n"; echo loud >&2; exit $0'
    assert run(job(tmp_path, "sh", "-c", script, "0")).stdout == ""
    failed = run(job(tmp_path, "sh", "-c", script, "5"))
    assert failed.stdout.startswith("50% 'of it'%s")
    assert "loud" in failed.stdout


def test_a_command_that_tells_news_is_heard_whatever_its_exit_code(tmp_path: Path) -> None:
    for code in ("0", "2"):
        assert run(job(tmp_path, "sh", "-c", "echo news; exit $0", code, news=True)).stdout == "news\n"


@pytest.mark.parametrize("news", [True, False])
def test_what_was_interrupted_did_not_take_too_long(tmp_path: Path, news: bool) -> None:
    assert "longer" not in run(job(tmp_path, "sh", "-c", "exit 130", news=news)).stdout


@pytest.mark.parametrize("news", [True, False])
def test_what_takes_too_long_is_stopped_and_said(tmp_path: Path, news: bool) -> None:
    done = run(job(tmp_path, "sleep", "20", limit_s=1, news=news))
    assert "stopped, it took longer than 1 s" in done.stdout


def test_one_runs_at_a_time_and_the_other_is_silent(tmp_path: Path) -> None:
    held = job(tmp_path, "sh", "-c", "echo ran; exit 3")
    with subprocess.Popen(
        ["flock", held.lock_file, "sh", "-c", "echo held; read line"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == "held\n"
        assert run(held).stdout == ""
        holder.stdin.close()
    assert run(held).stdout == "ran\n"


def test_a_line_break_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCrontab):
        job(tmp_path, "echo", "a\nb").line()
