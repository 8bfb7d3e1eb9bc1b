"""Changed files of every kind the package reads: it reads them or refuses with an error of its own, and does no more.

Each target changes a valid file at random and reads it, watched by `guard.reading`. ``LMC_FUZZ_EXAMPLES`` inputs are
shared out among the targets; the ordinary tests make do with few.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import random
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from guard import reading
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import bytes_of, json_of, safetensors_of, tar_of, text_of, zip_of
from old_results import old_document
from PIL import Image
from report_documents import complete
from safetensors.torch import save

import lmc
from lmc.data import Dataset
from lmc.data.sources import load_dataset, read_prepared, write_prepared
from lmc.diagnosing.checkpoints import read_checkpoint
from lmc.diagnosing.data_files import read_data
from lmc.errors import DataError, MergeError, StoreError
from lmc.reporting.export import export
from lmc.reporting.history_page import history_page
from lmc.reporting.markdown import summary
from lmc.reporting.report import report
from lmc.results.comparing import difference_between
from lmc.results.document import Document
from lmc.results.file import read_results
from lmc.results.history import read_history
from lmc.specs import RunSpec
from lmc.store.archive import export_cells, import_cells
from lmc.store.checkpoints import Checkpoint
from lmc.store.leases import describe
from lmc.store.store import Store, parse_record, record_bytes
from lmc.store.upkeep import prunable, verify
from lmc.store.weights import checksums
from lmc.training.state import TrainingState

EXAMPLES = int(os.environ.get("LMC_FUZZ_EXAMPLES") or 500)
KEY = "0" * 19 + "1"
SPEC = RunSpec(dataset="digits", arch="mlp", width=1 / 64, epochs=1, batch_size=50, train_size=100, weight_decay=0.0)
TENSORS = {"weight": torch.arange(12.0).view(3, 4), "count": torch.tensor(7), "half": torch.ones(5).bfloat16()}
VALID: dict[str, Any] = {}
"""What the targets change, made once by `valid`."""


@pytest.fixture(scope="module", autouse=True)
def valid(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A valid file of each kind; reading them imports what reading needs, which the guard would take for an attack."""
    folder = tmp_path_factory.mktemp("valid")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (12, 1, 4, 4), dtype=torch.uint8, generator=generator)
    labels = torch.arange(12) % 3
    write_prepared(Dataset("d", images[:6], labels[:6], images[6:], labels[6:], ("a", "b", "c"), "test"), folder / "v")
    VALID["prepared"] = (folder / "v").read_bytes()
    VALID["inputs"] = save({"inputs": torch.rand(6, 4), "labels": labels[:6], "train_inputs": torch.rand(3, 4)})
    VALID["safetensors"] = save(TENSORS)
    for name, old in (("torch", False), ("legacy torch", True)):
        buffer = io.BytesIO()
        torch.save({"state_dict": TENSORS, "epoch": 3}, buffer, _use_new_zipfile_serialization=not old)
        VALID[name] = buffer.getvalue()
    for mode in ("L", "RGB"):
        buffer = io.BytesIO()
        Image.new(mode, (5, 5), 7).save(buffer, "png")
        VALID[mode] = buffer.getvalue()
    store = Store(folder / "store")
    store.save_model(KEY, TENSORS, {"status": "trained", "loss": [0.5]})
    store.write("measurements", KEY, {"status": "measured", "specs": [KEY], "path": {"lams": [0, 1]}})
    Checkpoint(store, [SPEC], "cpu").save(state())
    VALID["store"] = {
        path.relative_to(store.root): path.read_bytes() for path in store.root.rglob("*.*") if path.is_file()
    }
    export_cells(store, folder / "all.tar")
    VALID["archive"] = (folder / "all.tar").read_bytes()
    VALID["results"] = small(complete())
    for number, attack in enumerate(TARGETS):
        (folder / str(number)).mkdir()
        with contextlib.redirect_stderr(io.StringIO()):
            for seed in range(20):
                attack(random.Random(seed), folder / str(number))


def state() -> TrainingState:
    """Of a training that is about to go on."""
    model = torch.nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model.weight.grad = torch.ones_like(model.weight)
    optimizer.step()
    generators = [torch.Generator()], [torch.Generator()]
    return TrainingState(model, optimizer, *generators, torch.zeros(1), step=1, orders=torch.arange(4))


def small(document: Document) -> dict[str, Any]:
    """A results document of a few claims, as JSON has it: rendering all of them takes too long."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    evidence = {name: rows[:: max(1, len(rows) // 6)] for name, rows in found["evidence"].items()}
    return {**found, "claims": found["claims"][::12], "evidence": evidence}


Target = Callable[[random.Random, Path], None]
TARGETS: dict[Target, int] = {}
"""Each with its share of the inputs."""


def target(share: int) -> Callable[[Target], Target]:
    def add(function: Target) -> Target:
        TARGETS[function] = share
        return function

    return add


@target(10)
def prepared_data(chance: random.Random, folder: Path) -> None:
    (folder / "d.safetensors").write_bytes(safetensors_of(VALID["prepared"], chance))
    try:
        found = load_dataset("d", folder, download=False)
    except DataError:
        return
    assert len(found.test_images) == len(found.test_labels)
    assert int(found.test_labels.max()) < len(found.classes)


@target(5)
def image_folder(chance: random.Random, folder: Path) -> None:
    for split in ("train", "test"):
        (folder / "d" / split / "a").mkdir(parents=True, exist_ok=True)
        image = bytes_of(VALID[chance.choice(("L", "RGB"))], chance)
        (folder / "d" / split / "a" / "1.png").write_bytes(image)
    with contextlib.suppress(DataError):
        assert load_dataset("d", folder, download=False).train_images.dtype == torch.uint8


@target(10)
def own_data(chance: random.Random, folder: Path) -> None:
    path = folder / "data"
    path.write_bytes(safetensors_of(VALID[chance.choice(("inputs", "prepared"))], chance))
    with contextlib.suppress(DataError):
        read_data(path)


@target(10)
def own_safetensors(chance: random.Random, folder: Path) -> None:
    checked(folder / "weights", safetensors_of(VALID["safetensors"], chance))


@target(5)
def state_file(chance: random.Random, folder: Path) -> None:
    """Its names, then each tensor, as when two models are interpolated."""
    path = folder / "weights.safetensors"
    path.write_bytes(safetensors_of(VALID["safetensors"], chance))
    with contextlib.suppress(MergeError):
        found = lmc.StateFile(path)
        assert all(isinstance(found[name], torch.Tensor) for name in found)


@target(10)
def own_torch_save(chance: random.Random, folder: Path) -> None:
    kind = chance.choice(("torch", "torch", "legacy torch"))
    change = zip_of if kind == "torch" else bytes_of
    checked(folder / "weights", change(VALID[kind], chance))


@target(3)
def own_hostile_pickle(chance: random.Random, folder: Path) -> None:
    """Objects that would run a command, or write a file, when unpickled."""
    call, argument = chance.choice(((os.system, "true"), (open, "/tmp/owned"), (eval, "1"), (os.mkdir, "/tmp/owned")))
    hostile = type("Hostile", (), {"__reduce__": lambda _: (call, (argument,))})()
    buffer = io.BytesIO()
    content = chance.choice((hostile, {"state_dict": hostile}, {"weight": torch.ones(2), "x": [hostile]}))
    if chance.random() < 0.5:
        torch.save(content, buffer)
    else:
        pickle.dump(content, buffer, protocol=chance.choice((2, 4, 5)))
    data = buffer.getvalue()
    checked(folder / "weights", data if chance.random() < 0.5 else bytes_of(data, chance))


def checked(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        found = read_checkpoint(path)
    except MergeError:
        return
    assert found.state
    assert all(isinstance(each, torch.Tensor) for each in found.state.values())


@target(15)
def store_damaged(chance: random.Random, folder: Path) -> None:
    """A file of a store is damaged: it is set aside, and nothing else is."""
    victim = put_store(folder, chance, lambda data: bytes_of(data, chance))
    store = Store(folder)
    for kind, key in cells():
        record = store.read(kind, key)
        assert record is None or record == parse_record(VALID["store"][relative(store.record_path(kind, key), folder)])
        weights = store.load_model(key, kind) if kind != "measurements" else None
        if weights is not None and victim.name.startswith(key):
            assert victim.suffix == ".json" or (folder / victim).read_bytes() == VALID["store"][victim]
    assert set(store.set_aside) <= {folder / victim.with_suffix(suffix) for suffix in (".json", ".safetensors")}


@target(15)
def store_forged(chance: random.Random, folder: Path) -> None:
    """A record says something else, and its checksums are right: all that keeps a store must stand it."""

    def forged(data: bytes) -> bytes:
        body = json_of(parse_record(data) if data[:1] == b"{" else {}, chance)
        try:
            return record_bytes(body)
        except ValueError:
            return data

    put_store(folder, chance, forged, ".json")
    store = Store(folder)
    verify(store)
    prunable(store, frozenset())
    for kind, key in cells():
        store.has(kind, key)
    going_on(store)


@target(10)
def training_checkpoint(chance: random.Random, folder: Path) -> None:
    """The tensors or facts of an unfinished training, with right checksums: it goes on or starts over."""
    store = Store(folder)
    place = next(path for path in VALID["store"] if path.parts[0] == "checkpoints" and path.suffix == ".json")
    tensors = VALID["store"][place.with_suffix(".safetensors")]
    record = parse_record(VALID["store"][place])
    if chance.random() < 0.5:
        record = json_of(record, chance)
    else:
        tensors = safetensors_of(tensors, chance)
    if isinstance(record, dict):
        record |= checksums(tensors)
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    try:
        (folder / place).write_bytes(record_bytes(record))
    except ValueError:
        return
    (folder / place.with_suffix(".safetensors")).write_bytes(tensors)
    going_on(store)


def going_on(store: Store) -> None:
    with torch.random.fork_rng(devices=[]):
        assert Checkpoint(store, [SPEC], "cpu").resumed(state).model is not None


@target(15)
def archive(chance: random.Random, folder: Path) -> None:
    (folder / "all.tar").write_bytes(tar_of(VALID["archive"], chance))
    store = Store(folder / "store")
    with contextlib.suppress(StoreError):
        import_cells(store, folder / "all.tar")
    for path in (folder / "store").rglob("*"):
        assert path.is_dir() or re.fullmatch(r"[0-9a-f]{20}\.(json|safetensors)", path.name), path


@target(4)
def results_file(chance: random.Random, folder: Path) -> None:
    read_or_refused(folder / "results.json", text_of(VALID["results"], chance), chance)


@target(2)
def results_file_of_before(chance: random.Random, folder: Path) -> None:
    read_or_refused(folder / "results.json", text_of(old_document(), chance), chance)


@target(3)
def results_bytes(chance: random.Random, folder: Path) -> None:
    read_or_refused(folder / "results.json", bytes_of(json.dumps(VALID["results"]).encode(), chance), chance)


def read_or_refused(path: Path, data: bytes, chance: random.Random) -> None:
    """What is read can be shown in every way; not in all of them each time, they take long."""
    path.write_bytes(data)
    try:
        document = read_results(path)
    except StoreError:
        return
    uses: list[Callable[[], object]] = [
        lambda: report(document).encode(),
        lambda: summary(document).encode(),
        lambda: difference_between(document, document),
        lambda: difference_between(msgspec.convert(VALID["results"], Document), document),
        lambda: export(document, path.parent / "tables", ["csv"]),
        lambda: history_page(read_history(path.parent)).encode(),
    ]
    with contextlib.suppress(StoreError):  # nothing in common, or a run of pilot seeds, is an answer
        chance.choice(uses)()


@target(2)
def lease(chance: random.Random, folder: Path) -> None:
    content = b"%12d %s" % (3, json.dumps({"host": "h", "process": 5, "kernel": None}).encode())
    assert isinstance(describe(bytes_of(content, chance)), str)


def cells() -> list[tuple[str, str]]:
    return [(path.parts[0], path.stem) for path in VALID["store"] if path.suffix == ".json"]


def relative(path: Path, folder: Path) -> Path:
    return path.relative_to(folder)


def put_store(folder: Path, chance: random.Random, change: Callable[[bytes], bytes], suffix: str = "") -> Path:
    """Write the store with one file changed; which one."""
    victim = chance.choice([path for path in sorted(VALID["store"]) if path.name.endswith(suffix)])
    for path, data in VALID["store"].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(change(data) if path == victim else data)
    return victim


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("attack", TARGETS, ids=lambda attack: attack.__name__)
def test_changed_files(attack: Target) -> None:
    share = max(20, -(-EXAMPLES * TARGETS[attack] // sum(TARGETS.values())))  # rounded up: at least so many in all

    @settings(max_examples=share, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(chance=st.randoms(use_true_random=True))
    def attacked(chance: random.Random) -> None:
        with reading() as folder, contextlib.redirect_stderr(io.StringIO()):  # many are said to be damaged
            attack(chance, folder)

    attacked()


def test_the_guard_notices(tmp_path: Path) -> None:
    """A reader that did one of these would be caught."""
    for misdeed in (
        lambda: os.system("true"),
        lambda: (tmp_path / "owned").write_text("x"),
        lambda: bytearray(4 << 30),
    ):
        with pytest.raises((AssertionError, MemoryError)), reading():
            misdeed()


def test_a_header_that_claims_a_lot(tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    path.write_bytes(struct.pack("<Q", 2**40) + b"{}")
    with pytest.raises(DataError, match="claims"):
        read_prepared(path)
