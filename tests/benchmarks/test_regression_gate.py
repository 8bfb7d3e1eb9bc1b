"""The gate fails on a benchmark that got slower against its peer, and on nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench_modules import BEFORE, ROOT, Spread, document, load, written
from hypothesis import given, settings
from hypothesis import strategies as st

bench_files = load("bench_files")
gate = load("gate")


def run_gate(folder: Path, old: object, new: object, *options: str) -> int:
    paths = [str(written(folder, name, content)) for name, content in (("old.json", old), ("new.json", new))]
    return int(gate.main([*paths, *options]))


@pytest.mark.parametrize(
    ("now", "status", "verdict"),
    [
        (BEFORE, 0, "as before"),
        ((2.9, 3.01, 3.5), 0, "as before"),  # apart, but it fell by less than a quarter
        ((2.9, 3.0, 3.5), 0, "as before"),  # by exactly a quarter
        ((2.0, 2.5, 3.6), 0, "slower, spreads overlap"),
        ((2.0, 2.5, 3.59), 1, "REGRESSED"),
        ((0.1, 0.2, 0.3), 1, "REGRESSED"),
        ((1.0, 4.0, 40.0), 0, "as before"),
        ((6.0, 7.0, 8.0), 0, "faster"),
        ((4.0, 7.0, 8.0), 0, "as before"),
    ],
)
def test_a_row_regresses_where_it_fell_far_and_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], now: Spread, status: int, verdict: str
) -> None:
    assert run_gate(tmp_path, document(path=BEFORE), document(path=now)) == status
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(verdict)
    assert lines[1].endswith("path [test_any.py::path]")
    assert lines[-1] == f"{status} regressed of 1 compared, 0 new, 0 missing"


def test_the_allowed_fall_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = document(path=BEFORE), document(path=(3.0, 3.2, 3.5))
    assert run_gate(tmp_path, *files) == 0
    assert run_gate(tmp_path, *files, "--fall", "0.1") == 1
    assert run_gate(tmp_path, *files, "--fall", "1.5") == 2
    assert "--fall is 1.5" in capsys.readouterr().err


def test_new_and_missing_rows_are_named_and_regressions_come_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = document(gone=BEFORE, fine=BEFORE, worse=BEFORE)
    new = document(fine=BEFORE, worse=(1.0, 1.1, 1.2), added=BEFORE)
    assert run_gate(tmp_path, old, new) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["REGRESSED", "missing", "as", "new"]
    assert [line.rpartition("::")[2] for line in lines[1:5]] == ["worse]", "gone]", "fine]", "added]"]
    assert lines[-1] == "1 regressed of 2 compared, 1 new, 1 missing"
    assert run_gate(tmp_path, document(fine=BEFORE, gone=BEFORE), document(fine=BEFORE, added=BEFORE)) == 0


def test_a_slower_machine_is_no_regression(tmp_path: Path) -> None:
    new = document(path=BEFORE)
    for row in new["benchmarks"]:
        row["stats"] = {"data": [12.5] * 5, "median": 12.5}
    assert run_gate(tmp_path, document(path=BEFORE), new) == 0


def limited(value: object, limit: float = 10.0, kind: str = "measures") -> dict[str, Any]:
    """A file with one value that is held to a limit: a measure, or a command's seconds or memory."""
    found = document()
    facts = {
        "measures": {"measures": [{"measure": "a path, in passes", "value": value, "limit": limit}]},
        "run_seconds": {"work": "lmc run", "run_seconds": value, "target_seconds": limit},
        "peak_pss_mib": {"work": "lmc run", "peak_pss_mib": value, "target_mib": limit},
    }[kind]
    found["benchmarks"] = [{"fullname": "benchmarks/test_any.py::one", "extra_info": facts}]
    return found


@pytest.mark.parametrize("kind", ["measures", "run_seconds", "peak_pss_mib"])
@pytest.mark.parametrize(
    ("before", "now", "status", "verdict"),
    [
        (4.0, 4.0, 0, "as before"),
        (2.0, 9.9, 0, "as before"),  # below its limit it may rise
        (2.0, 10.0, 0, "as before"),
        (9.9, 10.1, 1, "REGRESSED"),
        (10.0, 40.0, 1, "REGRESSED"),
        (12.0, 15.0, 0, "as before"),  # by exactly a quarter
        (12.0, 15.1, 1, "REGRESSED"),
        (12.0, 11.0, 0, "as before"),
        (12.0, 9.0, 0, "within its limit now"),
        (0.0, 11.0, 1, "REGRESSED"),
    ],
)
def test_what_has_a_limit_regresses_beyond_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, before: float, now: float, status: int, verdict: str
) -> None:
    assert run_gate(tmp_path, limited(before, kind=kind), limited(now, kind=kind)) == status
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(verdict)
    assert lines[1].endswith("[test_any.py::one]")
    assert "(at most 10)" in lines[1]
    assert lines[-1] == f"{status} regressed of 1 compared, 0 new, 0 missing"


def test_a_changed_limit_judges_both(tmp_path: Path) -> None:
    assert run_gate(tmp_path, limited(12.0, 20.0), limited(12.0, 10.0)) == 0
    assert run_gate(tmp_path, limited(9.0, 20.0), limited(12.0, 10.0)) == 1
    assert run_gate(tmp_path, limited(9.0, 10.0), limited(12.0, 20.0)) == 0


def test_one_of_several_measures_of_a_row_regresses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = limited(4.0), limited(4.0)
    for each, value in ((old, 5.0), (new, 50.0)):
        facts = each["benchmarks"][0]["extra_info"]
        facts["measures"].append({"measure": "the same and more", "value": value, "limit": 10.0})
        facts |= {"ratio_least": 1.0, "ratio": 2.0, "ratio_largest": 3.0}
    assert run_gate(tmp_path, old, new) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("REGRESSED")
    assert "the same and more" in lines[1]
    assert lines[-1] == "1 regressed of 3 compared, 0 new, 0 missing"


def test_rows_without_a_peer_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = document(path=BEFORE)
    new["benchmarks"].append({"fullname": "growth", "extra_info": {"exponent": 2.0}})
    assert run_gate(tmp_path, document(path=BEFORE), new) == 0
    assert "growth" not in capsys.readouterr().out


def broken(**facts: object) -> dict[str, Any]:
    found = document(path=BEFORE)
    found["benchmarks"][0]["extra_info"] |= facts
    return found


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("{", "is no JSON"),
        ("", "is no JSON"),
        pytest.param("[" * 100_000, "is no JSON", id="deep"),
        ("[]", "is no file of pytest-benchmark"),
        ({"benchmarks": []}, "is no file of pytest-benchmark"),
        ({"machine_info": {}, "benchmarks": [{"fullname": "x"}]}, "a row lacks fullname or extra_info"),
        ({"machine_info": {}, "benchmarks": ["x"]}, "a row lacks fullname or extra_info"),
        (broken(ratio=float("nan")), "must be positive"),
        (broken(ratio=0.0), "must be positive"),
        (broken(ratio_least=None), "must be positive"),
        (broken(ratio="4"), "must be positive"),
        (limited(float("nan")), "must be at least 0"),
        (limited(None), "must be at least 0"),
        (limited("9", kind="run_seconds"), "must be at least 0"),
        (limited(9.0, -1.0), "must be at least 0"),
        (broken(measures=[{"value": 1.0}]), "test_any.py::path lacks measure, value or limit"),
        (broken(target_seconds=4.0), "must be at least 0"),
        (broken(ratio=5.0), "lies outside its spread, 3.6 to 4.4"),
        (document(other=BEFORE), "have no row with a ratio or a limit in common"),
        (document(), "have no row with a ratio or a limit in common"),
        ({**document(path=BEFORE), "machine_info": {"cores": 8}}, "new.json of a cpu-8core; --any-machine"),
        ({**document(), "benchmarks": document(path=BEFORE)["benchmarks"] * 2}, "test_any.py::path twice"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], new: object, message: str
) -> None:
    assert run_gate(tmp_path, document(path=BEFORE), new) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
    assert found.err.startswith("gate: ")
    assert message in found.err


def test_files_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = str(written(tmp_path, "new.json", document(path=BEFORE)))
    assert gate.main([str(tmp_path / "none.json"), here]) == 2
    assert "none.json: No such file" in capsys.readouterr().err
    assert gate.main([here]) == 2
    assert "give two files" in capsys.readouterr().err
    assert gate.main([str(tmp_path), here]) == 2
    assert f"--trim {here}" in capsys.readouterr().err
    assert gate.main(["--trim", here, "--out", str(tmp_path / "new.json" / "out.json")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_other_machines_compare_where_asked(tmp_path: Path) -> None:
    new = {**document(path=BEFORE), "machine_info": {"cores": 8}}
    assert run_gate(tmp_path, document(path=BEFORE), new, "--any-machine") == 0


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ({"cores": 2, "amx": True, "device": "cpu", "cpu": {"count": 64}}, "cpu-2core-amx"),
        ({"cores": 16, "amx": False, "device": "NVIDIA H200"}, "nvidia-h200-16core"),
        ({"cpu": {"count": 4}}, "cpu-4core"),
        ({"cpu": {}}, "cpu-anycore"),
        ({}, "cpu-anycore"),
    ],
)
def test_machine_class(info: dict[str, Any], name: str) -> None:
    assert bench_files.machine_class({"machine_info": info}) == name


def test_a_trimmed_file_compares_like_the_raw_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = written(tmp_path, "raw.json", document(one=BEFORE, two=(1.0, 1.23456789, 2.0)))
    folder = tmp_path / "baselines"
    baseline = folder / "bench-cpu-2core-amx.json"
    assert gate.main(["--trim", str(raw), "--out", str(baseline)]) == 0
    text = baseline.read_text("utf-8")
    assert not {"secret-host", "author_time", "stats", "data"} & set(text.replace('"', " ").split())
    assert len(text) < 2000
    assert "c0ffee" in text
    assert bench_files.machine_class(json.loads(text)) == "cpu-2core-amx"
    assert gate.main([str(folder), str(raw)]) == 0  # the folder's baseline is found by the machine's class
    assert gate.main([str(baseline), str(written(tmp_path, "slow.json", document(one=(1, 1, 1))))]) == 1
    assert gate.main(["--trim", str(baseline), "--out", str(baseline)]) == 0
    assert baseline.read_text("utf-8") == text
    capsys.readouterr()
    assert gate.main(["--trim", str(written(tmp_path, "none.json", document()))]) == 2
    assert "has no row with a ratio or a limit" in capsys.readouterr().err


def of_commit(content: dict[str, Any], commit: str, *, dirty: bool = False) -> dict[str, Any]:
    return {**content, "commit_info": {"id": commit, "dirty": dirty}}


def test_files_of_one_commit_make_one_baseline(tmp_path: Path) -> None:
    first = written(tmp_path, "first.json", of_commit(document(one=BEFORE, two=BEFORE), "c0ffee"))
    second = written(tmp_path, "second.json", of_commit(document(two=(1.0, 2.0, 3.0), three=BEFORE), "c0ffee"))
    out = gate.trim([first, second], tmp_path / "out.json")
    rows = gate.comparable_rows(bench_files.read_document(out), out)
    assert [(row.work, row.ratio) for row in rows.values()] == [("one", 4.0), ("three", 4.0), ("two", 2.0)]
    assert json.loads(out.read_text("utf-8"))["commit_info"] == {"id": "c0ffee", "dirty": False}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (of_commit(document(two=BEFORE), "decade"), "are of several commits, c0ffee and decade"),
        (of_commit(document(two=BEFORE), "c0ffee", dirty=True), "several commits, c0ffee and c0ffee with changes"),
        ({**of_commit(document(two=BEFORE), "c0ffee"), "machine_info": {"cores": 8}}, "cpu-2core-amx and cpu-8core"),
    ],
)
def test_rows_of_several_commits_or_machines_are_not_one_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: dict[str, Any], message: str
) -> None:
    paths = [
        str(written(tmp_path, name, content))
        for name, content in (("one.json", of_commit(document(one=BEFORE), "c0ffee")), ("other.json", other))
    ]
    out = tmp_path / "out.json"
    assert gate.main(["--trim", *paths, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


ratios = st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3).map(sorted)


@settings(deadline=None)  # a busy machine is no failure
@given(ratios, ratios)
def test_only_one_direction_is_a_regression(one: list[float], other: list[float]) -> None:
    rows = [{"x": gate.Row("x", "x", each[1], each[0], each[2])} for each in (one, other)]
    verdicts = [gate.compare(old, new)[0].verdict for old, new in (rows, rows[::-1])]
    assert ("REGRESSED" in verdicts) == ("faster" in verdicts)
    assert verdicts != ["REGRESSED"] * 2
    assert gate.compare(rows[0], rows[0])[0].verdict == "as before"


SLOWED = """
from lmc.merging import temperature

once = temperature._Slope.root

def often(self):
    for _ in range(59):
        once(self)
    return once(self)

temperature._Slope.root = often
"""


def bench(folder: Path, name: str, *options: str) -> Path:
    """Run one real benchmark, of milliseconds, in a process of its own."""
    path = folder / f"{name}.json"
    target = "benchmarks/test_measuring.py::test_calibration[159]"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", target, "--benchmark-json", str(path)]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("LMC_", "PYTEST_"))}
    environ |= {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}  # one thread waits for no other on a busy machine
    done = subprocess.run([*command, *options], env=environ, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return path


def test_a_function_made_slow_is_caught_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "slowed.py").write_text(SLOWED, "utf-8")
    raw, same, slow = bench(tmp_path, "raw"), bench(tmp_path, "same"), bench(tmp_path, "slow", "-p", "slowed")
    baseline = tmp_path / "baseline.json"

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "benchmarks" / "gate.py"), *map(str, arguments)]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    assert run("--trim", raw, "--out", baseline).returncode == 0
    unchanged = run(baseline, same)
    assert unchanged.returncode == 0, unchanged.stdout
    caught = run(baseline, slow)
    assert caught.returncode == 1, caught.stdout
    assert "REGRESSED" in caught.stdout
    assert "1 regressed of 1 compared" in caught.stdout
