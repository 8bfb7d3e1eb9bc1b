"""A training step recorded once as a CUDA graph and replayed: a narrow net's kernels run faster than they are launched.

After NVIDIA's and PyTorch's rules for capturing a whole step: it runs a few times first, on a stream of its own; it
reads its inputs where they were when it was recorded; and it changes nothing but tensors that stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[..., None]
Recorder = Callable[[Callable[[], None]], Callable[[], None]]

WARM_UP = 3
"""Steps before the recording, by which libraries have chosen their kernels, and optimizers made their buffers."""


class RecordedStep:
    """Calls ``step`` eagerly `WARM_UP` times, then records it and from there on replays the record.

    Args:
        step: takes tensors that have the same shapes in every call.
        record: gives what replays a function, see `cuda_graph`.
    """

    def __init__(self, step: Step, record: Recorder) -> None:
        self._step, self._record = step, record
        self._warm = 0
        self._replay: Callable[[], None] | None = None
        self._kept: tuple[Tensor, ...] = ()

    def __call__(self, *inputs: Tensor) -> None:
        """Make one step with ``inputs``."""
        if self._warm < WARM_UP:
            self._warm += 1
            _aside(lambda: self._step(*inputs), inputs[0].device)
            return
        if self._replay is None:
            self._kept = tuple(each.clone() for each in inputs)
            self._replay = self._record(lambda: self._step(*self._kept))
        for kept, new in zip(self._kept, inputs, strict=True):
            kept.copy_(new)
        self._replay()


def cuda_graph(run: Callable[[], None]) -> Callable[[], None]:
    """Record the kernels that ``run`` launches, without running them, and give what runs them."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def _aside(run: Callable[[], None], device: torch.device) -> None:
    """Run on a stream of its own, as steps before a recording have to."""
    if device.type != "cuda":
        run()
        return
    here, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(here)
    with torch.cuda.stream(stream):
        run()
    here.wait_stream(stream)
