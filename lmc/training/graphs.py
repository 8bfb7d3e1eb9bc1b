"""A training step recorded once as a CUDA graph and replayed: a narrow net's kernels run faster than they are launched.

After NVIDIA's and PyTorch's rules for capturing a whole step: it runs a few times first, on a stream of its own; it
reads its inputs where they were when it was recorded; and it changes nothing but tensors that stay where they are. A
record is believed once it has done what an eager step does: one that captured nothing, or another device's work, would
leave a model as it was, which looks like a trained one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lmc.errors import DeviceError

Step = Callable[..., None]
Recorder = Callable[[Callable[[], None]], Callable[[], None]]

WARM_UP = 3
"""Steps before the recording, by which libraries have chosen their kernels, and optimizers made their buffers."""

APART = 0.25
"""How far a replayed step may end from an eager one, relative to what the step changes of a matrix; two runs of one
kernel may round otherwise, and a graph that left something out is further off. Of vectors only whether they change is
compared; a bias before a normalisation has a gradient of rounding errors alone."""


class RecordedStep:
    """Calls ``step`` eagerly `WARM_UP` times, then records it and from there on replays the record.

    The first replay is compared with an eager step from the same state.

    Args:
        step: takes tensors that have the same shapes in every call.
        record: gives what replays a function, see `cuda_graph`.
        changed: gives all that the step changes, with the same tensors in every call after the first.
    """

    def __init__(self, step: Step, record: Recorder, changed: Callable[[], Sequence[Tensor]]) -> None:
        self._step, self._record, self._changed = step, record, changed
        self._warm = 0
        self._replay: Callable[[], None] | None = None
        self._kept: tuple[Tensor, ...] = ()
        self._stream: torch.cuda.Stream | None = None

    def __call__(self, *inputs: Tensor) -> None:
        """Make one step with ``inputs``.

        Raises:
            DeviceError: the record does something else than the step.
        """
        device = inputs[0].device
        if self._replay is not None:
            for kept, new in zip(self._kept, inputs, strict=True):
                kept.copy_(new)
            self._replay()
            return
        with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
            if self._warm < WARM_UP:
                self._warm += 1
                self._aside(lambda: self._step(*inputs), device)
            else:
                self._kept = tuple(each.clone() for each in inputs)
                self._replay = self._believed(device)

    def _believed(self, device: torch.device) -> Callable[[], None]:
        """What replays the step, after one replay."""
        changed = self._changed()
        noise = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
        before = _copies(changed)
        self._aside(lambda: self._step(*self._kept), device)
        eager = _copies(changed)
        for tensor, value in zip(changed, before, strict=True):
            tensor.copy_(value)
        if device.type == "cuda":
            torch.cuda.set_rng_state(noise, device)
        else:
            torch.set_rng_state(noise)
        replay = self._record(lambda: self._step(*self._kept))
        replay()
        _compare(before, eager, _copies(changed), device)
        return replay

    def _aside(self, run: Callable[[], None], device: torch.device) -> None:
        """Run on a stream of its own, as steps before a recording have to."""
        if device.type != "cuda":
            run()
            return
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        here = torch.cuda.current_stream(device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            run()
        here.wait_stream(self._stream)


def cuda_graph(run: Callable[[], None]) -> Callable[[], None]:
    """Record the kernels that ``run`` launches on the current device, without running them, and give what does."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    """On the host: a wide net's state may fill its device."""
    return [each.detach().to("cpu", copy=True) for each in tensors]


def _compare(before: list[Tensor], eager: list[Tensor], replayed: list[Tensor], device: torch.device) -> None:
    odd = [each for each in zip(before, eager, replayed, strict=True) if not _same_change(*each)]
    if not odd:
        return
    moves = sum(not torch.equal(start, end) for start, _, end in odd)
    what = "otherwise" if moves else "not at all: the graph is empty, or was recorded on another device"
    raise DeviceError(
        f"a recorded training step on {device} changes {len(odd)} of {len(before)} tensors {what}; its models "
        "would not be trained. Train with recorded=False, and report the versions of torch and of the driver"
    )


def _same_change(before: Tensor, eager: Tensor, replayed: Tensor) -> bool:
    if before.ndim < 2 or not before.is_floating_point():
        return torch.equal(before, eager) == torch.equal(before, replayed)
    apart, size = (torch.linalg.vector_norm(each) for each in (replayed - eager, eager - before))
    return not bool(torch.isfinite(size)) or bool(apart <= APART * size)
