"""The command line and the report that the programs of this folder share."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.faults.program import KEPT_PROBLEMS, SHOWN_PROBLEMS, FaultProgram

GOOD = {name: 0.0 for name in ("lost", "doubled", "out_of_order", "leaked", "told_lost", "jumps")} | {
    "never_closed": 0.0,
    "healthy_closes": 0.0,
    "rss_peak_growth_mb": 1.0,
    "rss_end_growth_mb": 1.0,
}


def stuck_program(folder: Path) -> FaultProgram:
    program = FaultProgram("stuck", "What it does.", results=folder)
    program.parser.add_argument("--drain-seconds", type=float, default=0.1)
    program.parser.add_argument("--folder", type=Path)
    return program


def test_a_missed_budget_and_a_missing_figure_are_failures(tmp_path: Path) -> None:
    for figures in (GOOD | {"lost": 1.0}, {name: figure for name, figure in GOOD.items() if name != "lost"}):
        program = stuck_program(tmp_path)
        program.begin(["--seed", "1"])
        assert program.finish(figures, []) == 1
    program = stuck_program(tmp_path)
    program.begin(["--seed", "1"])
    assert program.finish(GOOD, []) == 0


def test_the_first_line_repeats_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = stuck_program(tmp_path).begin([])
    first, *_ = capsys.readouterr().out.splitlines()
    replay = f"python -m tests.faults.stuck --seed {options.seed} --drain-seconds 0.1"
    assert first == f"replay: {replay}"
    again = stuck_program(tmp_path).begin(shlex.split(first)[4:])
    assert vars(again) == vars(options) == {"seed": options.seed, "drain_seconds": 0.1, "folder": None}


def test_two_runs_have_dice_of_their_own(tmp_path: Path) -> None:
    assert len({stuck_program(tmp_path).begin([]).seed for _ in range(3)}) > 1


def test_problems_are_shown_and_kept_up_to_a_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = stuck_program(tmp_path)
    program.begin(["--seed", "7"])
    program.finish(GOOD, [f"problem {number}" for number in range(1000)], closes={"4200": 3})
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  problem")]
    written = json.loads((tmp_path / "stuck.json").read_text("utf-8"))
    assert len(shown) == SHOWN_PROBLEMS
    assert (len(written["problems"]), written["closes"]) == (KEPT_PROBLEMS, {"4200": 3})
    assert written["replay"].endswith("--seed 7 --drain-seconds 0.1")


def test_a_run_has_a_folder_that_goes_with_it(tmp_path: Path) -> None:
    with stuck_program(tmp_path).folder() as folder:
        (folder / "log").touch()
    assert not folder.exists()
