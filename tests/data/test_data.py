"""Datasets: what is loaded, what is refused and how it is said; normalisation, augmentation, batch order."""

from __future__ import annotations

import importlib.util
import os
import struct
import sys
import types
import urllib.error
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from lmc.data import Dataset, Normaliser, augment, epoch_order, load_dataset, random_crops
from lmc.data.batches import CROP_PADDING
from lmc.data.sources import write_prepared
from lmc.datasets import Torchvision, dataset_info, dataset_names
from lmc.errors import DataError

TENSORS = ("train_images", "train_labels", "test_images", "test_labels")


def same(first: Dataset, second: Dataset) -> bool:
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in TENSORS)


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def tiny(**changes: Any) -> dict[str, Any]:
    """The four tensors of a valid dataset with 6 + 4 images of 3 x 4 x 5 pixels and three classes."""
    valid = {
        "train_images": random_images(6, 3, 4, 5),
        "train_labels": torch.tensor([0, 1, 2, 0, 1, 2]),
        "test_images": random_images(4, 3, 4, 5, seed=1),
        "test_labels": torch.tensor([2, 1, 0, 0]),
    }
    return {name: value for name, value in {**valid, **changes}.items() if value is not None}


def tiny_dataset(name: str = "tiny") -> Dataset:
    return Dataset(name=name, **tiny(), classes=("a", "b", "c"), source="here")


# --- the embedded digits ----------------------------------------------------------------------------


def test_digits_shapes_and_types(tmp_path: Path) -> None:
    digits = load_dataset("digits", tmp_path / "absent")
    assert digits.train_images.shape == (1000, 1, 8, 8)
    assert digits.test_images.shape == (797, 1, 8, 8)
    assert digits.shape == (1, 8, 8)
    assert digits.train_images.dtype == digits.test_images.dtype == torch.uint8
    assert digits.train_labels.dtype == digits.test_labels.dtype == torch.int64
    assert digits.classes == tuple("0123456789")
    assert int(digits.train_images.max()) == 255


def test_digits_hold_every_original_once(tmp_path: Path) -> None:
    """Train and test together are a permutation of scikit-learn's images: none is in both."""
    from sklearn.datasets import load_digits

    digits, originals = load_dataset("digits", tmp_path), load_digits()
    pixels = torch.cat([digits.train_images, digits.test_images]).flatten(1).numpy()
    labels = torch.cat([digits.train_labels, digits.test_labels]).numpy()
    ours = sorted(map(tuple, np.column_stack([np.rint(pixels * (16 / 255)), labels]).tolist()))
    theirs = sorted(map(tuple, np.column_stack([originals.data, originals.target]).tolist()))
    assert ours == theirs


def test_digits_order_is_pinned(tmp_path: Path) -> None:
    """Every stored model of the quick tier depends on this order."""
    digits = load_dataset("digits", tmp_path)
    assert digits.train_labels[:10].tolist() == [6, 6, 6, 2, 5, 6, 6, 2, 2, 1]
    assert digits.test_labels[:10].tolist() == [1, 7, 8, 7, 4, 6, 6, 0, 7, 6]
    assert torch.bincount(digits.train_labels).min() >= 80, "the order is not random: a class is rare"


# --- prepared files ---------------------------------------------------------------------------------


def test_prepared_file_round_trip(tmp_path: Path) -> None:
    write_prepared(tiny_dataset(), tmp_path / "new" / "tiny.safetensors")
    back = load_dataset("tiny", tmp_path / "new")
    assert same(back, tiny_dataset())
    assert (back.name, back.classes, back.source) == ("tiny", ("a", "b", "c"), "here")
    assert os.listdir(tmp_path / "new") == ["tiny.safetensors"]


def test_prepared_file_without_metadata(tmp_path: Path) -> None:
    save_file(tiny(), tmp_path / "plain.safetensors")
    plain = load_dataset("plain", tmp_path)
    assert (plain.name, plain.classes) == ("plain", ("0", "1", "2"))
    assert plain.source == str(tmp_path / "plain.safetensors")


def test_a_full_disk_leaves_no_partial_file(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    dataset = tiny_dataset()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(DataError, match=r"cannot write .*tiny\.safetensors.*free space"):
            write_prepared(dataset, tmp_path / "tiny.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == []


def test_an_unwritable_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write .*choose another data folder"):
        write_prepared(tiny_dataset(), tmp_path / "file" / "tiny.safetensors")


BAD_TENSORS = [  # changes, what the message must say
    pytest.param({"test_labels": None}, "lacks test_labels", id="one tensor missing"),
    pytest.param(
        {"test_labels": None, "train_images": None}, "lacks test_labels, train_images", id="two tensors missing"
    ),
    pytest.param({"train_images": torch.zeros(6, 3, 4, 5)}, "train_images is torch.float32", id="float images"),
    pytest.param({"test_labels": torch.zeros(4, dtype=torch.uint8)}, "test_labels is torch.uint8", id="uint8 labels"),
    pytest.param({"train_labels": torch.full((6,), torch.nan)}, "train_labels is torch.float32", id="float labels"),
    pytest.param({"train_images": random_images(6, 60)}, r"\(6, 60\); expected", id="flat images"),
    pytest.param({"train_labels": torch.tensor(1)}, r"train_labels is torch.int64 \(\)", id="scalar labels"),
    pytest.param(
        {"train_labels": torch.zeros(5, dtype=torch.int64)}, r"\(5,\); expected .*\(6,\)", id="too few labels"
    ),
    pytest.param(
        {"test_images": random_images(4, 3, 5, 4)}, r"\(3, 4, 5\), test images \(3, 5, 4\)", id="other test shape"
    ),
    pytest.param(
        {"train_images": random_images(0, 3, 4, 5), "train_labels": torch.zeros(0, dtype=torch.int64)},
        "train_images is empty",
        id="no training images",
    ),
    pytest.param(
        {"train_images": random_images(6, 3, 0, 5), "test_images": random_images(4, 3, 0, 5)},
        "train_images is empty",
        id="no pixels",
    ),
    pytest.param({"train_labels": torch.tensor([0, 1, 2, 0, 1, -1])}, "run from -1 to 2", id="negative label"),
    pytest.param(
        {"test_labels": torch.tensor([0, 1, 2, 3])}, "run from 0 to 3.*3 classes", id="label beyond the classes"
    ),
    pytest.param({"train_labels": torch.tensor([0, 1, 2, 0, 1, 2**60])}, f"run from 0 to {2**60}", id="absurd label"),
]


@pytest.mark.parametrize("classes", [None, '["a", "b", "c"]'], ids=["unnamed", "named"])
@pytest.mark.parametrize(("changes", "problem"), BAD_TENSORS)
def test_bad_tensors_are_refused(tmp_path: Path, changes: dict[str, Any], problem: str, classes: str | None) -> None:
    path = tmp_path / "bad.safetensors"
    save_file(tiny(**changes), path, metadata=None if classes is None else {"classes": classes})
    with pytest.raises(DataError, match=problem) as refused:
        load_dataset("bad", tmp_path)
    assert str(path) in str(refused.value)
    assert "prepare it again" in str(refused.value)


@pytest.mark.parametrize(
    "classes",
    ["a, b, c", "[", "[" * 100_000, "9" * 5000, '{"a": 0}', "[]", "3", "null"],
    ids=lambda text: text[:8],
)
def test_bad_class_names_are_refused(tmp_path: Path, classes: str) -> None:
    save_file(tiny(), tmp_path / "bad.safetensors", metadata={"classes": classes})
    with pytest.raises(DataError, match=r"bad\.safetensors: its classes are"):
        load_dataset("bad", tmp_path)


BAD_BYTES = [  # damage, what the message must say
    pytest.param(lambda data: data[:0], "only 0 bytes long", id="empty file"),
    pytest.param(lambda data: data[:5], "only 5 bytes long", id="cut in the length"),
    pytest.param(lambda data: data[:40], "its header claims", id="cut in the header"),
    pytest.param(lambda data: data[:-1], "cannot read", id="cut in the data"),
    pytest.param(lambda data: b"\xff" * 7 + b"\x0f" + data[8:], "its header claims", id="header of exabytes"),
    pytest.param(
        lambda data: struct.pack("<Q", 2**21) + data.ljust(2**22), f"its header claims {2**21}", id="large header"
    ),
    pytest.param(
        lambda data: struct.pack("<Q", len(data) - 7) + data[8:], "its header claims", id="header beyond the file"
    ),
    pytest.param(lambda data: data[:8] + b"\0" + data[9:], "cannot read", id="header that is no JSON"),
    pytest.param(lambda data: b"PK\x03\x04" + data, "cannot read", id="another format"),
]


@pytest.mark.parametrize(("damage", "problem"), BAD_BYTES)
def test_damaged_files_are_refused(tmp_path: Path, damage: Callable[[bytes], bytes], problem: str) -> None:
    path = tmp_path / "tiny.safetensors"
    write_prepared(tiny_dataset(), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=problem) as refused:
        load_dataset("tiny", tmp_path)
    assert str(path) in str(refused.value)
    assert "delete it and prepare it again" in str(refused.value)


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny.safetensors").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*tiny\.safetensors.*delete it"):
        load_dataset("tiny", tmp_path)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../tiny", "/etc", "tiny/", "./tiny"])
def test_names_that_are_paths_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "inside").mkdir()
    write_prepared(tiny_dataset(), tmp_path / "tiny.safetensors")
    write_prepared(tiny_dataset(), tmp_path / "a" / "b.safetensors")
    with pytest.raises(DataError, match="is not a plain name") as refused:
        load_dataset(name, tmp_path / "inside")
    assert repr(name) in str(refused.value)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("imagenet", "unknown dataset 'imagenet'.*; put it there, or register it"),
        ("x" * 300, "cannot look for dataset"),
    ],
)
def test_unknown_names_are_refused(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as refused:
        load_dataset(name, tmp_path)
    assert str(tmp_path) in str(refused.value)
    if name == "imagenet":
        assert all(known in str(refused.value) for known in dataset_names())


# --- image folders ----------------------------------------------------------------------------------


def png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(params=["grey", "rgb"])
def image_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two classes; each image's first pixel tells its split, class and number: 100, 10, 1."""
    shape = (6, 7) if request.param == "grey" else (6, 7, 3)
    for first, split, count in ((100, "train", 4), (0, "test", 2)):
        for label, name in enumerate(("cat", "dog")):
            for number in range(count):
                pixels = np.zeros(shape, np.uint8)
                pixels[0, 0] = first + 10 * label + number
                pixels[5, 6, ...] = np.arange(3) if request.param == "rgb" else 9
                png(tmp_path / "pets" / split / name / f"{number}.png", pixels)
    return tmp_path / "pets"


def test_image_folder(image_folder: Path) -> None:
    pets = load_dataset("pets", image_folder.parent)
    channels = pets.shape[0]
    assert pets.classes == ("cat", "dog")
    assert pets.train_images.shape == (8, channels, 6, 7)
    assert pets.test_images[:, :, 0, 0].tolist() == [[value] * channels for value in (0, 1, 10, 11)]
    assert pets.test_labels.tolist() == [0, 0, 1, 1]
    numbers = pets.train_images[:, 0, 0, 0].int()
    assert sorted(numbers.tolist()) == [100, 101, 102, 103, 110, 111, 112, 113]
    assert torch.equal(pets.train_labels, (numbers - 100).long() // 10)
    assert numbers.tolist() != sorted(numbers.tolist()), "train_size would cut classes off"
    assert pets.train_images[0, :, 5, 6].tolist() == ([9] if channels == 1 else [0, 1, 2])
    assert same(pets, load_dataset("pets", image_folder.parent))


def moved(source: str, target: str) -> Callable[[Path], object]:
    return lambda folder: (folder / source).rename(folder / target)


def with_image(path: str, *shape: int, dtype: type = np.uint8) -> Callable[[Path], object]:
    return lambda folder: png(folder / path, np.zeros(shape, dtype))


def with_bytes(damage: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / "train/cat/1.png").write_bytes(damage((folder / "train/cat/1.png").read_bytes()))


def enlarged_header(data: bytes) -> bytes:
    header = data[12:16] + struct.pack(">II", 10**6, 10**6) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def other_size_in_test(folder: Path) -> None:
    for file in (folder / "test").glob("*/*.png"):
        png(file, np.zeros((9, 9), np.uint8))


BAD_FOLDERS = [  # damage, what the message must say
    pytest.param(moved("test/dog", "away"), r"test has classes \('cat',\).*\('cat', 'dog'\)", id="missing class"),
    pytest.param(with_image("test/eel/0.png", 6, 7), r"test has classes \('cat', 'dog', 'eel'\)", id="new class"),
    pytest.param(
        lambda folder: [(folder / split / "ant").mkdir() for split in ("train", "test")],
        r"train/ant holds no \.png",
        id="empty class",
    ),
    pytest.param(moved("test", "away"), "cannot read .*pets/test", id="no test"),
    pytest.param(moved("train", "away"), "cannot read .*pets/train", id="no train"),
    pytest.param(
        lambda folder: (folder.rename(folder.parent / "x"), (folder / "train").mkdir(parents=True)),
        "train holds no class folders",
        id="no class",
    ),
    pytest.param(with_bytes(lambda data: data[: len(data) // 2]), r"cannot read .*cat/1\.png", id="cut image"),
    pytest.param(with_bytes(lambda data: data[:0]), r"cannot read .*cat/1\.png", id="empty image"),
    pytest.param(with_bytes(lambda data: b"png" + data), r"cannot read .*cat/1\.png", id="no image"),
    pytest.param(with_bytes(enlarged_header), r"cannot read .*cat/1\.png.*bomb", id="decompression bomb"),
    pytest.param(with_image("train/dog/1.png", 7, 6), r"dog/1\.png is \(1, 7, 6\), others", id="other size"),
    pytest.param(with_image("train/dog/1.png", 6, 7, 4), r"\(3, 6, 7\), others are \(1,", id="other mode"),
    pytest.param(other_size_in_test, "train images are .*test images", id="other size in test"),
    pytest.param(with_image("train/cat/1.png", 6, 7, dtype=np.uint16), r"cat/1\.png: it has 16 bits", id="16 bits"),
]


@pytest.mark.parametrize("image_folder", ["grey"], indirect=True)
@pytest.mark.parametrize(("damage", "problem"), BAD_FOLDERS)
def test_bad_image_folders_are_refused(image_folder: Path, damage: Callable[[Path], object], problem: str) -> None:
    damage(image_folder)
    with pytest.raises(DataError, match=problem):
        load_dataset("pets", image_folder.parent)


# --- downloads --------------------------------------------------------------------------------------


DOWNLOADS = {name: source for name in dataset_names() if isinstance(source := dataset_info(name).source, Torchvision)}


class FakeTorchvision:
    """Stands in for torchvision: counts its downloads, and fails where it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failure: Exception | None = None) -> None:
        self.asked: list[tuple[str, bool]] = []
        module = types.ModuleType("torchvision")
        module.datasets = types.SimpleNamespace(  # type: ignore[attr-defined]
            **{
                class_name: self._dataset_class(class_name, failure)
                for class_name in (each.class_name for each in DOWNLOADS.values())
            }
        )
        monkeypatch.setitem(sys.modules, "torchvision", module)

    def _dataset_class(self, class_name: str, failure: Exception | None) -> Callable[..., types.SimpleNamespace]:
        def make(root: Path, *, train: bool, download: bool) -> types.SimpleNamespace:
            assert download
            self.asked.append((class_name, train))
            if failure is not None:
                raise failure
            count, colour = (6, class_name.startswith("CIFAR")) if train else (3, class_name.startswith("CIFAR"))
            pixels = random_images(count, 4, 5, *([3] if colour else []), seed=count)
            return types.SimpleNamespace(  # as torchvision: CIFAR holds arrays and lists, MNIST tensors
                data=pixels.numpy() if colour else pixels,
                targets=[0, 1, 2, 0, 1, 2][:count] if colour else torch.tensor([0, 1, 2, 0, 1, 2][:count]),
                classes=["zero", "one", "two"],
            )

        return make


def test_download_names_exist_in_torchvision() -> None:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("torchvision is not installed")
    exported = (Path(spec.submodule_search_locations[0]) / "datasets" / "__init__.py").read_text()
    assert [each for each in DOWNLOADS.values() if f'"{each.class_name}"' not in exported] == []


@pytest.mark.parametrize("name", DOWNLOADS)
def test_a_download_is_announced_and_kept(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class_name, size = DOWNLOADS[name].class_name, DOWNLOADS[name].download
    fake = FakeTorchvision(monkeypatch)
    dataset = load_dataset(name, tmp_path)
    assert fake.asked == [(class_name, True), (class_name, False)]
    said = capsys.readouterr().err
    assert name in said
    assert size in said
    assert str(tmp_path) in said

    channels = 3 if name.startswith("cifar") else 1
    assert dataset.shape == (channels, 4, 5)
    for split, count in (("train", 6), ("test", 3)):
        pixels = random_images(count, 4, 5, *([3] if channels == 3 else []), seed=count)
        for channel in range(channels):  # element by element: a wrong permutation of axes keeps the shape
            expected = pixels[..., channel] if channels == 3 else pixels
            assert torch.equal(getattr(dataset, f"{split}_images")[:, channel], expected)
    assert dataset.train_labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert dataset.classes == ("zero", "one", "two")

    again = load_dataset(name, tmp_path, download=False)
    assert len(fake.asked) == 2, "downloaded twice"
    assert same(again, dataset)
    assert (again.name, again.source) == (name, f"torchvision {class_name}")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError("name resolution"),
        RuntimeError("Error downloading"),
        ConnectionResetError("reset"),
        ImportError("no _lzma"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_a_failed_download_says_what_to_do(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FakeTorchvision(monkeypatch, failure)
    with pytest.raises(DataError, match=r"cannot download cifar100.*check the network") as refused:
        load_dataset("cifar100", tmp_path)
    assert str(failure) in str(refused.value)
    assert str(tmp_path / "cifar100.safetensors") in str(refused.value)
    assert "downloading cifar100 (169 MB)" in capsys.readouterr().err
    assert not list(tmp_path.glob("cifar100*"))


def test_missing_torchvision_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(DataError, match=r"cannot download mnist.*torchvision"):
        load_dataset("mnist", tmp_path)


def test_a_download_can_be_forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeTorchvision(monkeypatch)
    with pytest.raises(DataError, match=r"'mnist' is not in .*mnist\.safetensors"):
        load_dataset("mnist", tmp_path, download=False)
    assert fake.asked == []


# --- the dataset itself -----------------------------------------------------------------------------


def test_limited_keeps_the_first_training_images_and_the_whole_test_set() -> None:
    whole = tiny_dataset()
    part = whole.limited(4)
    assert torch.equal(part.train_images, whole.train_images[:4])
    assert part.train_labels.tolist() == [0, 1, 2, 0]
    assert torch.equal(part.test_images, whole.test_images)
    assert part.classes == whole.classes
    assert same(whole.limited(None), whole)
    assert same(whole.limited(6), whole)
    with pytest.raises(DataError, match="7 training images asked for, but 'tiny' has 6"):
        whole.limited(7)


# --- normalisation ----------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 2**32), shape=st.tuples(*[st.integers(2, 6)] * 4))
def test_normaliser_agrees_with_numpy(seed: int, shape: tuple[int, int, int, int]) -> None:
    images = random_images(*shape, seed=seed)
    pixels = images.numpy().astype(np.float64)
    mean, deviation = (np.expand_dims(f(pixels, axis=(0, 2, 3)), (1, 2)) for f in (np.mean, np.std))
    normalised = Normaliser.fit(images)(images)
    assert normalised.dtype == torch.float32
    np.testing.assert_allclose(normalised.numpy(), (pixels - mean) / deviation, atol=1e-5)  # float32
    other = random_images(3, *shape[1:], seed=seed + 1)
    expected = (other.numpy() - mean) / deviation
    np.testing.assert_allclose(Normaliser.fit(images)(other).numpy(), expected, atol=1e-5)


def test_normaliser_gives_mean_zero_and_deviation_one_per_channel() -> None:
    images = random_images(50, 3, 8, 8) // torch.tensor([1, 2, 4], dtype=torch.uint8).view(3, 1, 1)
    normalised = Normaliser.fit(images)(images).double()
    torch.testing.assert_close(normalised.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-6, rtol=0)
    deviation = normalised.std((0, 2, 3), unbiased=False)
    torch.testing.assert_close(deviation, torch.ones(3).double(), atol=1e-6, rtol=0)


def test_a_constant_channel_is_only_centred() -> None:
    images = random_images(5, 2, 4, 4)
    images[:, 1] = 77
    normalise = Normaliser.fit(images)
    torch.testing.assert_close(normalise(images)[:, 1], torch.zeros(5, 4, 4), atol=1e-6, rtol=0)
    assert normalise(images)[:, 0].std() > 0.9
    other = torch.full((1, 2, 1, 1), 128, dtype=torch.uint8)
    assert normalise(other)[0, 1].item() == pytest.approx((128 - 77) / 255, abs=1e-6)


def test_normaliser_keeps_images_and_their_memory_format() -> None:
    images = random_images(4, 3, 5, 6).contiguous(memory_format=torch.channels_last)
    before = images.clone()
    normalised = Normaliser.fit(images)(images)
    assert torch.equal(images, before)
    assert normalised.is_contiguous(memory_format=torch.channels_last)


# --- augmentation and order -------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=20)
@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    channels_last=st.booleans(),
)
def test_augment_is_a_flip_and_a_crop(seed: int, shape: tuple[int, int, int, int], *, channels_last: bool) -> None:
    """Against plain loops on the same draws: rows, then columns, then flips, each for the whole batch."""
    count, channels, height, width = shape
    images = random_images(*shape, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    shifts = torch.randint(0, 2 * CROP_PADDING + 1, (2, count), generator=generator).tolist()
    flips = torch.randint(0, 2, (count,), generator=generator).tolist()
    expected = torch.zeros_like(images)
    for n in range(count):
        for y in range(height):
            for x in range(width):
                row = y + shifts[0][n] - CROP_PADDING
                column = (width - 1 - x if flips[n] else x) + shifts[1][n] - CROP_PADDING
                if 0 <= row < height and 0 <= column < width:
                    for c in range(channels):
                        expected[n, c, y, x] = images[n, c, row, column]
    given_images = images.contiguous(memory_format=torch.channels_last) if channels_last else images
    assert torch.equal(augment(given_images, random_crops(count, torch.Generator().manual_seed(seed))), expected)
    assert torch.equal(given_images, images)


def test_augment_draws_every_crop_and_flip_equally_often_for_each_image() -> None:
    """2,000 copies of one image, each output found among the 9 x 9 x 2 flipped crops, by brute force."""
    height, width, count, side = 8, 8, 2000, 2 * CROP_PADDING + 1
    image = torch.arange(1, height * width + 1, dtype=torch.uint8).view(1, height, width)
    padded = torch.zeros(1, height + side - 1, width + side - 1, dtype=torch.uint8)
    padded[:, CROP_PADDING:-CROP_PADDING, CROP_PADDING:-CROP_PADDING] = image
    crops = [padded[:, y : y + height, x : x + width] for y in range(side) for x in range(side)]
    candidates = torch.stack([crop.flip(2) if flip else crop for crop in crops for flip in (False, True)])
    outputs = augment(image.expand(count, 1, height, width), random_crops(count, torch.Generator().manual_seed(0)))
    matches = (outputs.flatten(1)[:, None] == candidates.flatten(1)).all(2)
    assert (matches.sum(1) == 1).all()
    drawn = matches.long().argmax(1)
    for name, values, kinds in (("row", drawn // 18, 9), ("column", drawn // 2 % 9, 9), ("flip", drawn % 2, 2)):
        counts = torch.bincount(values, minlength=kinds).double()
        spread = (count / kinds * (1 - 1 / kinds)) ** 0.5
        assert ((counts - count / kinds).abs() < 4 * spread).all(), (name, counts)


def test_crops_follow_their_seed() -> None:
    first, second, other = (random_crops(20, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(size=st.integers(1, 300), seed=st.integers(0, 2**32))
def test_epoch_order_is_a_permutation_that_follows_its_seed(size: int, seed: int) -> None:
    generators = [torch.Generator().manual_seed(seed) for _ in range(2)]
    first, second = (epoch_order(size, generator) for generator in generators)
    assert torch.equal(first, second)
    assert sorted(first.tolist()) == list(range(size))


def test_every_epoch_has_another_order() -> None:
    generator = torch.Generator().manual_seed(0)
    orders = {tuple(epoch_order(50, generator).tolist()) for _ in range(5)}
    other = tuple(epoch_order(50, torch.Generator().manual_seed(1)).tolist())
    assert len(orders | {other}) == 6
