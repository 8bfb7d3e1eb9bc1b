"""Trained models that several measurements share: each loaded, evaluated and looked into once, as far as they fit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

from lmc.measuring.calls import Seen
from lmc.measuring.evaluation import Judged, judge_all
from lmc.measuring.inputs import Inputs, first_batches
from lmc.measuring.layers import LayerMeans, Records
from lmc.measuring.tapping import Seeing
from lmc.precision import double
from lmc.specs import RunSpec

MODEL_BYTES = 2**28
"""Weights of models kept for later measurements, at most; those that are being measured count first."""

SEEN_BYTES = 2**28
"""Activations of models kept for later measurements, at most; what does not fit is computed again."""


class Room:
    """A number of bytes that may still be kept.

    Args:
        left: of them.
    """

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, size: int) -> bool:
        """Take so many, if there are."""
        if size > self.left:
            return False
        self.left -= size
        return True


class Endpoint:
    """A trained model, and what it does with the test inputs.

    Args:
        network: in evaluation mode; not changed while this is used.
        inputs: the test inputs.
        room: for activations that are kept; ``None`` keeps none.
    """

    def __init__(self, network: nn.Module, inputs: Inputs, room: Room | None = None) -> None:
        self.network, self._inputs, self._room = network, inputs, room or Room(0)
        self._seeing = Seeing(network)
        self._seen: dict[int, tuple[Seen, int]] = {}
        self._outputs: dict[int, Tensor] = {}
        self._logits: Tensor | None = None
        self._judged: Judged | None = None

    def reordered(self, network: nn.Module) -> Endpoint:
        """The same function by ``network``, whose units are in another order: its logits are known."""
        other = Endpoint(network, self._inputs)
        other._logits, other._judged = self.logits(), self.judged()
        return other

    def see(self, index: int, batch: Tensor, *, keep: bool = True) -> Seen:
        """What the model does with the test batch of that index, to be kept where there is room unless told not to."""
        if index in self._seen:
            return self._seen[index][0]
        seen = self._seeing(batch)
        self._outputs[index] = seen.output
        size = seen.tapped.bytes
        if keep and self._room.take(size):
            self._seen[index] = seen, size
        return seen

    @torch.no_grad()
    def logits(self) -> Tensor:
        """Logits (M, classes) on all test inputs."""
        if self._logits is None:
            batches = enumerate(self._inputs.test_batches())
            self._logits = torch.cat(
                [self._outputs[index] if index in self._outputs else self.network(batch) for index, batch in batches]
            )
            self._outputs.clear()
        return self._logits

    def judged(self) -> Judged:
        """What the logits say of the test inputs.

        Raises:
            MergeError: a logit is not finite.
        """
        if self._judged is None:
            (self._judged,) = judge_all(double(self.logits())[None], self._inputs.labels)
        return self._judged

    def forget(self) -> None:
        """Give back the room of the activations."""
        self._room.left += sum(size for _, size in self._seen.values())
        self._seen.clear()


class Endpoints:
    """Models by spec, loaded when they are first needed.

    Args:
        load: gives the network of a spec, in evaluation mode.
        inputs: the test inputs.
    """

    def __init__(self, load: Callable[[RunSpec], nn.Module], inputs: Inputs) -> None:
        self._load, self._inputs, self._room = load, inputs, Room(SEEN_BYTES)
        self._held: dict[RunSpec, Endpoint] = {}

    def __getitem__(self, spec: RunSpec) -> Endpoint:
        if spec not in self._held:
            self._held[spec] = Endpoint(self._load(spec), self._inputs, self._room)
        return self._held[spec]

    def make_room(self, now: Collection[RunSpec], later: Collection[RunSpec]) -> None:
        """Let go of models that are not needed again, and of those that do not fit beside what is measured now."""
        for spec in [spec for spec in reversed(self._held) if spec not in now]:  # those kept first stay
            if spec not in later or len({*self._held, *now}) * self._size > MODEL_BYTES:
                self._held.pop(spec).forget()

    @property
    def _size(self) -> int:
        """Bytes of one model's weights."""
        network = next(iter(self._held.values())).network
        return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())


@torch.no_grad()
def compare(
    models: Sequence[Endpoint], merged: nn.Module, shares: Sequence[float], inputs: Inputs, limit: int | None
) -> tuple[Records, Tensor]:
    """Layers of models and their average on the first ``limit`` test inputs, rounded up to whole batches.

    Returns:
        See `lmc.measuring.layers.measure_layers`; and logits (M, classes) of ``merged`` on all test inputs.
    """
    means, seeing, outputs = LayerMeans(merged, shares), Seeing(merged), []
    batches = inputs.test_batches()
    for index, batch in enumerate(first_batches(batches, limit)):
        of_merged = seeing(batch)
        means.add([model.see(index, batch) for model in models], of_merged)
        outputs.append(of_merged.output)
    outputs += map(merged, batches)
    return means.records(), torch.cat(outputs)
