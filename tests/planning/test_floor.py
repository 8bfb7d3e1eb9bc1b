"""The floor under training, and the clock that probes are read from."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace

import pytest

from lmc.executing.costs import Pace, training_seconds
from lmc.executing.settings import Settings
from lmc.planning import floor, probe
from lmc.planning.floor import floor_of
from lmc.planning.plan import make_floor
from lmc.planning.text import floor_line
from lmc.specs import RunSpec
from lmc.tiers import VERDICT_SEEDS

MLP = RunSpec(dataset="digits", arch="mlp", width=1 / 16, epochs=2)
MACS = 64 * 32 + 2 * 32 * 32 + 32 * 10


@pytest.fixture(autouse=True)
def _forget() -> None:
    floor._product_rate.cache_clear()
    floor._product_seconds.cache_clear()


def test_the_floor_is_the_time_of_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 1 GFLOP/s for every product, 40 steps of 50 images of three models."""
    shapes: list[tuple[int, int, int]] = []

    def product(rows: int, inner: int, columns: int, *_: str) -> float:
        shapes.append((rows, inner, columns))
        return 2e-9 * rows * inner * columns

    monkeypatch.setattr(floor, "_product_seconds", product)
    pace = Pace(1e-3, 0.0)
    found = floor_of([MLP.with_seed(seed) for seed in range(3)], lambda _: pace, "cpu")
    assert (found.models, found.flops) == (3, 3 * 40 * 50 * 6 * MACS)
    assert found.seconds == pytest.approx(found.flops / 1e9)
    assert found.rate == pytest.approx(1e9)
    assert found.training == pytest.approx(3 * training_seconds([MLP], pace))
    assert shapes[:3] == [(50, 64, 32), (64, 50, 32), (50, 32, 64)], "forward, and the two of backward"
    assert f"{found.training / found.seconds:.2f} times the floor" in floor_line(found)


def test_a_slow_product_weighs_by_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last layer at a tenth of the others' rate."""

    def product(*shape: int | str) -> float:
        rows, inner, columns = map(int, shape[:3])
        return 2e-9 * rows * inner * columns * (10 if 10 in shape else 1)

    monkeypatch.setattr(floor, "_product_seconds", product)
    found = floor_of([MLP], lambda _: Pace(0.0, 0.0), "cpu")
    assert found.seconds == pytest.approx(40 * 50 * 6 * (MACS + 9 * 320) / 1e9)


def test_long_products_are_timed_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred of a thousand rows take 250 ms here, so all of them 2.5 s."""
    ticks = iter(range(100))
    monkeypatch.setattr(floor, "_LARGEST", 1000)
    monkeypatch.setattr(floor, "clock", lambda _: next(ticks))
    assert floor._product_seconds(1000, 5, 10, "fp32", "cpu") == pytest.approx(2.5)
    assert floor._product_seconds(5, 1000, 10, "fp32", "cpu") == pytest.approx(2.5)
    assert floor._product_seconds(20, 5, 10, "fp32", "cpu") == pytest.approx(0.25)


def test_a_probe_tells_steps_from_what_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)

    def work(count: int) -> None:
        clock.now += 7.0 + 0.02 * count

    monkeypatch.setattr(probe, "clock", lambda _: clock.now)
    assert probe._each(work, "cpu") == pytest.approx(0.02)


def test_steps_are_timed_once_all_is_set_up() -> None:
    """What an upload or a recording takes lies in the first epoch, a disturbance in one of the others."""
    asked: list[int] = []

    def epochs(count: int) -> list[float]:
        asked.append(count)
        setting_up, disturbance = 30.0, 5.0
        return [setting_up + count * 0.02, setting_up + 2 * count * 0.02 + disturbance, 35 + 3 * count * 0.02]

    assert probe._steady(epochs) == pytest.approx(0.02)
    assert asked == [5, 10]


def test_the_floor_is_that_of_a_whole_tier(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model that its claims need, and their neighbours in stacks."""
    specs: list[RunSpec] = []

    def kept(found: Iterable[RunSpec], *_: object) -> None:
        specs.extend(found)

    monkeypatch.setattr(floor, "floor_of", kept)
    settings = Settings.resolve({"LMC_HOME": str(tmp_path)}, tier="quick", arch="resnet", device="cpu")
    make_floor(settings)
    assert len(specs) == len(set(specs)) == 30
    assert {spec.arch for spec in specs} == {"resnet8"}
    assert specs[0].with_seed(VERDICT_SEEDS[0]) in specs
