"""``lmc store``: what is damaged is found, what is pruned was needed by nobody, what is brought home is enough."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from serial_runs import Serial, settings_in
from test_archive import BARE, LOG, MEASURED, MODEL, NEW, STATE, TENSORS, content, filled
from test_leases import KEY, holder
from tiny_claim import CLAIM, TIER
from typer.testing import CliRunner

from lmc.claims.cases import Case, cases, needed
from lmc.commands.cli import app
from lmc.errors import SpecError, StoreError
from lmc.executing.jobs import missing_jobs
from lmc.executing.making import Workplace
from lmc.executing.session import make_missing
from lmc.measuring.measurements import PairMeasurement
from lmc.specs import RECIPE_VERSION
from lmc.store import checkpoints
from lmc.store import leases as leases_module
from lmc.store.archive import import_cells
from lmc.store.leases import Leases
from lmc.store.store import Store
from lmc.store.upkeep import prunable, verify
from lmc.tiers import load_tier
from lmc.training import engine


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled(tmp_path / "store")


def lmc(store: Store, *arguments: str) -> tuple[int, str]:
    run = CliRunner().invoke(app, ["store", arguments[0], "--store", str(store.root), *arguments[1:]])
    assert run.exception is None or isinstance(run.exception, SystemExit), run.exception
    return run.exit_code, run.stdout


def pruned(store: Store, *arguments: str) -> set[str]:
    """Names of the files that ``lmc store prune --yes`` removes, having said so without ``--yes``."""

    def files() -> dict[str, bytes]:
        return {name: data for name, data in content(store.root).items() if not name.startswith("leases")}

    before = files()
    code, said = lmc(store, "prune", *arguments)
    assert code == 0
    assert files() == before, "only said"
    code, done = lmc(store, "prune", *arguments, "--yes")
    assert code == 0
    assert files().items() <= before.items()
    assert done == said.replace("would free", "freed").replace("; add --yes to do so", "")
    gone = before.keys() - files().keys()
    assert sum(int(line.partition(": ")[2].split()[0]) for line in done.splitlines()[:-1]) == len(gone)
    return gone


# -- verify --


def test_a_sound_store_is_counted(store: Store) -> None:
    code, said = lmc(store, "verify")
    assert code == 0
    counts, _, rest = said.partition("; ")
    assert sorted(counts.split(", ")) == ["1 checkpoints", "1 measurements", "1 models", "1 models without weights"]
    assert rest == f"{2 * store.weights_path(MODEL).stat().st_size / 1024:.1f} KiB of weights\n"


@pytest.mark.parametrize("what", ["weights", "record", "measurement", "checkpoint"])
def test_any_damage_is_found_and_set_aside(store: Store, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = {
        "weights": store.weights_path(MODEL),
        "record": store.record_path("models", BARE),
        "measurement": store.record_path("measurements", MEASURED),
        "checkpoint": store.weights_path(STATE, "checkpoints"),
    }[what]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    code, said = lmc(store, "verify")
    assert code == 1
    assert f"DAMAGED: {path}" in said
    assert not path.exists()
    assert (store.root / "damaged" / path.name).read_bytes() == data
    assert lmc(store, "verify")[0] == 0


def test_what_cannot_be_read_does_not_end_the_check(store: Store) -> None:
    store.weights_path(MODEL).unlink()
    store.weights_path(MODEL).mkdir()
    store.record_path("measurements", MEASURED).write_bytes(b"")
    sound, _, problems = verify(store)
    assert sound == {"unreadable": 1, "damaged": 1, "models without weights": 1, "checkpoints": 1}
    assert len(problems) == 2


def test_what_else_lies_there_is_said(store: Store) -> None:
    store.record_path("models", MODEL).unlink()
    (store.root / "notes.txt").touch()
    partial = store.weights_path(NEW).with_name(f".{NEW}.safetensors.x1y2z3_a")
    partial.touch()
    with Leases(store.root).claim([KEY]):
        code, said = lmc(store, "verify")
    assert code == 0
    assert f"weights without a record: 1 files, such as {store.weights_path(MODEL)}" in said
    assert f"temporary files: 1 files, such as {partial}" in said
    assert f"not of the store: 1 files, such as {store.root / 'notes.txt'}" in said
    assert f"(process {os.getpid()}): {KEY}" in said


# -- prune --


@pytest.fixture
def littered(store: Store) -> Store:
    """With everything that can be pruned."""
    store.save_model(NEW, TENSORS, LOG)
    store.record_path("models", NEW).unlink()
    store.weights_path(NEW).with_name(f".{NEW}.safetensors.x1y2z3_a").write_bytes(b"half")
    (store.root / "damaged").mkdir()
    (store.root / "damaged" / "0.json").write_bytes(b"{")
    store.save_model(BARE, TENSORS, LOG)  # STATE is its checkpoint
    (store.root / "notes.txt").touch()
    return store


def test_only_what_nothing_needs_is_pruned(littered: Store) -> None:
    assert pruned(littered) == {
        "damaged/0.json",
        f"models/00/{NEW}.safetensors",
        f"models/00/.{NEW}.safetensors.x1y2z3_a",
        f"checkpoints/00/{STATE}.json",
        f"checkpoints/00/{STATE}.safetensors",
    }
    assert pruned(littered) == set()


def test_checkpoints_are_kept_until_all_their_models_are_finished(store: Store) -> None:
    store.save_model(STATE, TENSORS, {"step": 5, "specs": [MODEL, BARE], "recipe": RECIPE_VERSION}, "checkpoints")
    assert pruned(store) == set()
    store.save_model(STATE, TENSORS, {"step": 5, "specs": [MODEL, BARE], "recipe": RECIPE_VERSION - 1}, "checkpoints")
    assert len(pruned(store)) == 2, "no recipe will ever ask for it"


def test_while_somebody_works_what_may_be_in_use_stays(littered: Store) -> None:
    with Leases(littered.root).claim([KEY]):
        assert pruned(littered) == {"damaged/0.json"}
    with holder(littered.root, KEY), pytest.MonkeyPatch.context() as patch:
        patch.setattr("lmc.host.kernel", lambda: "another machine")
        patch.setattr(leases_module, "POLL", 0.01)
        (littered.root / "damaged" / "1.json").touch()
        assert pruned(littered) == {"damaged/1.json"}


def test_dead_leases_are_pruned(littered: Store) -> None:
    with holder(littered.root, KEY) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    lease = littered.root / "leases" / KEY
    assert lease.exists()
    assert len(prunable(littered)) == 4
    assert not lease.exists()


def test_models_of_other_tiers_are_pruned_on_request(store: Store) -> None:
    family = load_tier("preview").settings[0].families["strong"]
    wanted = family.spec(family.widths[0], family.seeds[0]).key
    store.save_model(wanted, TENSORS, LOG)
    assert pruned(store) == set()
    gone = pruned(store, "--keep-tier", "preview")
    assert gone == {f"models/00/{MODEL}.json", f"models/00/{MODEL}.safetensors", f"models/00/{BARE}.json"}
    assert store.has("models", wanted)
    assert store.has("measurements", MEASURED)


def test_models_of_either_precision_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store made on a GPU in bf16 must survive a visit to a machine that would train in fp32."""
    monkeypatch.setenv("LMC_CLAIMS", "fig23")  # what a run was restricted to does not restrict this
    family = load_tier("preview").settings[0].families["strong"]
    spec = family.spec(family.widths[0], family.seeds[0])
    both = [spec.key, dataclasses.replace(spec, precision="bf16").key]
    for key in both:
        store.save_model(key, TENSORS, LOG)
    pruned(store, "--keep-tier", "preview")
    assert sorted(store.keys("models")) == sorted(both)


OWN = """
from dataclasses import replace
from lmc.claims.extracts import barrier
from lmc.claims.studies import over_pairs
from lmc.tiers.families import variant
from tiny_claim import CLAIM, SETTING, TIER
strong = SETTING.families["strong"]
families = {"strong": strong, "own": variant(strong, lr=0.5)}
tier = replace(TIER, settings=(replace(SETTING, families=families),))
CLAIMS = (replace(CLAIM, study=over_pairs(barrier("calibrated_loss"), "own")),)
"""


def test_what_extra_claims_need_is_kept_however_they_are_named(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    Path("own_upkeep.py").write_text(OWN)
    (setting,) = load_tier("own_upkeep:tier").settings
    own = setting.families["own"]
    wanted = own.spec(1 / 64, own.seeds[0]).key  # no claim of the paper needs it
    store.save_model(wanted, TENSORS, LOG)
    kept = ("--keep-tier", "own_upkeep:tier")
    pruned(store, *kept, "--extra-claims", "own_upkeep:CLAIMS")
    assert list(store.keys("models")) == [wanted]
    monkeypatch.setenv("LMC_EXTRA_CLAIMS", "own_upkeep:CLAIMS")
    assert pruned(store) == set(), "the environment speaks to all commands, also where no tier is named"
    assert pruned(store, *kept) == set()
    monkeypatch.delenv("LMC_EXTRA_CLAIMS")
    assert len(pruned(store, *kept)) == 2


@pytest.mark.parametrize(("command", "option"), [(["prune", "--yes"], "keep-tier"), (["export", "a.tar"], "tier")])
def test_extra_claims_without_a_tier_are_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, ["store", *command, "--extra-claims", "a:B", "--store", str(store.root)])
    assert isinstance(run.exception, SpecError)
    said = f"--extra-claims a:B says nothing without a tier; add --{option}, e.g. quick"
    assert str(run.exception) == said
    assert not Path("a.tar").exists()


def test_what_is_not_there_or_unknown_is_refused(tmp_path: Path, store: Store) -> None:
    for command in (["verify"], ["prune"], ["export", str(tmp_path / "a.tar")]):
        run = CliRunner().invoke(app, ["store", *command, "--store", str(tmp_path / "absent")])
        assert isinstance(run.exception, StoreError)
        assert "there is no store" in str(run.exception)
    run = CliRunner().invoke(app, ["store", "prune", "--keep-tier", "quack", "--yes", "--store", str(store.root)])
    assert "unknown tier 'quack'" in str(run.exception)
    assert not (tmp_path / "absent").exists()


# -- a run brought home --


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a machine that is given back."""
    folder = tmp_path_factory.mktemp("far")
    make_missing(cases([CLAIM], TIER), settings_in(folder), Serial())
    return folder


def case() -> Case:
    (found,) = cases([CLAIM], TIER)
    return found


def test_measurements_alone_are_enough_to_judge(far: Path, tmp_path: Path) -> None:
    archive, home = tmp_path / "light.tar", Store(settings_in(tmp_path).store)
    code, said = lmc(Store(far / "store"), "export", str(archive), "--no-weights")
    assert (code, said.splitlines()[0].startswith(f"{archive}: 15 measurements, 6 models, ")) == (0, True)
    assert archive.stat().st_size < 200_000
    code, said = lmc(home, "import", str(archive))
    assert (code, said) == (0, "new: 15 measurements, 6 models; there already: 0\n")
    executor = Serial()
    there, here = (make_missing([case()], settings_in(folder), executor) for folder in (far, tmp_path))
    assert executor.rounds == []
    assert here == there
    assert len(here.logs) == 6


def test_a_new_measurement_trains_the_models_it_lacks(far: Path, tmp_path: Path) -> None:
    archive, store = tmp_path / "light.tar", Store(settings_in(tmp_path).store)
    lmc(Store(far / "store"), "export", str(archive), "--no-weights")
    import_cells(store, archive)
    a, b = needed([case()])[0].specs
    new = PairMeasurement(a, b, lams=(0.0, 0.25, 0.5, 1.0))
    missing = missing_jobs([new, *needed([case()])], store, "cpu")
    assert (missing.models, missing.measurements) == (6, [new])
    Serial().run(missing.jobs, workplace(tmp_path), lambda _: None, lambda _: None)
    assert store.has("measurements", new.key)
    for spec in new.specs:
        assert store.weights_path(spec.key).read_bytes() == Store(far / "store").weights_path(spec.key).read_bytes()


def workplace(folder: Path) -> Workplace:
    settings = settings_in(folder)
    return Workplace(settings.store, settings.data, "cpu")


def test_a_long_training_goes_on_elsewhere(far: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is taken away within a training; its checkpoint comes home with all else."""
    first, second = tmp_path / "first", tmp_path / "second"
    (training,) = missing_jobs(needed([case()]), Store(first / "store"), "cpu").trainings
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    train_stack = engine.train_stack

    def taken_away(*arguments: Any, **options: Any) -> None:
        train_stack(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "train_stack", taken_away)
    with pytest.raises(KeyboardInterrupt):
        Serial().run([training], workplace(first), lambda _: None)
    lmc(Store(first / "store"), "export", str(tmp_path / "all.tar"))
    monkeypatch.undo()
    import_cells(Store(second / "store"), tmp_path / "all.tar")
    Serial().run([training], workplace(second), lambda _: None)
    ours, theirs = Store(second / "store"), Store(far / "store")
    for key in training.makes:
        assert (ours.read("models", key) or {})["resumed"] == [19]
        assert ours.weights_path(key).read_bytes() == theirs.weights_path(key).read_bytes()


# -- real disks --


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Four MiB of memory as a disk."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "lmc-test", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a disk of its own needs root and the right to mount")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_disk_keeps_what_is_finished(small_disk: Path) -> None:
    store = filled(small_disk / "store")
    before = content(store.root)
    large = {"weight": torch.zeros(1_200_000)}
    with pytest.raises(StoreError, match="No space left on device; free some space"):
        store.save_model(NEW, large, LOG)
    assert content(store.root) == before
    (small_disk / "filler").write_bytes(bytes(3 << 20))
    with contextlib.suppress(OSError), (small_disk / "rest").open("wb", buffering=0) as rest:
        while rest.write(bytes(4096)):
            pass
    with pytest.raises(StoreError, match="free some space"):
        store.write("measurements", NEW, {"status": "measured"})
    with pytest.raises(StoreError, match="free some space"):
        make_missing([case()], settings_in(small_disk), Serial())
    assert before == {name: data for name, data in content(store.root).items() if name in before}
    assert verify(store)[2] == []
    for name in ("filler", "rest"):
        (small_disk / name).unlink()
    make_missing([case()], settings_in(small_disk), Serial())


def test_a_read_only_store_serves_what_it_has(small_disk: Path, far: Path) -> None:
    archive = far / "all.tar"
    lmc(Store(far / "store"), "export", str(archive))
    store = Store(settings_in(small_disk).store)
    import_cells(store, archive)
    spare = store.record_path("measurements", needed([case()])[0].key)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    executor = Serial()
    assert len(make_missing([case()], settings_in(small_disk), executor).records) == 15
    assert executor.rounds == []
    assert lmc(store, "verify")[0] == 0
    assert prunable(store)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    spare.unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreError, match=r"cannot write .*choose a writable store"):
        make_missing([case()], settings_in(small_disk), executor)
    with pytest.raises(StoreError, match=r"cannot write .*choose a writable store"):
        import_cells(store, archive)
