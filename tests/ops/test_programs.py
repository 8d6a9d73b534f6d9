"""What a run consists of."""

from pathlib import Path

from ordercenter.pipeline.management.commands.work import LOOPS
from ordercenter.run.config import programs, read_config


def test_the_processes_of_a_run_share_out_every_loop_and_none_runs_in_both_kinds() -> None:
    found = programs(read_config({"WORKERS": "2"}, reload=False), Path("var"))
    workers = [one for one in found if "work" in one.command]
    assert [one.name for one in workers] == ["intake-1", "work-1", "intake-2", "work-2"]
    loops = [one.command[one.command.index("--loops") + 1 :] for one in workers]
    assert loops[0] == loops[2] == ["intake"]
    assert sorted([*loops[0], *loops[1]]) == sorted(LOOPS)
