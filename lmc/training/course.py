"""What models that train side by side have in common, how they draw their batches, and one step of theirs."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from lmc.data import Dataset, Normaliser, augment, epoch_order, random_crops
from lmc.nets import memory_format_of
from lmc.specs import RunSpec
from lmc.training.optimisers import make_optimizer, make_step
from lmc.training.stacking import like_parameters, stack
from lmc.training.state import TrainingState


@dataclass(frozen=True)
class Course:
    """What models that train side by side have in common, and what stays as it is meanwhile.

    Args:
        specs: of the models, equal up to their seeds.
        dataset: limited to what they train on, on their device.
        device: where they train.
        stacked: whether they are one stacked network.
        normalise: fitted on the training images.
    """

    specs: Sequence[RunSpec]
    dataset: Dataset
    device: torch.device
    stacked: bool
    normalise: Normaliser

    @functools.cached_property
    def batches(self) -> int:
        """Steps of an epoch."""
        return len(self.dataset.train_images) // self.specs[0].batch_size

    @functools.cached_property
    def autocast(self) -> torch.autocast:
        """What the forward pass is computed in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.specs[0].precision == "bf16")

    def untrained(self, models: Sequence[nn.Module], rate: Tensor | None) -> TrainingState:
        """A state before the first step.

        Args:
            models: of initial weights, in the order of the specs.
            rate: where recorded steps read the learning rate.
        """
        spec = self.specs[0]
        network = (stack(models) if self.stacked else models[0]).to(self.device)
        network = network.to(memory_format=memory_format_of(spec.arch)).train()
        optimizer = make_optimizer(spec, list(network.parameters()), rate)
        generators = [torch.Generator() for _ in models]
        noises = [torch.Generator(self.device) for _ in models]
        for each, *own in zip(self.specs, generators, noises, strict=True):
            for generator in own:
                generator.manual_seed(each.init_seed if each.shared_epochs else each.data_seed)
        return TrainingState(network, optimizer, generators, noises, torch.zeros(len(models), device=self.device))

    def draw_epoch(self, state: TrainingState) -> None:
        """Draw the batches of an epoch, and what augments them, by every model's own generator.

        A model that branches off a trunk here draws by its own seed from now on; the one whose trunk it was goes on.
        """
        for each, *own in zip(self.specs, state.generators, state.noises, strict=True):
            if len(state.losses) == each.shared_epochs > 0 and each.data_seed != each.init_seed:
                for generator in own:
                    generator.manual_seed(each.data_seed)
        images, batch = len(self.dataset.train_images), self.specs[0].batch_size
        state.orders = self._interleaved([epoch_order(images, each) for each in state.generators])
        if self.specs[0].augment:
            crops = [torch.cat([random_crops(batch, each) for _ in range(self.batches)]) for each in state.generators]
            state.crops = self._interleaved(crops)
        state.total.zero_()

    def _interleaved(self, each_member: Sequence[Tensor]) -> Tensor:
        """By batch, the members' images in turn: (batches, batch · members, ...)."""
        joined = torch.stack(list(each_member), dim=1).to(self.device)  # (images, members, ...)
        batch = self.specs[0].batch_size
        return joined[: self.batches * batch].view(self.batches, batch * len(self.specs), *joined.shape[2:])

    def advance(self, state: TrainingState, order: Tensor, crops: Tensor, *, curvature: bool = False) -> None:
        """One optimizer step.

        Args:
            state: changed in place.
            order: the batch's images, (batch · members,).
            crops: of these images; not read where none are augmented.
            curvature: whether the optimizer differentiates the gradient once more.
        """
        spec, members, images = self.specs[0], len(self.specs), self.dataset.train_images
        picked = images.index_select(0, order)
        if spec.augment:
            picked = augment(picked, crops)
        joined = self.normalise(picked).view(spec.batch_size, -1, *images.shape[2:])  # (batch, members · C, H, W)
        inputs = joined.contiguous(memory_format=memory_format_of(spec.arch))
        target = self.dataset.train_labels.index_select(0, order)
        state.optimizer.zero_grad(set_to_none=True)
        # of attention's kernels only the plain one can be differentiated twice
        plainly = sdpa_kernel(SDPBackend.MATH) if curvature else contextlib.nullcontext()
        with self.autocast, plainly:
            logits = state.model(inputs).float().view(spec.batch_size * members, -1)
        losses = F.cross_entropy(logits, target, reduction="none").view(spec.batch_size, members).mean(0)
        losses.sum().backward(create_graph=curvature)  # type: ignore[no-untyped-call]
        make_step(state.optimizer, self._noise(state) if curvature else None)
        state.total += losses.detach()

    def _noise(self, state: TrainingState) -> list[Tensor]:
        """Standard Gaussian, of every parameter's shape; each model's is what it would draw alone."""

        def drawn(model: int, shape: torch.Size) -> Tensor:
            return torch.randn(shape, generator=state.noises[model], device=self.device)

        return like_parameters(state.model, len(self.specs), drawn)
