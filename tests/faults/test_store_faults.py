"""A store that fills up, becomes read-only, fails or is damaged, clocks that jump: a rerun ends as if nothing had."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from harness import PATIENCE, Calm, Runs, after_a_death, after_a_rerun, mount, rerun, small_disk, timed

from lmc.results.file import read_results
from lmc.store.store import Store
from lmc.store.upkeep import ORPHANS, files_of, verify

MANY = int(os.environ.get("LMC_FAULT_POINTS") or 0)
CHANCE = random.Random(2)
COUNT = max(2, MANY // 20)
SHARES = [(number + CHANCE.random()) / COUNT for number in range(COUNT)]
"""How much of an undisturbed run's operations, time or bytes precede a fault."""
JUMPS = [-3e9, 1e6, 3e9, -1e6]
"""Seconds by which clocks are off, in turn: from before 1970 to after 2106."""

HOUR = 3600.0
"""Seconds between checkpoints in runs that last a moment: whoever makes one takes the wrong clock."""


def ends_with_a_word(status: int, said: str, *words: str) -> None:
    """A run that could not go on says why in one line, and nobody reads a traceback."""
    assert status == 2, said
    assert any(word in said for word in words), said
    assert "Traceback" not in said, said


@pytest.mark.parametrize("share", SHARES, ids="{:.6f}".format)
@pytest.mark.parametrize("error", ["ENOSPC", "EROFS", "EIO", "ESTALE"])
def test_every_write_fails_from_some_operation_on(
    error: str, share: float, runs: Runs, undisturbed: Calm, tmp_path: Path
) -> None:
    run = runs.start(tmp_path, do=error, at=1 + int(share * undisturbed.operations), on=True)
    if run.wait():  # the last operations only read
        ends_with_a_word(2, run.said(), "everything finished is kept", "choose a writable store", "make the store")
    else:
        assert share > 0.8
    rerun(runs, tmp_path, undisturbed, after_a_death(runs, tmp_path))


@pytest.mark.parametrize("share", SHARES, ids="{:.6f}".format)
def test_one_write_fails(share: float, runs: Runs, undisturbed: Calm, tmp_path: Path) -> None:
    """Where it is a lease that cannot be removed or a checkpoint, the run does without."""
    run = runs.start(tmp_path, do="EIO", at=1 + int(share * undisturbed.operations))
    if run.wait():
        ends_with_a_word(2, run.said(), "lmc: cannot")
    rerun(runs, tmp_path, undisturbed, after_a_death(runs, tmp_path))


@pytest.mark.parametrize("share", SHARES, ids="{:.6f}".format)
def test_a_full_disk(share: float, runs: Runs, undisturbed: Calm, tmp_path: Path) -> None:
    pages = 4 + int(share * 35)
    try:
        with small_disk(tmp_path, f"{pages * 4}k"):
            run = runs.start(tmp_path)
            ends_with_a_word(run.wait(), run.said(), "free some space")
            kept = after_a_death(runs, tmp_path)
            assert mount("-o", "remount,size=64m", str(tmp_path / "store")).returncode == 0
            rerun(runs, tmp_path, undisturbed, kept)
    except PermissionError as error:
        pytest.skip(f"no small disk can be mounted: {error}")


def test_a_store_that_is_read_only(runs: Runs, undisturbed: Calm, tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path, "64m"):
            timed(runs, tmp_path)
            for path in sorted((tmp_path / "store").glob("measurements/*/*.json"))[::2]:
                path.unlink()
            kept, store = after_a_death(runs, tmp_path), str(tmp_path / "store")
            assert mount("-o", "remount,ro", store).returncode == 0
            run = runs.start(tmp_path)
            ends_with_a_word(run.wait(), run.said(), "choose a writable store")
            assert mount("-o", "remount,rw", store).returncode == 0
            rerun(runs, tmp_path, undisturbed, kept)
            assert mount("-o", "remount,ro", store).returncode == 0
            timed(runs, tmp_path)  # nothing is missing, nothing need be written
    except PermissionError as error:
        pytest.skip(f"no disk can be mounted: {error}")


@pytest.fixture(scope="module")
def whole(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    timed(runs, folder)
    return folder / "store"


@pytest.mark.parametrize("seed", range(max(2, MANY // 5)))
def test_damaged_files(seed: int, runs: Runs, undisturbed: Calm, whole: Path, tmp_path: Path) -> None:
    """Several at once: cut short, emptied, lengthened, or with a bit flipped; then everything is measured again."""
    chance = random.Random(seed)
    shutil.copytree(whole, tmp_path / "store")
    files = sorted(path for path in (tmp_path / "store").rglob("*.*") if path.is_file())
    damaged = chance.sample(files, chance.randint(1, 6))
    for path in damaged:
        path.write_bytes(damage(path.read_bytes(), chance))
    sound, _, _ = verify(Store(tmp_path / "store"))
    assert sound["damaged"] >= 1
    unread = files_of(Store(tmp_path / "store"))[ORPHANS]  # weights whose record was damaged too
    assert not [path for path in damaged if path.exists() and path not in unread], "it is set aside"
    for path in files:
        if "measurements" in path.parts:
            path.unlink(missing_ok=True)
    rerun(runs, tmp_path, undisturbed, after_a_death(runs, tmp_path))


@pytest.mark.parametrize("seed", range(max(2, MANY // 5)))
def test_damaged_files_met_by_a_run(seed: int, runs: Runs, undisturbed: Calm, whole: Path, tmp_path: Path) -> None:
    """Nobody verified the store before."""
    chance = random.Random(1000 + seed)
    shutil.copytree(whole, tmp_path / "store")
    files = sorted(path for path in (tmp_path / "store").rglob("*.*") if path.is_file())
    measured = [path for path in files if "measurements" in path.parts]
    others = [path for path in files if "models" in path.parts]
    for path in [*chance.sample(others, chance.randint(1, 4)), measured[0]]:
        path.write_bytes(damage(path.read_bytes(), chance))
    for path in measured[1:]:
        path.unlink()
    run = runs.start(tmp_path)
    assert run.wait() == 0, run.said()
    after_a_rerun(tmp_path, undisturbed, {})


def damage(data: bytes, chance: random.Random) -> bytes:
    """The same bytes, but for one fault of a disk or a copy."""
    place = chance.randrange(len(data))
    flipped = data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]
    return chance.choice([flipped, flipped, data[:place], b"", data + b"\0", data[:place] + bytes(len(data) - place)])


@pytest.mark.parametrize("share", SHARES, ids="{:.6f}".format)
def test_clocks_that_jump(share: float, runs: Runs, undisturbed: Calm, tmp_path: Path) -> None:
    """Each look at the clock is years from the last, and so are the files' times; one run is killed, too."""
    at = 1 + int(share * undisturbed.operations)
    runs.start(tmp_path, do="main", at=at, jumps=JUMPS, every=HOUR).wait()
    after_a_death(runs, tmp_path)
    assert not (tmp_path / "early").exists(), "a checkpoint before its time"
    for number, path in enumerate(sorted((tmp_path / "store").rglob("*"))):
        os.utime(path, (0, JUMPS[number % len(JUMPS)] + time.time()))
    kept = after_a_death(runs, tmp_path)
    under_jumping_clocks(runs, tmp_path)
    after_a_rerun(tmp_path, undisturbed, kept)


def under_jumping_clocks(runs: Runs, folder: Path, **fault: str) -> None:
    """Two runs at once on one store: nothing is made twice, or seems to take anything but moments.

    Raises:
        AssertionError: a checkpoint or a record's seconds trust the wall clock, or a cell was made twice.
    """
    both = [runs.start(folder, name=name, do="nothing", jumps=JUMPS, every=HOUR, **fault) for name in ("other", "new")]
    for run in both:
        assert run.wait() == 0, run.said()
    assert not (folder / "twice").exists(), "a cell was made again that was there"
    assert not (folder / "early").exists(), "a checkpoint before its time"
    store = Store(folder / "store")
    records = [store.read(kind, key) for kind in ("models", "measurements") for key in store.keys(kind)]
    results = read_results(folder / "results" / "new.json")
    assert 0 <= results.seconds < PATIENCE
    for record in records:
        assert record is not None
        assert 0 <= record["seconds"] < PATIENCE
    assert abs(datetime.fromisoformat(results.started).timestamp() - time.time()) > 1e5, "no clock has jumped"


@pytest.mark.parametrize(("name", "noticed"), [("a.json", True), ("a.safetensors", False)])
def test_a_record_made_twice_is_noticed(name: str, noticed: bool, runs: Runs, tmp_path: Path) -> None:
    """Weights that a killed run left without their record may be made again."""
    (tmp_path / "fault.json").write_text(json.dumps({"do": "nothing", "at": -1, "jumps": JUMPS}), "utf-8")
    store = tmp_path / "store"
    store.mkdir()
    for each in (name, "new"):
        (store / each).touch()
    code = f"import fault_hooks, os; os.replace({str(store / 'new')!r}, {str(store / name)!r})"
    subprocess.run([sys.executable, "-c", code], env=runs.environ, check=True)
    assert (tmp_path / "twice").exists() == noticed


def test_a_wrong_clock_is_noticed(runs: Runs, tmp_path: Path) -> None:
    """Where the wall clock stands for the monotonic one, here in deciding when a checkpoint is due."""
    with pytest.raises(AssertionError, match="before its time"):
        under_jumping_clocks(runs, tmp_path, wrong="lmc.store.checkpoints")
