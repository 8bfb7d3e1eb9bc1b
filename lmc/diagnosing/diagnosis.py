"""What a diagnosis holds, as JSON, and the recommended merge as a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from lmc.diagnosing.candidates import Candidate, LinearPath
from lmc.diagnosing.conclusion import Conclusion
from lmc.diagnosing.scoring import Score
from lmc.diagnosing.standard import Thresholds
from lmc.diagnosing.task import Task
from lmc.errors import MergeError, StoreError


@dataclass(frozen=True)
class Diagnosis:
    """Whether some models can be averaged, and why.

    Args:
        architecture: class of the models.
        task: what outputs mean, and what they are judged by.
        inputs: number of test inputs.
        classes: number of logits; 0 where the outputs are none.
        reset_inputs: inputs that BatchNorm statistics were reset on; 0 without BatchNorm.
        models: what each model does.
        reset_models: the same with BatchNorm statistics reset as those of a merge are; none without BatchNorm.
        ensemble: what the mean of their outputs does.
        candidates: the ways to merge that were tried, at equal weights.
        paths: by candidate's name, two models only.
        layers: by ``"unpermuted"`` and ``"permuted"``: see `lmc.measuring.layers.measure_layers`.
        ranks: by layer, one number per model: see `lmc.measuring.ranks.weight_ranks`.
        pairs: by pair such as ``"1-2"``, three models and more: metric lost, loss and calibrated loss added.
        alignment: why no permutation was tried; ``None`` if one was.
        notes: what was undefined or done to measure, and why.
        thresholds: what counted as a good merge.
        conclusion: the verdict.
        beta_folded: whether β is in the weights of ``merged`` already.
        merged: state dict of the recommended merge on the CPU; ``None`` where there is none.
    """

    architecture: str
    task: Task
    inputs: int
    classes: int
    reset_inputs: int
    models: tuple[Score, ...]
    reset_models: tuple[Score, ...]
    ensemble: Score
    candidates: tuple[Candidate, ...]
    paths: Mapping[str, LinearPath]
    layers: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]
    ranks: Mapping[str, Mapping[str, Sequence[float]]]
    pairs: Mapping[str, Mapping[str, float | None]]
    alignment: str | None
    notes: tuple[str, ...]
    thresholds: Thresholds
    conclusion: Conclusion
    beta_folded: bool = False
    merged: Mapping[str, Tensor] | None = field(default=None, repr=False)

    @property
    def verdict(self) -> str:
        """One of the verdicts of `lmc.diagnosing.conclusion`."""
        return self.conclusion.verdict

    @property
    def beta(self) -> float | None:
        """What the merged model's logits must be multiplied by; ``None`` where they are fine."""
        return self.conclusion.beta

    def to_json(self) -> dict[str, Any]:
        """Everything but the weights, JSON-ready; what is not finite is ``None``."""
        plain = replace(self, merged=None, task=replace(self.task, loss=None, metric=None))
        document: dict[str, Any] = json.loads(json.dumps(_finite(asdict(plain))))
        del document["merged"], document["task"]["loss"], document["task"]["metric"]
        return document

    def lines(self) -> list[str]:
        """The diagnosis as text for a terminal."""
        from lmc.diagnosing.report import lines

        return lines(self)

    def save(self, path: Path | str) -> None:
        """Write the recommended merge as safetensors, with verdict, β and what was done as metadata.

        Args:
            path: where to; appears only once it is whole.

        Raises:
            MergeError: there is no merge to recommend.
            StoreError: the file cannot be written.
        """
        if self.merged is None:
            raise MergeError(f"there is no merge to save: {self.conclusion.sentence}")
        metadata = {
            "lmc.verdict": self.verdict,
            "lmc.merge": str(self.conclusion.candidate),
            "lmc.models": str(len(self.models)),
            "lmc.beta": "1" if self.beta is None else repr(self.beta),
            "lmc.beta_folded": str(self.beta_folded).lower(),
        }
        save_weights(self.merged, Path(path), metadata)


def save_weights(state: Mapping[str, Tensor], target: Path, metadata: Mapping[str, str]) -> None:
    """Write a state dict as safetensors.

    Args:
        state: no two of its tensors share memory.
        target: where to; appears only once it is whole.
        metadata: kept beside the tensors.

    Raises:
        StoreError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    partial = _partial(target)
    try:
        partial.touch()
        mode = partial.stat().st_mode  # as any new file gets it; safetensors would hide its own from others
        save_file({name: value.contiguous() for name, value in state.items()}, partial, metadata=dict(metadata))
        partial.chmod(mode)
        partial.replace(target)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise StoreError(f"cannot write {target}: {error}; choose another place") from error


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_writable(target: Path) -> None:
    """Refuse a file that could not be saved, before the work is done.

    Raises:
        StoreError: it is a folder, or its folder is absent or cannot be written to.
    """
    partial = _partial(target)
    try:
        if target.is_dir():
            raise IsADirectoryError("it is a folder")
        partial.touch()
        partial.unlink()
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error}; choose another place") from error


def _partial(target: Path) -> Path:
    return target.parent / f"{target.name}.part"
