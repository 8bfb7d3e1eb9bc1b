"""Data of a reader from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lmc.data import Dataset, Normaliser
from lmc.data.sources import read_image_folder, read_prepared
from lmc.diagnosing.reading import LABELS
from lmc.errors import DataError, SpecError, in_one_line
from lmc.references import find

Batch = tuple[Any, ...] | Mapping[str, Tensor]


def find_data(name: str) -> tuple[Any, Any]:
    """Test data and training data, or ``None``, from a file, a folder, or a function called ``package.module:name``.

    The function gives data as `lmc.diagnosing.diagnose.diagnose` takes it: a DataLoader, a dataset or one batch.

    Raises:
        SpecError: there is no such function, or it fails.
        DataError: there is no such data.
    """
    module, _, attribute = name.partition(":")
    if not attribute or not module.replace(".", "").replace("_", "").isalnum() or Path(name).exists():
        return read_data(Path(name))
    wanted = "a function that gives a DataLoader, a dataset or a batch"
    found = find(name, option="data", example="mine:test_data", wanted=wanted)
    if not callable(found) or hasattr(found, "__getitem__"):
        return found, None
    try:
        return found(), None
    except (Exception, SystemExit) as error:  # the reader's own code, which may even exit
        raise SpecError(f"the data function {name} failed: {in_one_line(error)}; it must be {wanted}") from error


def read_data(path: Path) -> tuple[Batch, Tensor | None]:
    """Test inputs with labels, and training inputs where there are any.

    Args:
        path: a safetensors file with ``inputs`` and ``labels`` (and perhaps ``train_inputs``), as the models read them,
            or with ``labels`` and other names, which are arguments of the model; a prepared data set (see
            `lmc.data.sources`); or a folder ``{train,test}/<class>/*.png``. Images are normalised with the mean and
            deviation of the training images.

    Raises:
        DataError: it is none of these.
    """
    if path.is_dir():
        return _normalised(read_image_folder(path))
    if not path.exists():
        raise DataError(f"there is no {path}; name a safetensors file with inputs and labels, or an image folder")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            if "inputs" in names and "labels" in names:
                train = file.get_tensor("train_inputs") if "train_inputs" in names else None
                return (file.get_tensor("inputs"), file.get_tensor("labels")), train
            if len(names) > 1 and names & set(LABELS):
                return {name: file.get_tensor(name) for name in sorted(names)}, None
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot read {path}: {error}; it must be a safetensors file with inputs and labels") from error
    if "test_images" not in names:
        raise DataError(
            f"{path} holds {', '.join(sorted(names)[:6]) or 'nothing'}; it needs inputs and labels, "
            "or test_images, test_labels, train_images and train_labels"
        )
    return _normalised(read_prepared(path))


def _normalised(dataset: Dataset) -> tuple[Batch, Tensor]:
    normalise = Normaliser.fit(dataset.train_images)
    return (normalise(dataset.test_images), dataset.test_labels), normalise(dataset.train_images)
