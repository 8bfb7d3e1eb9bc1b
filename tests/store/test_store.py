"""The store: what is written comes back, damage is noticed, and a failure leaves nothing behind."""

from __future__ import annotations

import errno
import json
import math
import mmap
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lmc.errors import StoreError
from lmc.store import store as store_module
from lmc.store.store import Store
from lmc.store.upkeep import verify
from lmc.store.weights import checksums

KEY, OTHER = "00aabbccddeeff001122", "ff00000000000000000f"
BODY: dict[str, Any] = {
    "status": "trained",
    "loss": [2.302585092994046, 1e-300, None],
    "name": "é ∑",
    "n": {"a": -1},
}
STATE = {"weight": torch.arange(6.0).view(2, 3), "norm.num_batches_tracked": torch.tensor(7)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def files(store: Store) -> list[str]:
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())


def same(first: dict[str, Tensor] | None, second: dict[str, Tensor]) -> bool:
    return (
        first is not None
        and first.keys() == second.keys()
        and all(torch.equal(value, second[name]) and value.dtype == second[name].dtype for name, value in first.items())
    )


def tensor_file(**changes: object) -> bytes:
    """One number in the form of safetensors, its description changed."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


# --- what is written comes back ---------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(body=st.dictionaries(st.text(), JSON, max_size=4))
def test_any_record_comes_back_exactly(body: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.write("measurements", KEY, body)
        back = store.read("measurements", KEY)
        assert back == body
        assert json.dumps(back) == json.dumps(body), "types or order changed"
        assert not (Path(folder) / "damaged").exists()


DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64"


@pytest.mark.parametrize("dtype", [getattr(torch, name) for name in DTYPES.split()])
def test_weights_come_back_exactly(store: Store, dtype: torch.dtype) -> None:
    state = {
        "matrix": torch.tensor([[0.1, 2.5, 100], [0, 1, 1e-45]]).to(dtype),
        "scalar": torch.ones((), dtype=dtype),
        "empty": torch.ones(0, 3, dtype=dtype),
    }
    store.save_model(KEY, state, BODY)
    assert same(store.load_model(KEY), state)


def test_a_model_record_holds_its_body_and_its_weights_checksum(store: Store) -> None:
    store.save_model(KEY, STATE, BODY)
    record = store.read("models", KEY)
    assert record is not None
    assert {name: record[name] for name in BODY} == BODY
    assert record.keys() - BODY.keys() == {"weights_sha256", "weights_xxh3", "weights_bytes"}
    assert record["weights_bytes"] == store.weights_path(KEY).stat().st_size


def test_what_is_done_to_loaded_weights_stays_in_memory(store: Store) -> None:
    store.save_model(KEY, STATE, BODY)
    loaded = store.load_model(KEY)
    assert loaded is not None
    loaded["weight"].zero_()
    assert same(store.load_model(KEY), STATE)
    store.save_model(KEY, {"weight": torch.ones(3)}, BODY)
    assert loaded["norm.num_batches_tracked"].item() == 7, "the file they were read from is replaced, not changed"


def test_a_cell_of_before_the_fast_checksum_is_checked_by_sha_256(store: Store) -> None:
    store.save_model(KEY, STATE, BODY)
    record, weights = dict(store.read("models", KEY) or {}), store.weights_path(KEY)
    del record["weights_xxh3"]
    store.write("models", KEY, record)
    assert same(store.load_model(KEY), STATE)
    weights.write_bytes(flipped(weights.read_bytes(), -1, 0))
    assert store.load_model(KEY) is None
    assert files(store) == [f"damaged/{KEY}.json", f"damaged/{KEY}.safetensors"]


def test_reading_asks_the_fast_checksum_and_verifying_the_other(store: Store) -> None:
    store.save_model(KEY, STATE, BODY)
    record = dict(store.read("models", KEY) or {})
    assert record["weights_xxh3"] == xxhash.xxh3_64(store.weights_path(KEY).read_bytes()).hexdigest()
    store.write("models", KEY, {**record, "weights_sha256": "0" * 64})
    assert same(store.load_model(KEY), STATE)
    assert verify(store)[2] == [str(store.weights_path(KEY)), str(store.record_path("models", KEY))]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        b"\x02" + bytes(7) + b"[]",
        b"\x07" + bytes(7) + b'{"a":3}',
        tensor_file(dtype="F3"),
        tensor_file(data_offsets=[9, 13]),
        tensor_file(data_offsets=[-1, 3]),
        tensor_file(shape=[1 << 62]),
        tensor_file(shape=["1"]),
        tensor_file(shape=[2]),
    ],
    ids=["empty", "no header", "a list", "no entry", "dtype", "beyond", "before", "enormous", "text", "other size"],
)
def test_a_file_that_matches_its_checksum_but_holds_no_tensors_is_set_aside(store: Store, data: bytes) -> None:
    with store.new_weights(KEY, {**BODY, **checksums(data)}) as file:
        file.write(data)
    assert store.load_model(KEY) is None
    assert files(store) == [f"damaged/{KEY}.json", f"damaged/{KEY}.safetensors"]


def test_cells_stand_under_their_kind_and_key(store: Store) -> None:
    store.save_model(KEY, STATE, BODY)
    store.write("measurements", KEY, BODY)
    assert files(store) == [f"measurements/00/{KEY}.json", f"models/00/{KEY}.json", f"models/00/{KEY}.safetensors"]


def test_an_absent_cell_is_none_and_creates_nothing(store: Store) -> None:
    assert store.read("models", KEY) is None
    assert store.load_model(KEY) is None
    assert not store.has("models", KEY)
    assert not store.root.exists()


def test_has_asks_for_everything_of_a_cell(store: Store) -> None:
    store.write("measurements", KEY, BODY)
    assert store.has("measurements", KEY)
    assert not store.has("measurements", OTHER)
    assert not store.has("models", KEY)
    store.save_model(KEY, STATE, BODY)
    assert store.has("models", KEY)
    store.weights_path(KEY).unlink()
    assert not store.has("models", KEY)


def test_writing_again_replaces(store: Store) -> None:
    store.save_model(KEY, STATE, BODY)
    newer = {"weight": torch.ones(3)}
    store.save_model(KEY, newer, {"status": "diverged"})
    assert same(store.load_model(KEY), newer)
    record = store.read("models", KEY)
    assert record is not None
    assert record["status"] == "diverged"


# --- damage -----------------------------------------------------------------------------------------


def assert_set_aside(store: Store, said: str, *names: str) -> None:
    for name in names:
        assert (store.root / "damaged" / name).exists()
        assert name in said
    assert "is damaged" in said
    assert "will be made again" in said


def test_every_flipped_bit_of_a_record_is_noticed_or_harmless(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.write("measurements", KEY, BODY)
    path = store.record_path("measurements", KEY)
    intact = path.read_bytes()
    harmless = 0
    for position in range(len(intact)):
        for bit in range(8):
            path.write_bytes(flipped(intact, position, bit))
            body = store.read("measurements", KEY)
            if body is None:
                assert not path.exists()
                assert_set_aside(store, capsys.readouterr().err, path.name)
            else:
                harmless += 1
                assert body == BODY, (position, bit)
    assert harmless < 0.01 * 8 * len(intact)


def test_every_flipped_byte_of_the_weights_is_noticed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.save_model(KEY, STATE, BODY)
    record, weights = store.record_path("models", KEY), store.weights_path(KEY)
    intact, intact_record = weights.read_bytes(), record.read_bytes()
    for position in range(len(intact)):
        weights.write_bytes(flipped(intact, position, position % 8))
        record.write_bytes(intact_record)
        assert store.load_model(KEY) is None, position
        assert_set_aside(store, capsys.readouterr().err, weights.name, record.name)
        assert files(store) == [f"damaged/{record.name}", f"damaged/{weights.name}"]


def flipped(data: bytes, position: int, bit: int) -> bytes:
    return data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :]


def test_every_truncation_is_noticed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.save_model(KEY, STATE, BODY)
    record, weights = store.record_path("models", KEY), store.weights_path(KEY)
    intact, intact_record = weights.read_bytes(), record.read_bytes()
    for size in range(len(intact_record)):
        record.write_bytes(intact_record[:size])
        assert store.read("models", KEY) is None, size
        assert_set_aside(store, capsys.readouterr().err, record.name)
    for size in range(len(intact)):
        record.write_bytes(intact_record)
        weights.write_bytes(intact[:size])
        assert store.load_model(KEY) is None, size
        assert_set_aside(store, capsys.readouterr().err, weights.name, record.name)


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"3",
        b"null",
        b"{}",
        b'{"body": {}}',
        b'{"body": {}, "checksum": null}',
        b'{"body": {"loss": NaN}, "checksum": ""}',
        b"\xff\xfe\x00",
        b"\x00" * 100,
        b"[" * 200_000,
        b'{"body": ' + b"9" * 5000 + b', "checksum": ""}',
    ],
    ids=lambda content: repr(content[:12]),
)
def test_hostile_records_are_set_aside(store: Store, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = store.record_path("measurements", KEY)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert not store.has("measurements", KEY)
    assert_set_aside(store, capsys.readouterr().err, path.name)
    assert files(store) == [f"damaged/{path.name}"]


def test_an_enormous_record_is_set_aside_unread(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store.write("measurements", KEY, BODY)
    path = store.record_path("measurements", KEY)
    monkeypatch.setattr(store_module, "MAX_RECORD", path.stat().st_size)
    assert store.read("measurements", KEY) == BODY
    monkeypatch.setattr(store_module, "MAX_RECORD", path.stat().st_size - 1)
    monkeypatch.setattr(Path, "read_bytes", failing(errno.ENOMEM))
    assert store.read("measurements", KEY) is None
    assert_set_aside(store, capsys.readouterr().err, path.name)


def test_want_of_memory_is_no_fault_of_the_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run goes on with fewer workers then; another store would not help."""
    store.save_model(KEY, STATE, BODY)
    with monkeypatch.context() as patched:
        patched.setattr(mmap, "mmap", failing(errno.ENOMEM))
        with pytest.raises(MemoryError, match=f"cannot read .*{KEY}.safetensors: Cannot allocate memory"):
            store.load_model(KEY)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", failing(errno.ENOMEM))
        with pytest.raises(MemoryError, match=f"cannot read .*{KEY}.json"):
            store.read("models", KEY)
    assert same(store.load_model(KEY), STATE)


def test_a_record_outlives_its_weights(store: Store) -> None:
    store.save_model(KEY, STATE, BODY)
    record = store.read("models", KEY)
    store.weights_path(KEY).unlink()
    assert store.load_model(KEY) is None
    assert not store.has("models", KEY)
    assert store.read("models", KEY) == record
    store.save_model(KEY, {"weight": torch.ones(3)}, BODY)  # rounded otherwise on another machine
    assert same(store.load_model(KEY), {"weight": torch.ones(3)})


def test_a_record_never_vouches_for_weights_it_does_not_belong_to(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reader between the two writes of another process finds an unfinished cell, not a damaged one."""
    store.save_model(KEY, STATE, BODY)
    seen: list[object] = []
    monkeypatch.setattr(Store, "write", lambda *_: seen.append(Store(store.root).load_model(KEY)))
    store.save_model(KEY, {"weight": torch.ones(3)}, BODY)
    assert seen == [None]
    assert capsys.readouterr().err == ""
    assert files(store) == [f"models/00/{KEY}.safetensors"]


def test_weights_replaced_while_they_are_read_are_not_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store.save_model(KEY, STATE, BODY)
    newer, opened = {"weight": torch.ones(3)}, Path.open

    def replaced_first(path: Path, mode: str) -> Any:
        if (path, mode) == (store.weights_path(KEY), "rb"):
            monkeypatch.undo()
            Store(store.root).save_model(KEY, newer, BODY)
        return opened(path, mode)

    monkeypatch.setattr(Path, "open", replaced_first)
    assert store.load_model(KEY) is None
    assert capsys.readouterr().err == ""
    assert same(store.load_model(KEY), newer)


def test_swapped_weights_are_noticed(store: Store) -> None:
    """Whole and valid, but another model's."""
    store.save_model(KEY, STATE, BODY)
    store.save_model(OTHER, {"weight": torch.zeros(2, 3), "norm.num_batches_tracked": torch.tensor(7)}, BODY)
    os.replace(store.weights_path(OTHER), store.weights_path(KEY))
    assert store.load_model(KEY) is None


def test_a_damaged_cell_can_be_made_again(store: Store) -> None:
    for _ in range(2):  # the second time, damaged/ holds the first
        store.save_model(KEY, STATE, BODY)
        store.weights_path(KEY).write_bytes(b"")
        assert store.load_model(KEY) is None
        assert not store.has("models", KEY)
    store.save_model(KEY, STATE, BODY)
    assert same(store.load_model(KEY), STATE)


# --- failing disks ----------------------------------------------------------------------------------


def failing(code: int) -> Callable[..., NoReturn]:
    def fail(*_arguments: Any, **_options: Any) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return fail


class FullFile:
    """A file on a disk that fills up with the first write."""

    def __init__(self, descriptor: int, _mode: str) -> None:
        self.file = open(descriptor, "wb")  # noqa: SIM115

    def __enter__(self) -> FullFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> NoReturn:
        self.file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


FAILURES = [  # function that fails, how, remedy
    pytest.param("os.replace", failing(errno.EROFS), "choose a writable store", id="read-only rename"),
    pytest.param("tempfile.mkstemp", failing(errno.EROFS), "choose a writable store", id="read-only create"),
    pytest.param("tempfile.mkstemp", failing(errno.EACCES), "choose a writable store", id="forbidden"),
    pytest.param("pathlib.Path.mkdir", failing(errno.EROFS), "choose a writable store", id="read-only folder"),
    pytest.param("os.fdopen", FullFile, "free some space", id="full while writing"),
    pytest.param("os.fsync", failing(errno.ENOSPC), "free some space", id="full while flushing"),
    pytest.param("os.fsync", failing(errno.EDQUOT), "free some space", id="over quota"),
]


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda store: store.write("models", KEY, BODY), id="record"),
        pytest.param(lambda store: store.save_model(KEY, STATE, BODY), id="model"),
    ],
)
@pytest.mark.parametrize(("function", "failure", "remedy"), FAILURES)
def test_a_failing_disk_is_said_and_leaves_nothing(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Store], None],
    function: str,
    failure: Callable[..., Any],
    remedy: str,
) -> None:
    store.save_model(OTHER, STATE, BODY)
    before = files(store)
    with monkeypatch.context() as patched:
        patched.setattr(function, failure)
        with pytest.raises(StoreError, match="cannot write") as refused:
            write(store)
    assert str(store.root) in str(refused.value)
    assert remedy in str(refused.value)
    assert files(store) == before
    assert same(store.load_model(OTHER), STATE), "what was finished is kept"
    assert store.read("models", KEY) is None
    store.save_model(KEY, STATE, BODY)
    assert same(store.load_model(KEY), STATE), "it works again afterwards"


def test_a_disk_that_fills_up_after_the_weights_leaves_no_finished_model(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes: list[int] = []

    def fsync(descriptor: int) -> None:
        flushes.append(descriptor)
        if len(flushes) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreError, match=rf"cannot write .*{KEY}\.json.*free some space"):
        store.save_model(KEY, STATE, BODY)
    assert files(store) == [f"models/00/{KEY}.safetensors"]
    assert not store.has("models", KEY)
    assert store.load_model(KEY) is None


def test_a_store_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file")
    with pytest.raises(StoreError, match=r"cannot write .*choose a writable store"):
        store.write("models", KEY, BODY)
    with pytest.raises(StoreError, match=r"cannot read .*choose another store"):
        store.read("models", KEY)


def test_unreadable_cells_are_errors_and_not_made_again(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.save_model(KEY, STATE, BODY)
    store.weights_path(KEY).unlink()
    store.weights_path(KEY).mkdir()  # unreadable even for root
    with pytest.raises(StoreError, match=rf"cannot read .*{KEY}\.safetensors.*choose another store"):
        store.load_model(KEY)
    store.record_path("models", KEY).unlink()
    store.record_path("models", KEY).mkdir()
    with pytest.raises(StoreError, match=rf"cannot read .*{KEY}\.json.*choose another store"):
        store.read("models", KEY)
    assert capsys.readouterr().err == ""


def test_damage_in_a_read_only_store_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("models", KEY, BODY)
    store.record_path("models", KEY).write_bytes(b"{")
    monkeypatch.setattr(os, "replace", failing(errno.EROFS))
    with pytest.raises(StoreError, match=r"cannot set .* aside.*make the store writable"):
        store.read("models", KEY)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_record_with_a_number_json_lacks_is_refused(store: Store, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write("measurements", KEY, {"deep": [{"loss": value}]})
    assert files(store) == []
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.save_model(KEY, STATE, {"loss": value})
    assert not store.has("models", KEY)
    assert store.load_model(KEY) is None


# --- several writers --------------------------------------------------------------------------------


def test_threads_writing_and_reading_one_model_never_see_half_of_it(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.save_model(KEY, STATE, BODY)
    problems: list[object] = []

    def work(action: Callable[[], object], expected: Callable[[object], bool]) -> None:
        try:
            for _ in range(40):
                found = action()
                if not expected(found):
                    problems.append(found)
        except Exception as error:
            problems.append(error)

    def write() -> None:
        store.save_model(KEY, STATE, BODY)

    threads = [threading.Thread(target=work, args=(write, lambda found: found is None)) for _ in range(3)]
    threads += [
        threading.Thread(target=work, args=(lambda: store.load_model(KEY), lambda found: same(found, STATE)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert capsys.readouterr().err == ""
    assert files(store) == [f"models/00/{KEY}.json", f"models/00/{KEY}.safetensors"]


WRITER = """
import sys
from pathlib import Path
from lmc.store.store import Store
assert "torch" not in sys.modules
store = Store(Path(sys.argv[1]))
for turn in range(100):
    store.write("measurements", sys.argv[2], {"writer": int(sys.argv[3]), "turn": turn, "padding": "x" * 5000})
    body = store.read("measurements", sys.argv[2])
    assert body is not None and len(body["padding"]) == 5000, body
"""


def test_processes_writing_one_record_never_see_half_of_it(store: Store) -> None:
    command = [sys.executable, "-c", WRITER, str(store.root), KEY]
    writers = [subprocess.Popen([*command, str(number)], stderr=subprocess.PIPE, text=True) for number in range(3)]
    for writer in writers:
        _, said = writer.communicate(timeout=60)
        assert (writer.returncode, said) == (0, "")
    body = store.read("measurements", KEY)
    assert body is not None
    assert body["turn"] == 99
    assert files(store) == [f"measurements/00/{KEY}.json"]
