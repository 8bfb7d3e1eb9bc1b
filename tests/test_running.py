"""From cases to verdicts with real worker processes, on a tier small enough for a test."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lmc.claims.claim import Claim
from lmc.claims.expectations import HOLDS, INVALID, NOT_RUN, Level, Within
from lmc.claims.judging import Case, cases, claim_verdict, judge
from lmc.claims.studies import barrier, computed, over_pairs
from lmc.errors import DeviceError, LmcError, SpecError, StoreError
from lmc.measuring.pairs import PairMeasurement
from lmc.reporting.results import read_results, results_document, write_results
from lmc.reporting.table import verdict_table
from lmc.running.cells import Cell, Workplace, make_cell, missing_cells, training_block
from lmc.running.executors import LocalExecutor
from lmc.running.session import make_missing, needed
from lmc.running.settings import Settings, resolve_device
from lmc.specs import RunSpec
from lmc.tiers import Family, Setting, Tier, load_tier, with_pilot_seeds
from lmc.training.store import Store

RECIPE = RunSpec(
    dataset="digits",
    arch="mlp",
    width=1 / 64,
    optimizer="adam",
    lr=1e-3,
    schedule="constant",
    epochs=1,
    batch_size=50,
)
SETTING = Setting("tiny", "mlp", {"strong": Family(RECIPE, (1 / 64,))}, min_accuracy=0.0)
TIER = Tier("tiny", (SETTING,), "for tests")
CLAIM = Claim(
    id="tiny-barrier",
    ref="-",
    statement="A barrier is a number.",
    unit="nats",
    study=over_pairs(barrier("calibrated_loss")),
    expect=Level(below=10.0),
    why="-",
    kinds=("mlp",),
)


def settings_in(folder: Path, **changes: object) -> Settings:
    base = Settings.resolve({"LMC_HOME": str(folder)}, device="cpu", workers=2)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with every cell of the tiny tier, made by two worker processes."""
    folder = tmp_path_factory.mktemp("home")
    make_missing(cases([CLAIM], TIER), settings_in(folder))
    return folder


def test_a_rerun_makes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a finished cell was made again")

    monkeypatch.setattr(LocalExecutor, "run", refuse)
    (case,) = cases([CLAIM], TIER)
    records = make_missing([case], settings_in(home))
    result = judge(case, records)
    assert result.judgement.verdict == HOLDS
    assert len(result.observations) == 15
    assert sum(each.independent for each in result.observations) == 3


def test_a_damaged_cell_is_made_again_with_the_same_numbers(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (case,) = cases([CLAIM], TIER)
    settings = settings_in(home)
    before = make_missing([case], settings)
    store, measurement = Store(settings.store), needed([case])[0]
    weights = store.weights_path(measurement.a.key)
    original = weights.read_bytes()
    weights.write_bytes(original[:-1])
    store.record_path("measurements", measurement.key).write_text("{", "utf-8")
    after = make_missing([case], settings)
    assert "is damaged" in capsys.readouterr().err
    assert weights.read_bytes() == original
    without_time = [{**record, "seconds": 0} for record in (before[measurement.key], after[measurement.key])]
    assert without_time[0] == without_time[1]


def test_needed_cells_are_counted_once(tmp_path: Path) -> None:
    measurements = needed(cases([CLAIM, dataclasses.replace(CLAIM, id="again")], TIER))
    assert len(measurements) == 15
    cells = missing_cells(measurements * 2, Store(tmp_path), "cpu")
    assert len([cell for cell in cells if isinstance(cell.what, tuple)]) == 1  # six seeds side by side
    assert len(cells) == 16
    assert len(missing_cells(measurements, Store(tmp_path), "cuda")) == 21


def test_a_killed_worker_is_replaced_then_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lmc.running.executors as executors

    (case,) = cases([CLAIM], TIER)
    settings = settings_in(tmp_path)
    monkeypatch.setattr(executors, "make_cell", _kill_once)
    records = make_missing([case], settings)
    assert len(records) == 15
    assert (settings.home / "killed").exists()
    monkeypatch.setattr(executors, "make_cell", _kill_always)
    with pytest.raises(LmcError, match=r"killed 2 times while making .*fewer workers"):
        make_missing([case], settings_in(tmp_path / "other"))


def _kill_once(cell: Cell, workplace: Workplace) -> None:
    mark = workplace.store.parent / "killed"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    make_cell(cell, workplace)


def _kill_always(cell: Cell, workplace: Workplace) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_run_loses_nothing_finished_and_leaves_no_orphan(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-m", "lmc.running.cli", "run", "--claim", "fig26", "--device", "cpu"]
    environ = {**os.environ, "LMC_HOME": str(tmp_path)}
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, start_new_session=True)
    store, deadline = tmp_path / "store", time.monotonic() + 120
    while not list(store.glob("models/*/*.json")) and time.monotonic() < deadline:
        time.sleep(0.2)
    finished = {path: path.read_bytes() for path in store.glob("models/*/*.json")}
    assert finished
    process.send_signal(number)
    assert process.wait(30) != 0
    deadline = time.monotonic() + 20
    while _in_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _in_session(process.pid), "worker processes outlive the run"
    assert all(path.read_bytes() == content for path, content in finished.items())


def _in_session(leader: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def test_training_blocks() -> None:
    block = training_block(RECIPE.with_seed(4), "cpu")
    assert [spec.init_seed for spec in block] == list(range(6))
    assert training_block(RECIPE.with_seed(4), "cuda") == (RECIPE.with_seed(4),)


class TestJudging:
    """Preconditions come before expectations."""

    (case,) = cases([CLAIM], TIER)

    def records(self, **changes: object) -> dict[str, dict[str, object]]:
        point = {"accuracy": 0.9, "loss": 0.1, "beta": 1.0, "calibrated_loss": 0.1}
        barriers = {"calibrated_loss_barrier_midpoint": 0.0}
        record = {
            "status": "measured",
            "distance": 1.0,
            "path": {"lams": [0, 0.5, 1], "points": [point] * 3, "barriers": barriers},
            **changes,
        }
        return {measurement.key: record for measurement in needed([self.case])}

    def test_holds(self) -> None:
        assert judge(self.case, self.records()).judgement.verdict == HOLDS

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [({"status": "mlp x1 diverged"}, "diverged"), ({"distance": 0.0}, "identical")],
    )
    def test_invalid(self, changes: dict[str, object], reason: str) -> None:
        found = judge(self.case, self.records(**changes)).judgement
        assert found.verdict == INVALID
        assert reason in found.reason

    def test_undertrained_endpoints_are_invalid(self) -> None:
        strict = dataclasses.replace(SETTING, min_accuracy=0.95)
        found = judge(Case(CLAIM, strict), self.records()).judgement
        assert found.verdict == INVALID
        assert "accuracy of 0.900, below the 0.95" in found.reason

    def test_what_a_tier_lacks_is_not_run_with_a_reason(self) -> None:
        claim = dataclasses.replace(CLAIM, kinds=("vgg",))
        (case,) = cases([claim], TIER)
        found = judge(case, {}).judgement
        assert found.verdict == NOT_RUN
        assert "no vgg" in found.reason

    def test_a_claim_is_as_good_as_its_worst_setting_but_for_known_gaps(self) -> None:
        good = judge(self.case, self.records())
        bad = judge(self.case, self.records(distance=0.0))
        assert claim_verdict([good, bad]) == INVALID
        assert claim_verdict([good, dataclasses.replace(bad, known_gap="why")]) == HOLDS
        assert claim_verdict([dataclasses.replace(bad, known_gap="why")]) == INVALID


class TestResults:
    """The results file."""

    def document(self) -> dict[str, object]:
        claim = dataclasses.replace(CLAIM, kinds=(), study=computed(lambda: [("x", 0.5)]), expect=Within(0.0, 1.0))
        result = judge(Case(claim, None), {})
        return results_document(
            [result], tier="tiny", machine={"cores": 2}, versions={}, commit="c", started="now", seconds=1.0
        )

    def test_round_trip(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "results.json"
        write_results(self.document(), path)
        found = read_results(path)
        (claim,) = found["claims"]
        assert claim["verdict"] == HOLDS
        (setting,) = claim["settings"]
        (value,) = setting["values"]
        assert (value["width"], value["pair"], value["value"]) == (0.0, "0-0", 0.5)
        assert {"name", "verdict", "values", "effect", "p_value", "threshold"} <= set(setting)
        assert [path.name for path in path.parent.iterdir()] == ["results.json"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "cannot read"),
            ('{"schema": "other/1"}', "has schema 'other/1'"),
            ("[]", "has schema None"),
            ('{"schema": NaN}', "holds NaN"),
        ],
    )
    def test_bad_files(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "results.json"
        path.write_text(text, "utf-8")
        with pytest.raises(StoreError, match=message):
            read_results(path)

    def test_unwritable(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match="choose another file with --lmc-results"):
            write_results(self.document(), tmp_path / "file" / "results.json")

    def test_table_counts_verdicts(self) -> None:
        lines = verdict_table(self.document())
        assert lines[-1] == "1 holds"
        assert "tiny-barrier" in lines[0]


class TestSettings:
    """Options, environment variables, defaults."""

    def test_precedence(self) -> None:
        environ = {"LMC_TIER": "standard", "LMC_HOME": "/h", "LMC_WORKERS": "3"}
        assert Settings.resolve(environ).tier == "standard"
        assert Settings.resolve(environ, tier="quick").tier == "quick"
        assert Settings.resolve(environ).store == Path("/h/store")
        assert Settings.resolve(environ).workers == 3
        assert Settings.resolve({"XDG_CACHE_HOME": "/c"}).home == Path("/c/lmc")

    @pytest.mark.parametrize("workers", ["0", "-1", "two", "1.5"])
    def test_bad_workers(self, workers: str) -> None:
        with pytest.raises(SpecError, match="at least 1"):
            Settings.resolve({}, workers=workers)

    def test_devices(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert resolve_device("cpu") == "cpu"
        assert resolve_device("auto") == "cpu"
        with pytest.raises(DeviceError, match="use 'cpu' or 'auto'"):
            resolve_device("cuda")
        with pytest.raises(SpecError, match="unknown device 'tpu'"):
            resolve_device("tpu")

    def test_tiers(self) -> None:
        with pytest.raises(SpecError, match="unknown tier 'huge'; choose one of quick"):
            load_tier("huge")
        seeds = {
            seed
            for setting in with_pilot_seeds(load_tier("quick")).settings
            for family in setting.families.values()
            for seed in family.seeds
        }
        verdict_seeds = {
            seed
            for setting in load_tier("quick").settings
            for family in setting.families.values()
            for seed in family.seeds
        }
        assert not seeds & verdict_seeds

    def test_every_quick_measurement_is_valid_and_has_three_independent_pairs(self) -> None:
        for setting in load_tier("quick").settings:
            for family in setting.families.values():
                assert len(family.independent) >= 3
                assert len({seed for pair in family.independent for seed in pair}) == 2 * len(family.independent)
                PairMeasurement(family.spec(family.widths[0], 0), family.spec(family.widths[0], 1))


def test_command_line_errors_are_one_line_and_exit_2(tmp_path: Path) -> None:
    environ = {**os.environ, "LMC_HOME": str(tmp_path)}
    for arguments, message in [
        (["run", "--tier", "huge"], "unknown tier 'huge'"),
        (["run", "--device", "tpu"], "unknown device 'tpu'"),
        (["run", "--workers", "0"], "workers is '0'"),
        (["run", "--claim", "fig99"], "no claim's id contains fig99"),
        (["plan", "--tier", "huge"], "unknown tier 'huge'"),
    ]:
        command = [sys.executable, "-m", "lmc.running.cli", *arguments]
        found = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert found.returncode == 2, found
        assert message in found.stderr
        assert found.stderr.count("\n") == 1


def test_lmc_claims_lists_every_claim() -> None:
    from lmc.claims.paper import CLAIMS

    command = [sys.executable, "-m", "lmc.running.cli", "claims"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    assert all(claim.id in listed and claim.ref in listed for claim in CLAIMS)


def test_results_are_json_without_nan(tmp_path: Path) -> None:
    document = TestResults().document()
    document["seconds"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(document, tmp_path / "results.json")
    assert json.dumps(TestResults().document(), allow_nan=False)
