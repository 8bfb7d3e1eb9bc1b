"""Inputs held in memory and read on every pass are the same to whoever measures."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from lmc.errors import DataError
from lmc.measuring import paths
from lmc.measuring.inputs import HeldInputs, Inputs, StreamedInputs, first_batches
from lmc.measuring.paths import interpolation_path

LAMS = (0.0, 0.2, 0.5, 0.7, 1.0)


def both() -> tuple[HeldInputs, StreamedInputs]:
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(50, 6, generator=generator), torch.arange(50) % 3
    held = HeldInputs(images, labels, images[:41], torch.clone, 20)
    pairs = list(zip(images.split(20), labels.split(20), strict=True))
    return held, StreamedInputs(images[:20], labels, images[:41], pairs, 20)


def test_both_give_the_same_batches() -> None:
    held, streamed = both()
    for one, other in ((held, streamed), (streamed, held)):
        assert all(map(torch.equal, one.test_batches(), other.test_batches()))
        assert [len(batch) for batch in one.test_batches()] == [20, 20, 10]
        assert [len(batch) for batch in one.train_batches(100)] == [20, 20]  # one that is left over is left out
        assert [len(batch) for batch in one.train_batches(30)] == [20, 10]
        assert all(map(torch.equal, one.train_batches(41), other.train_batches(41)))
        assert torch.equal(one.examples(4), other.examples(4))
        assert (one.train_count, len(one.labels)) == (41, 50)


def test_batches_may_be_changed() -> None:
    for inputs in both():
        for read in (inputs.test_batches, lambda inputs=inputs: inputs.train_batches(41)):
            before = [batch.clone() for batch in read()]  # type: ignore[operator]
            for batch in read():  # type: ignore[operator]
                batch.zero_()
            assert all(map(torch.equal, read(), before))  # type: ignore[operator]


@pytest.mark.parametrize("kept", [paths.KEPT_BYTES, 3000, 1])
def test_a_path_is_the_same_on_both(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "KEPT_BYTES", kept)
    monkeypatch.setattr(paths, "NUMBER_COST", 0)  # the first layer is answered from memory wherever that can be done
    with torch.random.fork_rng():
        torch.manual_seed(0)
        a, b = (nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).eval() for _ in range(2))

    def logits(inputs: Inputs) -> list[Tensor]:
        return interpolation_path(copy.deepcopy(a), a.state_dict(), b.state_dict(), LAMS, inputs)[1]

    held, streamed = both()
    for one, other in zip(logits(held), logits(streamed), strict=True):
        assert torch.equal(one, other)


def test_data_in_another_order_is_refused() -> None:
    _, streamed = both()
    streamed.loader.reverse()  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="shuffle=False"):
        list(streamed.test_batches())


@pytest.mark.parametrize(
    ("count", "size", "expected", "left"),
    [(None, None, [20, 20, 10], 0), (40, None, [20, 20], 10), (21, None, [20, 20], 10), (21, 8, [8, 8, 4, 1], 10)],
)
def test_no_more_batches_are_taken_than_needed(
    count: int | None, size: int | None, expected: list[int], left: int
) -> None:
    batches = both()[0].test_batches()
    assert [len(batch) for batch in first_batches(batches, count, size)] == expected
    assert sum(map(len, batches)) == left
