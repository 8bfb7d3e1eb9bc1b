"""What models are run on, a batch at a time: held in memory, or read anew on every pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from lmc.data import Dataset, Normaliser
from lmc.errors import DataError

BATCH = 200
"""Images per batch, few enough for the activations of a narrow net to stay in a core's cache."""


class Inputs(Protocol):
    """Labelled test inputs, and the inputs that BatchNorm statistics are reset on."""

    @property
    def labels(self) -> Tensor:
        """Of the test inputs, int64 (M,)."""
        ...

    @property
    def train_count(self) -> int:
        """How many inputs there are to reset on."""
        ...

    def examples(self, count: int) -> Tensor:
        """The first ``count`` test inputs, or as many as are at hand, as a model reads them."""
        ...

    def test_batches(self) -> Iterator[Tensor]:
        """The test inputs in order, as a model reads them; it may change them."""
        ...

    def train_batches(self, limit: int) -> Iterator[Tensor]:
        """The first ``limit`` inputs to reset on; a last batch of one is left out."""
        ...


def first_batches(batches: Iterator[Tensor], count: int | None, size: int | None = None) -> Iterator[Tensor]:
    """Batches until they hold ``count`` inputs, and no more taken from the iterator than that needs.

    Args:
        batches: see `Inputs.test_batches`.
        count: ``None`` for all.
        size: the last batch is cut so that there are ``count`` inputs, and all into parts of this size; ``None`` gives
            whole batches.
    """
    seen = 0
    while count is None or seen < count:
        batch = next(batches, None)
        if batch is None:
            return
        yield from [batch] if size is None else torch.split(batch[: None if count is None else count - seen], size)
        seen += len(batch)


@dataclass(frozen=True)
class HeldInputs:
    """Inputs in memory.

    Args:
        test: (M, ...), for a dataset uint8 (M, C, H, W).
        labels: int64 (M,).
        train: (N, ...), what BatchNorm statistics are reset on.
        prepare: what makes new floating inputs of some of them; for a dataset the normaliser, fitted on the training
            images the models saw.
        batch: inputs per batch.
        dtype: type of the inputs.
    """

    test: Tensor
    labels: Tensor
    train: Tensor
    prepare: Callable[[Tensor], Tensor]
    batch: int = BATCH
    dtype: torch.dtype = torch.float32

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        train_size: int | None,
        device: torch.device | str,
        *,
        batch: int = BATCH,
        dtype: torch.dtype = torch.float32,
    ) -> HeldInputs:
        """Inputs of ``dataset`` for models trained on its first ``train_size`` images."""
        used = dataset.limited(train_size).to(torch.device(device))
        normalise = Normaliser.fit(used.train_images)
        return cls(used.test_images, used.test_labels, used.train_images, normalise, batch, dtype)

    @property
    def train_count(self) -> int:
        """See `Inputs`."""
        return len(self.train)

    def examples(self, count: int) -> Tensor:
        """See `Inputs`."""
        return self.prepare(self.test[:count]).to(self.dtype)

    def test_batches(self) -> Iterator[Tensor]:
        """See `Inputs`."""
        for part in torch.split(self.test, self.batch):
            yield self.prepare(part).to(self.dtype)

    def train_batches(self, limit: int) -> Iterator[Tensor]:
        """See `Inputs`."""
        for part in torch.split(self.train[:limit], self.batch):
            if len(part) > 1:
                yield self.prepare(part).to(self.dtype)


@dataclass(frozen=True)
class StreamedInputs:
    """Test inputs too many to hold, read on every pass.

    Args:
        first: the first batch, (N, ...).
        labels: int64 (M,), of all.
        train: what BatchNorm statistics are reset on, held.
        loader: gives the same (inputs, labels) batches in the same order every time.
        batch: inputs per batch.
    """

    first: Tensor
    labels: Tensor
    train: Tensor
    loader: Iterable[Any]
    batch: int = BATCH

    @property
    def train_count(self) -> int:
        """See `Inputs`."""
        return len(self.train)

    def examples(self, count: int) -> Tensor:
        """See `Inputs`."""
        return self.first[:count].clone()

    def test_batches(self) -> Iterator[Tensor]:
        """See `Inputs`.

        Raises:
            DataError: the labels come in another order than the first time.
        """
        position = 0
        for inputs, labels in self.loader:
            expected = self.labels[position : position + len(labels)].cpu()
            if not torch.equal(labels.cpu().long(), expected):
                raise DataError(
                    "the data comes in another order on every pass and is too large to hold; pass a DataLoader with "
                    "shuffle=False"
                )
            position += len(labels)
            for part in torch.split(inputs, self.batch):
                yield part.to(self.first.device, self.first.dtype, copy=True)

    def train_batches(self, limit: int) -> Iterator[Tensor]:
        """See `Inputs`."""
        for part in torch.split(self.train[:limit], self.batch):
            if len(part) > 1:
                yield part.clone()
