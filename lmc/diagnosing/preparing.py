"""What a diagnosis works on: copies of the models, the data as they read it, and what each model does with it."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from lmc.diagnosing.alignment import check_spec
from lmc.diagnosing.candidates import MEAN
from lmc.diagnosing.counters import check_integers
from lmc.diagnosing.effective import fold_masks
from lmc.diagnosing.models import PROBED, copies_of, gives_probabilities, identical, try_out
from lmc.diagnosing.options import Asked
from lmc.diagnosing.reading import adapt
from lmc.diagnosing.rescaling import ScaleFree, balanced, scale_free_layers
from lmc.diagnosing.samples import Data, Read, Samples, check_labels, first_part, read_samples, with_training
from lmc.diagnosing.scoring import Score, Tally, tally
from lmc.diagnosing.standard import Standard
from lmc.diagnosing.task import Task, task_of
from lmc.errors import MergeError
from lmc.merging import State, has_bn, merge, reset_bn_stats, untracked_norms
from lmc.merging.sums import SumParts, sum_merge, sum_parts
from lmc.precision import double

PART = 250
"""Test inputs that points of a path between its ends and its middle are measured on."""


@dataclass(frozen=True)
class Prepared:
    """Models and data, checked and evaluated.

    Args:
        copies: of the models, in evaluation mode on the device.
        spare: another module of the architecture; merges are loaded into it.
        states: of the models, scales that no function depends on balanced where they lie far apart.
        samples: test inputs, and what BatchNorm statistics are reset on.
        part: a part of them, for the points of paths.
        example: two inputs as the model's own forward pass reads the first of them.
        task: what outputs mean.
        resets: whether the architecture has BatchNorm statistics, and all its BatchNorm layers do.
        tallies: what the models do, and last their ensemble.
        reset_tallies: what the models do with their BatchNorm statistics reset as those of a merge are; empty
            without BatchNorm.
        free: layers whose scale a normalisation ignores.
        balanced: those of them that were brought to one scale.
        classes: number of logits; 0 where outputs are none.
        notes: what was found and done, and why.
    """

    copies: Sequence[nn.Module]
    spare: nn.Module
    states: Sequence[State]
    samples: Samples
    part: Samples
    task: Task
    resets: bool
    tallies: Sequence[Tally] = field(repr=False)
    reset_tallies: Sequence[Tally] = field(repr=False)
    free: Sequence[ScaleFree]
    balanced: Sequence[str]
    classes: int
    notes: Sequence[str]

    @property
    def probe(self) -> Tensor:
        """A few test inputs."""
        return self.samples.examples(PROBED)

    @property
    def reset_inputs(self) -> int:
        """Inputs that BatchNorm statistics are reset on; 0 without BatchNorm."""
        return self.samples.train_count if self.resets else 0

    @functools.cached_property
    def models(self) -> list[Score]:
        """What the models do."""
        return [each.score() for each in self.tallies[:-1]]

    @functools.cached_property
    def reset_models(self) -> list[Score]:
        """What they do with their statistics reset."""
        return [each.score() for each in self.reset_tallies]

    @functools.cached_property
    def references(self) -> list[list[Score]]:
        """The models as they are, and given the same treatment; merges are held against both."""
        return [self.models, self.reset_models] if self.resets else [self.models]

    @functools.cached_property
    def parts(self) -> SumParts | str:
        """What sum merging does not simply sum, or why there is no such merge."""
        try:
            return sum_parts(self.spare, self.probe[:2])
        except MergeError as error:
            return str(error)

    def load_merge(self, states: Sequence[State], rule: str = MEAN, *, reset: bool) -> nn.Module:
        """``spare``, overwritten with the mean or sum of the states, its BatchNorm statistics reset if asked for."""
        if rule == MEAN or isinstance(self.parts, str):
            self.spare.load_state_dict(merge(states))
        else:
            self.spare.load_state_dict(sum_merge(states, self.parts))
        if reset:
            reset_bn_stats(self.spare, self.samples.train_batches(self.reset_inputs))
        return self.spare

    def merged(self, states: Sequence[State], rule: str = MEAN, *, reset: bool) -> Tally:
        """What the merge of the states does; ``spare`` is overwritten."""
        return tally([self.load_merge(states, rule, reset=reset)], self.samples, self.task)[0]

    def standard(self, asked: Asked) -> Standard:
        """What a merge of the models is held to."""
        plain, inputs = self.models, len(self.samples.labels)
        best, reset = plain, False
        if self.resets:
            sign = -1 if self.task.lower_is_better else 1
            means = [sign * sum(each.metric for each in models) for models in self.references]
            reset = means[1] > means[0]
            best = self.reset_models if reset else plain
        same = identical(self.states)
        guess = _without_inputs(self.task, self.samples.labels)
        return Standard(best, asked.thresholds, inputs, guess, same, self.task, reset, self.balanced)


def prepare(given: Sequence[nn.Module], data: Data, asked: Asked) -> Prepared:
    """Copy, read, check and evaluate.

    Args:
        given: two models or more, left as they are.
        data: held-out inputs with labels.
        asked: the options.

    Raises:
        DataError: the data does not fit the models.
        MergeError: the models are not of one architecture, hold NaN, or give no outputs that can be judged; or the
            specification is not of their symmetry.
    """
    copies, notes = copies_of(given, asked.device)
    read = read_samples(data, copies[0], asked.device, inputs=asked.inputs, labels=asked.labels)
    untracked = untracked_norms(copies[0])
    resets = has_bn(copies[0]) and not untracked
    if resets:
        read = with_training(read, asked.train_data, asked.reset_inputs, asked.inputs)
        source = "the test inputs, as no training data was given" if asked.train_data is None else "training data"
        notes.append(f"BatchNorm statistics were reset on {read.samples.train_count} inputs of {source}")
    if read.columns is not None or asked.outputs is not None or _names_outputs(copies[0], read):
        for model in copies:
            adapt(model, read.columns, asked.outputs)
    spare, samples = copy.deepcopy(copies[0]), read.samples
    if _is_one_hot(samples.labels):
        samples = replace(samples, labels=samples.labels.argmax(1))
        read = replace(read, samples=samples)
        notes.append("every row of the labels holds a single 1: taken for one class per input")
    outputs = try_out(copies, spare, samples.examples(PROBED))
    notes += _folded(copies, samples.examples(PROBED))
    task = _task(outputs, read, asked)
    classes = outputs.shape[task.class_axis] if task.kind == "classes" else 0
    if task.kind == "classes":
        check_labels(samples.labels, classes, task.ignored)
    states: list[State] = [{name: each.clone() for name, each in model.state_dict().items()} for model in copies]
    counters = check_integers(spare, states, samples.examples(PROBED))
    notes += [f"counters are model 1's: {', '.join(counters[:4])}"] if _odd(counters) else []
    if asked.spec is not None:
        check_spec(asked.spec, spare, states, samples.examples(2))
    notes += _untracked(untracked)
    tallies = tally(copies, samples, task, ensemble=True)
    if task.has_beta and task.kind == "classes" and any(_are_probabilities(each) for each in tallies[:-1]):
        notes.append(
            "the models give rows that are >= 0 and sum to 1: probabilities, which were taken for logits, so that loss "
            "and β mean little; leave the softmax out of the model"
        )
    reset_tallies = _reset_tallies(spare, states, samples, task) if resets else []
    free = scale_free_layers(copies[0], samples.examples(2))
    states, scaled = balanced(states, free)
    if scaled:
        for model, state in zip(copies, states, strict=True):
            model.load_state_dict(state)
    part = first_part(samples, PART) if len(samples.labels) > PART else samples
    return Prepared(
        copies, spare, states, samples, part, task, resets, tallies, reset_tallies, free, scaled, classes, notes
    )


def _untracked(norms: Sequence[str]) -> list[str]:
    return [
        f"the BatchNorm layer {name!r} keeps no running statistics (track_running_stats=False), so no "
        "merge with a BN reset was tried; build the models with track_running_stats=True to have it tried"
        for name in norms[:1]
    ]


def _folded(copies: Sequence[nn.Module], example: Tensor) -> list[str]:
    masks = fold_masks(copies, example)
    return [f"masks were multiplied into their weights before anything was averaged: {', '.join(masks)}"] * bool(masks)


def _is_one_hot(labels: Tensor) -> bool:
    binary = labels.ndim == 2 and labels.shape[1] > 1 and bool(((labels == 0) | (labels == 1)).all())
    return binary and bool((labels.sum(1) == 1).all())


def _names_outputs(model: nn.Module, read: Read) -> bool:
    """Whether a model gives something else than a tensor."""
    with torch.no_grad():
        try:
            return not isinstance(model(read.samples.examples(2)), Tensor)
        except Exception:  # the module's own code; trying it out says what is wrong
            return False


def _task(outputs: Tensor, read: Read, asked: Asked) -> Task:
    labels = read.samples.labels
    inputs: Tensor | None
    if read.columns is None:
        inputs = read.samples.test if hasattr(read.samples, "test") else None
    else:
        whole = [each[: len(labels)] for each in read.columns.tensors if not each.is_floating_point()]
        inputs = next((each for each in whole if each.shape == labels.shape and each.dtype != torch.bool), None)
    return task_of(outputs, labels, inputs, asked.loss, asked.metric, asked.ignore_index)


def _reset_tallies(spare: nn.Module, states: Sequence[State], samples: Samples, task: Task) -> list[Tally]:
    found = []
    for state in states:
        spare.load_state_dict(state)
        reset_bn_stats(spare, samples.train_batches(samples.train_count))
        found += tally([spare], samples, task)
    return found


def _are_probabilities(each: Tally) -> bool:
    return bool(each.rows) and gives_probabilities(torch.cat([logits for logits, _, _ in each.rows]))


def _odd(counters: Sequence[str]) -> list[str]:
    return [name for name in counters if not name.endswith("num_batches_tracked")]


def _without_inputs(task: Task, labels: Tensor) -> float | None:
    """The metric of the best answer that ignores the inputs; ``None`` for a metric that is the reader's."""
    if task.metric is not None or task.kind == "own":
        return None
    if task.kind == "numbers":
        return 0.0
    if task.kind == "labels":
        share = double(labels).mean(0)
        return float(torch.maximum(share, 1 - share).mean())
    counted = labels[labels != task.ignored]
    return float(counted.bincount().max()) / len(counted)
