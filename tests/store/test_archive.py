"""A store as one file: what goes in comes out bit by bit, and nothing a file holds can do harm."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmc.errors import StoreError
from lmc.specs import RECIPE_VERSION
from lmc.store.archive import export_cells, import_cells
from lmc.store.store import Store, cell_of, parse_record, record_bytes

MODEL, BARE, MEASURED, STATE, NEW = ("0" * 19 + digit for digit in "123fe")
TENSORS = {"weight": torch.arange(300.0).view(3, 100), "norm.num_batches_tracked": torch.tensor(7)}
LOG: dict[str, Any] = {"status": "trained", "loss": [2.3, None, 1e-300], "name": "é ∑"}


def filled(root: Path) -> Store:
    """A model, one without weights, a measurement and a checkpoint."""
    store = Store(root)
    store.save_model(MODEL, TENSORS, LOG)
    store.write("models", BARE, {**LOG, "weights_sha256": "0" * 64, "weights_bytes": 5})
    store.write("measurements", MEASURED, {"status": "measured", "barrier": 0.1, "seconds": 3.0})
    store.save_model(STATE, TENSORS, {"step": 5, "specs": [BARE], "recipe": RECIPE_VERSION}, "checkpoints")
    return store


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("exported")
    export_cells(filled(folder / "store"), folder / "all.tar")
    return (folder / "all.tar").read_bytes()


def test_what_is_exported_comes_back_bit_by_bit(tmp_path: Path) -> None:
    store, copy = filled(tmp_path / "store"), Store(tmp_path / "copy")
    assert export_cells(store, tmp_path / "all.tar") == {"measurements": 1, "models": 2, "checkpoints": 1}
    done = import_cells(copy, tmp_path / "all.tar")
    assert (done.new, done.same, done.differing) == ({"measurements": 1, "models": 2, "checkpoints": 1}, 0, [])
    assert content(copy.root) == content(store.root)
    export_cells(copy, tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "all.tar").read_bytes()
    again = import_cells(copy, tmp_path / "all.tar")
    assert (again.new, again.same, again.differing) == ({}, 4, [])


def test_an_archive_is_plain_and_says_nothing_of_its_maker(tmp_path: Path, exported: bytes) -> None:
    (tmp_path / "all.tar").write_bytes(exported)
    with tarfile.open(tmp_path / "all.tar", "r:") as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == [
        f"measurements/00/{MEASURED}.json",
        f"models/00/{MODEL}.json",
        f"models/00/{MODEL}.safetensors",
        f"models/00/{BARE}.json",
        f"checkpoints/00/{STATE}.json",
        f"checkpoints/00/{STATE}.safetensors",
    ]
    for member in members:
        assert (member.isreg(), member.mode, member.mtime, member.uid, member.uname) == (True, 0o644, 0, 0, "")


def test_weights_and_cells_can_be_left_out(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    assert export_cells(store, tmp_path / "light.tar", weights=False) == {"measurements": 1, "models": 2}
    light = Store(tmp_path / "light")
    import_cells(light, tmp_path / "light.tar")
    assert light.read("models", MODEL) == store.read("models", MODEL)
    assert not light.has("models", MODEL)
    assert export_cells(store, tmp_path / "some.tar", frozenset({BARE})) == {"models": 1, "checkpoints": 1}
    assert export_cells(store, tmp_path / "none.tar", frozenset()) == {}
    assert import_cells(Store(tmp_path / "none"), tmp_path / "none.tar").new == {}


def test_weights_are_brought_to_the_record_they_belong_to(tmp_path: Path, exported: bytes) -> None:
    (tmp_path / "all.tar").write_bytes(exported)
    store = filled(tmp_path / "store")
    before = content(store.root)
    store.weights_path(MODEL).unlink()
    done = import_cells(store, tmp_path / "all.tar")
    assert (done.new, done.same) == ({"models": 1}, 3)
    assert content(store.root) == before


def test_a_valid_record_is_never_replaced(tmp_path: Path, exported: bytes) -> None:
    (tmp_path / "all.tar").write_bytes(exported)
    store = Store(tmp_path / "store")
    store.write("measurements", MEASURED, {"status": "measured", "barrier": 0.2, "seconds": 3.0})
    store.save_model(MODEL, {"weight": torch.ones(2)}, LOG)
    before = content(store.root)
    done = import_cells(store, tmp_path / "all.tar")
    assert done.differing == [store.record_path("measurements", MEASURED), store.record_path("models", MODEL)]
    assert before.items() <= content(store.root).items()
    assert done.new == {"models": 1, "checkpoints": 1}


def test_time_alone_is_no_difference(tmp_path: Path, exported: bytes) -> None:
    (tmp_path / "all.tar").write_bytes(exported)
    store = Store(tmp_path / "store")
    store.write("measurements", MEASURED, {"status": "measured", "barrier": 0.1, "seconds": 9.0})
    done = import_cells(store, tmp_path / "all.tar")
    assert (done.same, done.differing) == (1, [])
    assert (store.read("measurements", MEASURED) or {})["seconds"] == 9.0


def test_a_second_checksum_is_no_difference(tmp_path: Path, exported: bytes) -> None:
    (tmp_path / "all.tar").write_bytes(exported)
    store = Store(tmp_path / "store")
    import_cells(store, tmp_path / "all.tar")
    key = next(each for each in store.keys("models") if "weights_xxh3" in (store.read("models", each) or {}))
    record = dict(store.read("models", key) or {})
    store.write("models", key, {name: value for name, value in record.items() if name != "weights_xxh3"})
    assert import_cells(store, tmp_path / "all.tar").differing == []


def test_a_damaged_record_is_replaced(tmp_path: Path, exported: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "all.tar").write_bytes(exported)
    store = filled(tmp_path / "store")
    before = content(store.root)
    store.record_path("models", MODEL).write_bytes(b"{")
    assert import_cells(store, tmp_path / "all.tar").new == {"models": 1}
    assert before.items() <= content(store.root).items()
    assert "is damaged" in capsys.readouterr().err


def test_a_damaged_cell_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = filled(tmp_path / "store")
    weights = store.weights_path(MODEL)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    store.record_path("measurements", MEASURED).write_bytes(b"[]")
    assert export_cells(store, tmp_path / "all.tar") == {"models": 1, "checkpoints": 1}
    assert capsys.readouterr().err.count("is damaged") == 3
    assert import_cells(Store(tmp_path / "copy"), tmp_path / "all.tar").new == {"models": 1, "checkpoints": 1}


def test_every_cut_is_noticed_and_what_came_before_is_whole(tmp_path: Path, exported: bytes) -> None:
    path, whole = tmp_path / "cut.tar", content(filled(tmp_path / "whole").root)
    assert len(exported) % 512 == 0
    brought = set()
    for size in range(0, len(exported) - 512, 256):
        path.write_bytes(exported[:size])
        copy = tmp_path / str(size)
        if exported[size - 512 : size] == bytes(512) and size % 512 == 0 and size > len(exported) - 1024:
            continue  # the end mark itself
        with pytest.raises(StoreError, match=r"cannot import .*cut\.tar: .*new cells are in the store"):
            import_cells(Store(copy), path)
        found = content(copy)
        assert found.items() <= whole.items()
        assert not any(name.endswith(".safetensors") and name[:-11] + "json" not in found for name in found)
        brought.add(len(found))
    assert brought >= {0, 1, 3, 4}


# -- Hostile files. --


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def member(name: str, data: bytes, kind: bytes = tarfile.REGTYPE, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    return info, data


GOOD = record_bytes({"status": "measured"})
WEIGHED = {"status": "trained", "weights_bytes": 3, "weights_sha256": "0" * 64}
RECORD, WEIGHTS = f"models/00/{NEW}.json", f"models/00/{NEW}.safetensors"
HOSTILE = {
    "absolute": [member(f"/measurements/00/{MEASURED}.json", GOOD)],
    "upwards": [member(f"../measurements/00/{MEASURED}.json", GOOD)],
    "upwards inside": [member(f"measurements/../measurements/00/{MEASURED}.json", GOOD)],
    "another folder": [member(f"damaged/{MEASURED}.json", GOOD)],
    "another shelf": [member(f"measurements/01/{MEASURED}.json", GOOD)],
    "a lease": [member(f"leases/{MEASURED}", GOOD)],
    "upper case": [member(f"measurements/FF/FF{MEASURED[2:]}.json", GOOD)],
    "line break": [member(f"measurements/00/{MEASURED}.json\n", GOOD)],
    "long name": [member(f"measurements/00/{'0' * 300}.json", GOOD)],
    "no name": [member("", GOOD)],
    "beyond ascii": [member(f"measurements/00/{'٣' * 20}.json", GOOD)],
    "a measurement's weights": [member(f"measurements/00/{MEASURED}.safetensors", b"abc")],
    "symbolic link": [member(RECORD, b"", tarfile.SYMTYPE, "/etc/passwd")],
    "hard link": [member(RECORD, b"", tarfile.LNKTYPE, "/etc/passwd")],
    "device": [member(RECORD, b"", tarfile.CHRTYPE)],
    "pipe": [member(RECORD, b"", tarfile.FIFOTYPE)],
    "folder": [member("models/00", b"", tarfile.DIRTYPE)],
    "sparse": [member(RECORD, GOOD, tarfile.GNUTYPE_SPARSE)],
    "contiguous": [member(RECORD, GOOD, tarfile.CONTTYPE)],
    "pax header": [member(RECORD, b"30 path=/tmp/owned_by_lmc_test\n", tarfile.XHDTYPE)],
    "no record": [member(WEIGHTS, b"abc")],
    "another's weights": [member(RECORD, record_bytes(WEIGHED)), member(WEIGHTS.replace(NEW, BARE), b"abc")],
    "wrong size": [member(RECORD, record_bytes(WEIGHED)), member(WEIGHTS, b"abcd")],
    "wrong checksum": [member(RECORD, record_bytes(WEIGHED)), member(WEIGHTS, b"abc")],
    "no checksum": [member(RECORD, record_bytes({"status": "trained", "weights_bytes": 3})), member(WEIGHTS, b"abc")],
    "list": [member(RECORD, b"[]")],
    "body is a list": [member(RECORD, record_bytes([1]))],  # type: ignore[arg-type]
    "nothing in it": [member(RECORD, record_bytes({}))],
    "status is a number": [member(RECORD, record_bytes({"status": 1}))],
    "step is a word": [member(f"checkpoints/00/{STATE}.json", record_bytes({"step": "one", "specs": []}))],
    "specs are numbers": [member(f"checkpoints/00/{STATE}.json", record_bytes({"step": 1, "specs": [[]]}))],
    "changed": [member(RECORD, GOOD.replace(b"measured", b"trained!"))],
    "deep": [member(RECORD, b"[" * 100_000)],
    "a number without end": [member(RECORD, b"9" * 10_000)],
    "no json": [member(RECORD, b"\xff\xfe")],
}


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that lacks weights of a model, and a checkpoint."""
    store = filled(tmp_path_factory.mktemp("half"))
    store.weights_path(MODEL).unlink()
    store.remove("checkpoints", STATE)
    return store.root


def imported(half: Path, archive: bytes) -> tuple[dict[str, bytes], dict[str, bytes], bool]:
    """A copy of a store before and after an import, and whether that was refused; nothing else is written."""
    with tempfile.TemporaryDirectory() as folder:
        store, path = Store(Path(folder, "deep", "store")), Path(folder, "deep", "file.tar")
        shutil.copytree(half, store.root)
        path.write_bytes(archive)
        before, outside = content(store.root), {*Path(folder).rglob("*")} - {*store.root.rglob("*")}
        try:
            import_cells(store, path)
        except StoreError:
            refused = True
        else:
            refused = False
        assert {*Path(folder).rglob("*")} - {*store.root.rglob("*")} == outside
        assert not any(path.is_symlink() or not (path.is_file() or path.is_dir()) for path in store.root.rglob("*"))
        after = content(store.root)
    assert before == {name: after[name] for name in before}, "what was there stays"
    for name, data in after.items():
        assert cell_of(name) is not None, name
        if name.endswith(".json"):
            parse_record(data)
        else:
            assert name.replace("safetensors", "json") in after
    return before, after, refused


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_store_would_write_is_refused(half: Path, name: str) -> None:
    first = f"measurements/aa/{'a' * 20}.json"
    before, after, refused = imported(half, tar(member(first, GOOD), *HOSTILE[name]))
    assert refused
    if name == "another's weights":
        assert parse_record(after.pop(RECORD)) == WEIGHED  # a cell of its own, before the file turns bad
    assert after == {**before, first: GOOD}


@settings(deadline=None, derandomize=True, max_examples=250)
@given(data=st.data())
def test_no_changed_bytes_do_harm(half: Path, exported: bytes, data: st.DataObject) -> None:
    changed = bytearray(exported)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=12))
        if data.draw(st.booleans()):
            changed[place : place + len(piece)] = piece
        else:
            changed[place:place] = piece
    imported(half, bytes(changed))


@settings(deadline=None, derandomize=True, max_examples=250)
@given(data=st.data())
def test_no_forged_header_does_harm(half: Path, data: st.DataObject) -> None:
    """Headers whose own checksum is right, around anything."""
    names = st.sampled_from([RECORD, WEIGHTS, "../../owned", "/tmp/owned", f"models/ab/{'ab' * 10}.json"]) | st.text(
        st.characters(max_codepoint=127, exclude_characters="\0"), max_size=90
    )
    forged = b""
    for _ in range(data.draw(st.integers(1, 3))):
        info = tarfile.TarInfo(data.draw(names))
        info.type = data.draw(st.sampled_from([b"0", b"0", b"\0", b"1", b"2", b"5", b"7", b"L", b"S", b"x", b"g"]))
        info.size = data.draw(st.sampled_from([0, len(GOOD), 3, 2**33, 2**70, -1, -(2**40)]))
        info.linkname = data.draw(st.sampled_from(["", "/etc/passwd", "../.."]))
        body = data.draw(st.sampled_from([GOOD, b"", b"abc", record_bytes(WEIGHED)]))
        forged += info.tobuf(tarfile.GNU_FORMAT, "ascii", "strict") + body + bytes(-len(body) % 512)
    imported(half, forged + bytes(1024))


@pytest.mark.parametrize("size", [0, 100, 512, 1024, 4096])
def test_an_empty_archive_is_no_export_and_zeros_bring_nothing(tmp_path: Path, size: int) -> None:
    path, store = tmp_path / "zeros.tar", Store(tmp_path / "store")
    path.write_bytes(bytes(size))
    if size < 512:
        with pytest.raises(StoreError, match="it ends early"):
            import_cells(store, path)
    else:
        assert import_cells(store, path).new == {}


def test_a_missing_archive_and_one_that_cannot_be_written_are_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot import .*absent\.tar"):
        import_cells(Store(tmp_path / "store"), tmp_path / "absent.tar")
    with pytest.raises(StoreError, match=r"cannot import .*Is a directory"):
        import_cells(Store(tmp_path / "store"), tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write"):
        export_cells(filled(tmp_path / "store"), tmp_path / "file" / "all.tar")


def test_an_export_that_fails_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, path = filled(tmp_path / "store"), tmp_path / "all.tar"
    path.write_bytes(b"the last one")

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="free some space"):
        export_cells(store, path)
    assert path.read_bytes() == b"the last one"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["all.tar", "store"]


IMPORTER = """
import sys
from pathlib import Path
from lmc.store.archive import import_cells
from lmc.store.store import Store
print("ready", flush=True)
sys.stdin.readline()
import_cells(Store(Path(sys.argv[1])), Path(sys.argv[2]))
assert "torch" not in sys.modules
"""


def test_imports_that_race_agree(tmp_path: Path, exported: bytes) -> None:
    (tmp_path / "all.tar").write_bytes(exported)
    command = [sys.executable, "-c", IMPORTER, str(tmp_path / "store"), str(tmp_path / "all.tar")]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        racer.stdout.readline()
    said = [racer.communicate("\n", timeout=60)[1] for racer in racers]
    assert said == ["", "", ""]
    assert content(tmp_path / "store") == content(filled(tmp_path / "whole").root)
