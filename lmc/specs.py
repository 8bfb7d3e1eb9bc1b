"""What one trained model is: a frozen, hashable description with a content key."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lmc.architectures import architecture
from lmc.errors import SpecError

RECIPE_VERSION = 3
"""Raised whenever the training code changes what a spec produces; part of every key."""

OPTIMIZERS = ("sgd", "adam", "sophia")
SCHEDULES = ("constant", "warmup-linear")
DECAYS = ("coupled", "decoupled")
PRECISIONS = ("fp32", "bf16")
"""What a model can be trained in; weights are float32 in both."""
_NAMED_CLASSES = 10
"""More classes than this are counted, not named, where a recipe is described."""


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that determines one trained model.

    Args:
        dataset: name of a dataset, for a run one in the table (see `lmc.datasets`).
        arch: name of an architecture (see `lmc.architectures`).
        width: multiplier of the architecture's base width (MLP 512 units, VGG 64 channels, ResNet 16 channels, ViT
            128 features); may be a fraction as long as every layer keeps a whole width.
        depth: hidden layers of an MLP (the paper's has 3); other architectures have their own and keep 3.
        bias: whether linear layers have a bias, and convolutions of nets without BatchNorm, and LayerNorms.
        classes: which classes of the dataset are kept, as groups of class numbers: every group is one label, in the
            order of the groups. A number alone is a group of its own: ``(1, 6)`` tells class 1 from class 6,
            ``((0, 1, 2), (3, 4))`` five classes in two labels. Empty for all classes as they are. Images of other
            classes are left out, of the training and of the test set.
        train_size: how many training images of these classes are used, in a fixed order; ``None`` means all.
        augment: random horizontal flip and random crop with padding 4.
        optimizer: ``"sgd"`` (with ``momentum``), ``"adam"``, or ``"sophia"`` (SophiaH; F.10).
        lr: peak learning rate.
        weight_decay: coefficient of the decay, applied to every parameter.
        decay: ``"coupled"`` (added to the gradient: L2, as in Appendix B.1) or ``"decoupled"`` (shrinks the weights
            beside the step, as AdamW does).
        schedule: ``"constant"`` or ``"warmup-linear"`` (up over ``warmup`` of the steps, then
            linearly to zero).
        warmup: share of the steps spent warming up.
        epochs: passes over the training images.
        batch_size: images per step; the last, smaller batch of an epoch is dropped.
        init_seed: seeds the initial weights.
        data_seed: seeds the batch order and the augmentation.
        shared_epochs: spawning (App. C): in the first so many epochs ``init_seed`` seeds these instead, so that specs
            of one ``init_seed`` branch off a common trunk.
        precision: ``"fp32"`` or ``"bf16"`` (autocast; weights stay float32).

    Raises:
        SpecError: a value is unknown or out of range.

    Example:
        >>> spec = RunSpec(dataset="digits", arch="mlp", width=1 / 8, weight_decay=3e-3, epochs=10)
        >>> spec.with_seed(1).describe()
        'mlp x0.125 on digits, decay 0.003, seed 1'
    """

    dataset: str
    arch: str
    width: float
    depth: int = 3
    bias: bool = True
    classes: tuple[tuple[int, ...], ...] = ()
    train_size: int | None = None
    augment: bool = False
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    decay: str = "coupled"
    schedule: str = "warmup-linear"
    warmup: float = 0.05
    epochs: int = 1
    batch_size: int = 50
    init_seed: int = 0
    data_seed: int = 0
    shared_epochs: int = 0
    precision: str = "fp32"

    def __post_init__(self) -> None:
        known = architecture(self.arch)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("decay", self.decay, DECAYS)
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("precision", self.precision, PRECISIONS)
        _in_range("width", self.width, low=0.0, open_low=True)
        _in_range("lr", self.lr, low=0.0, open_low=True)
        _in_range("momentum", self.momentum, low=0.0, high=1.0, open_high=True)
        _in_range("weight_decay", self.weight_decay, low=0.0)
        _in_range("warmup", self.warmup, low=0.0, high=1.0, open_high=True)
        for name in ("depth", "epochs", "batch_size"):
            _whole(name, getattr(self, name), low=1)
        if self.train_size is not None:
            _whole("train_size", self.train_size, low=1)
        if self.depth != 3 and not known.any_depth:
            raise SpecError(f"depth is {self.depth}, but {self.arch} has its own depth; leave it at 3")
        for name in ("init_seed", "data_seed", "shared_epochs"):
            _whole(name, getattr(self, name), low=0)
        if self.shared_epochs >= self.epochs:
            raise SpecError(
                f"shared_epochs is {self.shared_epochs} of {self.epochs} epochs; leave one at least that is not shared"
            )
        for name in ("bias", "augment"):
            _flag(name, getattr(self, name))
        for name in ("width", "lr", "momentum", "weight_decay", "warmup"):  # 1 and 1.0 are one recipe
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "classes", _groups(self.classes))

    @functools.cached_property
    def key(self) -> str:
        """Content key; the same fields and recipe version give the same 20 hex digits."""
        fields = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}  # asdict would copy them
        return content_key({"recipe": RECIPE_VERSION, **fields})

    @property
    def seed(self) -> int:
        """What tells models of one family apart; spawned ones share their ``init_seed``."""
        return self.data_seed

    def with_seed(self, seed: int) -> RunSpec:
        """The same recipe with ``seed`` for both the initial weights and the batch order."""
        return dataclasses.replace(self, init_seed=seed, data_seed=seed)

    def steps(self, images: int) -> int:
        """Optimizer steps on a training set of ``images`` images."""
        return self.epochs * max(1, images // self.batch_size)

    def decay_horizon(self, images: int) -> float:
        """H = Σ_t η_t · weight_decay: how often the initial weights' share e-folds away.

        With decoupled decay that is so for every optimizer. Coupled decay passes through the optimizer: momentum of μ
        makes it 1 / (1 - μ) times as strong, and Adam and Sophia scale it as they do the gradient, so that H there only
        orders recipes of one optimizer.
        """
        mean_lr = self.lr if self.schedule == "constant" else self.lr / 2
        return mean_lr * self.weight_decay * self.steps(images)

    def describe(self) -> str:
        """One line for logs and error messages."""
        depth = f" of {self.depth} hidden layers" if self.depth != 3 else ""
        classes = f" (classes {classes_in_words(self.classes)})" if self.classes else ""
        asides = [self.optimizer] * (self.optimizer == "sophia") + [self.decay] * (self.decay != "coupled")
        decay = f"decay {self.weight_decay:g}" + (f" ({', '.join(asides)})" if asides else "")
        return (
            f"{self.arch} x{self.width:g}{depth} on {self.dataset}{classes}, {decay}, seed {self.seed}{self._origin()}"
        )

    def _origin(self) -> str:
        if self.shared_epochs:
            return f" spawned from {self.init_seed} after {self.shared_epochs} of {self.epochs} epochs"
        return f" from the start of {self.init_seed}" if self.init_seed != self.data_seed else ""


def stack_seeds(spec: RunSpec) -> range:
    """The seeds that ``spec`` is trained side by side with on a CPU, its own among them.

    Narrow models come in blocks of six consecutive seeds, wider ones of three, wide and spawned ones alone. The
    block depends on nothing but the spec, so that the same spec always gives the same weights, to the last bit.
    """
    narrow, middle = architecture(spec.arch).stacked
    size = 6 if spec.width <= narrow else 3 if spec.width <= middle else 1
    if spec.init_seed != spec.data_seed or spec.shared_epochs or spec.precision != "fp32":
        size = 1
    first = spec.init_seed - spec.init_seed % size
    return range(first, first + size)


def content_key(content: Any) -> str:
    """SHA-256 of the canonical JSON of ``content``, shortened to 20 hex digits.

    Raises:
        SpecError: ``content`` holds something JSON has no exact form for (NaN, objects).
    """
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SpecError(f"cannot derive a key from {content!r}: {error}") from None
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def classes_in_words(groups: tuple[tuple[int, ...], ...]) -> str:
    """Groups of classes, shortly: ``1, 6`` or ``0+1, 2+3``; many are counted, and none is ``all``."""
    count = sum(map(len, groups))
    if count > _NAMED_CLASSES:
        return f"{count} in {len(groups)} groups"
    return ", ".join("+".join(map(str, group)) for group in groups) or "all"


def _groups(classes: Iterable[int | Iterable[int]]) -> tuple[tuple[int, ...], ...]:
    """Groups of class numbers in one spelling: a number alone is a group, the order within a group says nothing."""
    said = f"classes is {classes!r}"
    if not isinstance(classes, Iterable):
        raise SpecError(f"{said}; give class numbers or groups of them, e.g. (1, 6) or ((0, 1), (2, 3))")
    groups = [tuple(each) if isinstance(each, Iterable) else (each,) for each in classes]
    members = [each for group in groups for each in group]
    if not all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in members):
        raise SpecError(f"{said}; every class must be a whole number of at least 0, e.g. (1, 6) or ((0, 1), (2, 3))")
    if len(set(members)) < len(members):
        twice = next(each for each in members if members.count(each) > 1)
        raise SpecError(f"{said}; class {twice} stands in it twice; name each once")
    if len(groups) == 1 or not all(groups):
        raise SpecError(f"{said}; give at least two groups, each of at least one class, or () for all classes")
    return tuple(tuple(sorted(group)) for group in groups)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SpecError(f"unknown {name} {value!r}; choose one of {', '.join(allowed)}")


def _flag(name: str, value: bool) -> None:
    if not isinstance(value, bool):
        raise SpecError(f"{name} is {value!r}; it must be True or False")


def _whole(name: str, value: int, *, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise SpecError(f"{name} is {value!r}; it must be a whole number of at least {low}")


def _in_range(
    name: str,
    value: float,
    *,
    low: float,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if (
        not number
        or not math.isfinite(value)
        or value < low
        or value > high
        or (open_low and value == low)
        or (open_high and value == high)
    ):
        bounds = f"{'(' if open_low else '['}{low:g}, {high:g}{')' if open_high or high == math.inf else ']'}"
        raise SpecError(f"{name} is {value!r}; it must be a finite number in {bounds}")
