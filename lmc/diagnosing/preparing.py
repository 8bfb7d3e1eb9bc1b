"""What a diagnosis works on: copies of the models, the data as they read it, and what each model does with it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lmc.diagnosing.alignment import check_spec
from lmc.diagnosing.models import PROBED, copies_of, gives_probabilities, identical, try_out
from lmc.diagnosing.options import Asked
from lmc.diagnosing.samples import Data, check_labels, read_samples, with_training
from lmc.diagnosing.standard import Standard
from lmc.measuring.evaluation import Evaluation, evaluate_all, logits_of
from lmc.measuring.inputs import Inputs
from lmc.merging import State, has_bn, merge, reset_bn_stats, untracked_norms


@dataclass(frozen=True)
class Prepared:
    """Models and data, checked and evaluated.

    Args:
        copies: of the models, in evaluation mode on the device.
        spare: another module of the architecture; merges are loaded into it.
        states: of the models.
        samples: test inputs, and what BatchNorm statistics are reset on.
        classes: number of logits.
        resets: whether the architecture has BatchNorm statistics, and all its BatchNorm layers do.
        logits: of the models, (M, classes) each.
        models: what they do.
        notes: what was found and done, and why.
    """

    copies: Sequence[nn.Module]
    spare: nn.Module
    states: Sequence[State]
    samples: Inputs
    classes: int
    resets: bool
    logits: Sequence[Tensor] = field(repr=False)
    models: Sequence[Evaluation]
    notes: Sequence[str]

    @property
    def probe(self) -> Tensor:
        """A few test inputs."""
        return self.samples.examples(PROBED)

    @property
    def reset_inputs(self) -> int:
        """Inputs that BatchNorm statistics are reset on; 0 without BatchNorm."""
        return self.samples.train_count if self.resets else 0

    def load_average(self, states: Sequence[State], *, reset: bool) -> nn.Module:
        """``spare``, overwritten with the mean of the states, its BatchNorm statistics reset if asked for."""
        self.spare.load_state_dict(merge(states))
        if reset:
            self.reset()
        return self.spare

    def reset(self) -> None:
        """Reset the BatchNorm statistics of ``spare``."""
        reset_bn_stats(self.spare, self.samples.train_batches(self.reset_inputs))

    def average(self, states: Sequence[State], *, reset: bool) -> Evaluation:
        """What the mean of the states does; ``spare`` is overwritten."""
        (found,) = evaluated([logits_of(self.load_average(states, reset=reset), self.samples)], self.samples)
        return found

    def ensemble(self) -> Evaluation:
        """What the mean of the models' logits does."""
        (found,) = evaluated([torch.stack([each.double() for each in self.logits]).mean(0)], self.samples)
        return found

    def standard(self, asked: Asked) -> Standard:
        """What a merge of the models is held to."""
        labels = self.samples.labels
        commonest = float(labels.bincount().max()) / len(labels)
        return Standard(self.models, asked.thresholds, len(labels), commonest, identical(self.states))


def prepare(given: Sequence[nn.Module], data: Data, asked: Asked) -> Prepared:
    """Copy, read, check and evaluate.

    Args:
        given: two models or more, left as they are.
        data: held-out inputs with labels.
        asked: the options.

    Raises:
        DataError: the data does not fit the models.
        MergeError: the models are not of one architecture, hold NaN, or are no classifiers; or the specification
            is not of their symmetry.
    """
    copies, notes = copies_of(given, asked.device)
    spare = copy.deepcopy(copies[0])
    samples = read_samples(data, copies[0], asked.device)
    classes = try_out(copies, spare, samples.examples(PROBED))
    check_labels(samples.labels, classes)
    states: list[State] = [{name: each.clone() for name, each in model.state_dict().items()} for model in copies]
    if asked.spec is not None:
        check_spec(asked.spec, spare, states, samples.examples(2))
    untracked = untracked_norms(spare)
    resets = has_bn(spare) and not untracked
    if resets:
        samples = with_training(samples, asked.train_data, asked.reset_inputs)
        source = "the test inputs, as no training data was given" if asked.train_data is None else "training data"
        notes.append(f"BatchNorm statistics were reset on {samples.train_count} inputs of {source}")
    if untracked:
        notes.append(
            f"the BatchNorm layer {untracked[0]!r} keeps no running statistics (track_running_stats=False), so no "
            "merge with a BN reset was tried; build the models with track_running_stats=True to have it tried"
        )
    logits = [logits_of(model, samples) for model in copies]
    if any(map(gives_probabilities, logits)):
        notes.append(
            "the models give rows that are >= 0 and sum to 1: probabilities, which were taken for logits, so that loss "
            "and β mean little; leave the softmax out of the model"
        )
    return Prepared(copies, spare, states, samples, classes, resets, logits, evaluated(logits, samples), notes)


def evaluated(logits: Sequence[Tensor], samples: Inputs) -> list[Evaluation]:
    """What logits (M, classes) say, each by itself."""
    return evaluate_all(torch.stack([each.cpu().double() for each in logits]), samples.labels)
