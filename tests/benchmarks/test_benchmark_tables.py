"""The tables of benchmarks say what their file says."""

from __future__ import annotations

from pathlib import Path

from bench_modules import BEFORE, document, load, written

bench_files = load("bench_files")
gate = load("gate")
table = load("table")
cuda_cases = load("cuda_cases")
timing_tables = load("timing_tables")


def test_tables(tmp_path: Path) -> None:
    found = document(path=BEFORE, slow=(1.0, 1.5, 1.9), noted=BEFORE)
    found["benchmarks"][0]["extra_info"] |= {"textbook_ratio": 2.468, "peak_memory_mib": 1234.5}
    found["benchmarks"][1]["extra_info"]["unflushed_time_ratio"] = 11.94
    found["benchmarks"][2]["extra_info"] |= {"target": 0.0, "work": "a | b", "plain_ratio": 0.25}
    growth = {"work": "a step", "by": "units", "sizes": [8, 64], "seconds": [1, 64.0], "exponent": 2.0, "expected": 2}
    whole = {"work": "lmc run", "run_seconds": 290.0, "target_seconds": 240.0, "peak_pss_mib": 1234.5}
    large = {**whole, "work": "lmc diagnose", "run_seconds": 60.0, "target_seconds": 60.0, "target_mib": 1024.0}
    found["benchmarks"] += [{"fullname": each["work"], "extra_info": each} for each in (growth, whole, large)]
    path = written(tmp_path, "raw.json", found)
    assert table.speed_table(path).splitlines()[2:] == [
        "| path | p | 4 (3.6–4.4) | 2 | met | 2.47 | 1,234 |  |",
        "| slow | p | 1.5 (1–1.9) | 2 | not met |  |  | 11.9 times the time where denormals are kept |",
        "| a \\| b | p | 4 (3.6–4.4) | none |  |  |  | 0.25 against torch.save alone, which a crash may leave empty |",
    ]
    assert table.growth_table(path).splitlines()[2:] == ["| a step | units, 8 to 64 | 2.00 | 2 | 64 |"]
    assert table.runs_table(path).splitlines()[2:] == [
        "| lmc run | 290 | 240 | not met | 1,234 |  |  |",
        "| lmc diagnose | 60 | 60 | met | 1,234 | 1,024 | not met |",
    ]
    trimmed = gate.trim([path], tmp_path / "trimmed.json")
    assert sorted(table.speed_table(trimmed).splitlines()) == sorted(table.speed_table(path).splitlines())
    assert all(line.count("|") - line.count("\\|") == 9 for line in table.speed_table(path).splitlines())


def test_the_targets_of_a_gpu_stand_until_one_was_measured(tmp_path: Path) -> None:
    written(tmp_path, "bench-cpu-2core.json", document(path=BEFORE))
    unmeasured = timing_tables.timed_on_gpus(tmp_path).splitlines()[2:]
    assert len(unmeasured) == len(list(cuda_cases.targets())) == 7
    assert all(line.endswith("| not yet measured |") for line in unmeasured)
    found = document(path=BEFORE)
    found["machine_info"] |= {"device": "Some GPU"}
    found["benchmarks"] += [
        {"fullname": "benchmarks/test_cuda.py::test_x", "extra_info": {**row["extra_info"], "work": "a net"}}
        for row in found["benchmarks"]
    ]
    written(tmp_path, "bench-some-gpu-2core.json", found)
    measured = timing_tables.timed_on_gpus(tmp_path).splitlines()
    assert measured[0] == "On one Some GPU:"
    assert sum("| 4 (3.6–4.4) | 2 | met |" in line for line in measured) == 1
    assert not any("not yet measured" in line for line in measured)
