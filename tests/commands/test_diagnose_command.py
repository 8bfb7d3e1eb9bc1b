"""``lmc diagnose`` on checkpoints in files; nothing in them is executed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from diagnosed import digits, fitted, mlp
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from lmc.commands.diagnose import register
from lmc.diagnosing.checkpoints import read_checkpoint
from lmc.diagnosing.data_files import read_data
from lmc.errors import DataError, LmcError, MergeError, SpecError

FACTORY = """
from torch import nn
def make():
    return nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 10))
def wide():
    return nn.Sequential(nn.Linear(64, 25), nn.ReLU(), nn.Linear(25, 25), nn.ReLU(), nn.Linear(25, 10))
def images():
    return nn.Sequential(nn.Flatten(), make())
class Two(nn.Sequential):
    def forward(self, x):
        return super().forward(x), x
def two():
    return Two(*make())
def needs(width):
    return None
def nothing():
    return None
def leaves():
    raise SystemExit(0)
number = 3
"""
STATE = fitted(lambda: mlp(24), 0).state_dict()
INPUTS, LABELS = digits()[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a module of its own name, two checkpoints and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"nets_{tmp_path.name}.py").write_text(FACTORY)
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit(0)\n")
    near = {name: value + 0.003 * torch.randn_like(value) for name, value in STATE.items()}
    save_file(STATE, "a.safetensors")
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in near.items()}}, "b.pt")
    save_file({"inputs": INPUTS, "labels": LABELS}, "data.safetensors")
    return tmp_path


def diagnose(folder: Path, *arguments: str, factory: str = "make", command: str = "diagnose") -> Any:
    app = typer.Typer()
    register(app)
    model = factory if ":" in factory else f"nets_{folder.name}:{factory}"
    threads = torch.get_num_threads()
    try:
        return CliRunner().invoke(app, [command, "--model", model, "--data", "data.safetensors", *arguments])
    finally:  # the command sets up its process, which here is that of all tests
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)


def refused(result: Any) -> str:
    """The message of the error, which is ours."""
    assert isinstance(result.exception, LmcError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_two_checkpoints_that_can_be_averaged(folder: Path) -> None:
    result = diagnose(folder, "a.safetensors", "b.pt", "--save", "merged.safetensors")
    assert result.exit_code == 0, result.output
    assert "can be averaged as they are" in result.output
    assert "training mode" not in result.output  # what the factory gives is ours, and no remark is due
    assert load_file("merged.safetensors").keys() == STATE.keys()
    Path("plain").touch()
    assert Path("merged.safetensors").stat().st_mode == Path("plain").stat().st_mode


def test_where_the_merge_cannot_be_saved_is_noticed_first(folder: Path) -> None:
    (folder / "linked.safetensors").symlink_to("a.safetensors")
    whole = (folder / "a.safetensors").read_bytes()
    for name, message in [
        ("a.safetensors", "--save a.safetensors would overwrite a.safetensors, which is read; name another file"),
        ("linked.safetensors", "would overwrite a.safetensors"),
        ("absent/merged.safetensors", "cannot write absent/merged.safetensors"),
        (".", "it is a folder; choose another place"),
    ]:
        result = diagnose(
            folder, "a.safetensors", "b.pt", "--save", name, factory="absent"
        )  # an error that comes later
        assert message in refused(result)
    assert (folder / "a.safetensors").read_bytes() == whole
    assert not list(folder.glob("*.part"))


def test_json(folder: Path) -> None:
    result = diagnose(folder, "a.safetensors", "b.pt", "a.safetensors", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["conclusion"]["verdict"] == "as they are"
    assert len(document["models"]) == 3


def test_the_former_name_does_the_same_and_is_listed_nowhere(folder: Path) -> None:
    arguments = ("a.safetensors", "b.pt", "--permutation", "never")
    old, new = (diagnose(folder, *arguments, command=name) for name in ("compare", "diagnose"))
    assert (old.exit_code, old.output) == (0, new.output)
    app = typer.Typer(rich_markup_mode=None)
    register(app)
    listed = CliRunner().invoke(app, ["--help"]).output
    assert "  diagnose" in listed
    assert "compare" not in listed


def test_checkpoints_that_cannot_be_averaged_exit_with_1(folder: Path) -> None:
    turned = torch.arange(24).roll(7)
    other = {"0.weight": STATE["0.weight"][turned], "0.bias": STATE["0.bias"][turned]}
    save_file(STATE | other | {"2.weight": STATE["2.weight"][:, turned].contiguous()}, "c.safetensors")
    arguments = ("--save", "merged.safetensors", "--permutation", "never")
    result = diagnose(folder, "a.safetensors", "c.safetensors", *arguments)
    assert result.exit_code == 1, result.output
    assert "cannot be averaged" in result.output
    assert not Path("merged.safetensors").exists()


def test_checkpoints_at_chance_exit_with_1(folder: Path) -> None:
    save_file({name: torch.randn_like(value) for name, value in STATE.items()}, "c.safetensors")
    result = diagnose(folder, "c.safetensors", "c.safetensors")
    assert result.exit_code == 1, result.output
    assert "undecided" in result.output


def test_a_folder_of_images(folder: Path) -> None:
    pixels = (INPUTS * 0.35 + 0.3).clamp(0, 1).mul(255).round().byte().unflatten(1, (8, 8))
    for index, (image, label) in enumerate(zip(pixels, LABELS, strict=True)):
        target = folder / "pictures" / ("train" if index < 60 else "test") / str(int(label))
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.numpy(), mode="L").save(target / f"{index}.png")
    for name in ("a", "b"):
        save_file({f"1.{key}": value for key, value in STATE.items()}, f"{name}-images.safetensors")
    arguments = ("a-images.safetensors", "b-images.safetensors", "--data", "pictures", "--json")
    result = diagnose(folder, *arguments, factory="images")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["inputs"] == 140
    assert document["models"][0]["metric"] > 0.8  # so the labels belong to the images


class Evil:
    """Would write a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


def test_pickled_objects_are_refused_and_not_executed(folder: Path) -> None:
    torch.save({"state_dict": STATE, "extra": Evil()}, "evil.pt")
    torch.save(mlp(24), "whole.pt")
    for name in ("evil.pt", "whole.pt"):
        assert "holds pickled objects" in refused(diagnose(folder, "a.safetensors", name))
    assert not Path("pwned").exists()


def test_weights_are_found_in_wrappers_of_wrappers(folder: Path) -> None:
    nested: dict[str, Any] = {"epoch": 3, "weights": {"step": 2, "state_dict": {"net": STATE}}}
    torch.save(nested, "nested.pt")
    assert read_checkpoint(Path("nested.pt")).state.keys() == STATE.keys()
    nested["weights"]["state_dict"] = nested
    torch.save(nested, "endless.pt")
    with pytest.raises(MergeError, match="beside tensors; save model"):
        read_checkpoint(Path("endless.pt"))


def test_unreadable_checkpoints(folder: Path) -> None:
    (folder / "text.pt").write_text("hello, this is no checkpoint")
    (folder / "empty.pt").write_bytes(b"")
    torch.save([1, 2], "list.pt")
    torch.save({"epoch": 3, "loss": 0.5}, "numbers.pt")
    whole = (folder / "b.pt").read_bytes()
    (folder / "cut.pt").write_bytes(whole[: len(whole) // 2])
    for name, message in [
        ("text.pt", "neither torch.save nor safetensors"),
        ("empty.pt", "neither torch.save nor safetensors"),
        ("absent.pt", "cannot read absent.pt"),
        ("list.pt", "holds a list, no state dict"),
        ("numbers.pt", "'epoch', a int, beside tensors"),
        ("cut.pt", "cannot read cut.pt"),
    ]:
        with pytest.raises(MergeError, match=message):
            read_checkpoint(Path(name))
        assert message in refused(diagnose(folder, "a.safetensors", name))


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("absent", "has no 'absent'"),
        ("number", "is a int; name a function"),
        ("needs", "must build the model without arguments"),
        ("leaves", "factory leaves failed: SystemExit: 0"),
        ("leaving:make", "cannot import 'leaving': SystemExit: 0; it must import without running anything"),
        ("nothing", "gives a NoneType; it must return a torch.nn.Module"),
        ("no_such_module:make", "cannot import 'no_such_module'"),
        ("wide", "does not fit the model of wide"),
        (":make", "write package.module:name"),
    ],
)
def test_wrong_factories(folder: Path, factory: str, message: str) -> None:
    assert message in refused(diagnose(folder, "a.safetensors", "b.pt", factory=factory))


def test_one_checkpoint_is_too_few(folder: Path) -> None:
    assert "two checkpoints or more" in refused(diagnose(folder, "a.safetensors"))


def test_errors_are_one_line_and_exit_status_2(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lmc.commands import cli

    words = ["lmc", "diagnose", "a.safetensors", "b.pt", "--model", "nowhere", "--data", "data.safetensors"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("inputs", "labels", "factory", "message"),
    [
        (INPUTS[:, :63], LABELS, "make", "cannot run on inputs of torch.float32 (8, 63)"),
        (INPUTS, LABELS + 1, "make", "labels run from 1 to 10, but the model gives 10 logits"),
        (INPUTS, LABELS[:9], "make", "one class index per input"),
        (INPUTS, LABELS, "two", "gives a tuple, not one tensor of logits; pass outputs="),
    ],
)
def test_data_and_models_that_do_not_fit(
    folder: Path, inputs: torch.Tensor, labels: torch.Tensor, factory: str, message: str
) -> None:
    save_file({"inputs": inputs.contiguous(), "labels": labels.contiguous()}, "odd.safetensors")
    assert message in refused(diagnose(folder, "a.safetensors", "b.pt", "--data", "odd.safetensors", factory=factory))


def test_checkpoints_of_different_architectures(folder: Path) -> None:
    save_file(mlp(25).state_dict(), "wide.safetensors")
    said = refused(diagnose(folder, "a.safetensors", "wide.safetensors"))
    assert "checkpoint 2 does not fit the model of make" in said
    assert "name the factory it was trained with" in said


def test_data_files(folder: Path) -> None:
    images = torch.randint(0, 256, (30, 1, 8, 8), dtype=torch.uint8)
    labels = torch.arange(30) % 10
    prepared = {"train_images": images, "train_labels": labels, "test_images": images[:20], "test_labels": labels[:20]}
    save_file({name: each.clone() for name, each in prepared.items()}, "prepared.safetensors")
    batch, train = read_data(Path("prepared.safetensors"))
    assert isinstance(batch, tuple)
    inputs, found = batch
    assert inputs.shape == (20, 1, 8, 8)
    assert torch.equal(found, labels[:20])
    assert train is not None
    torch.testing.assert_close(train.mean(), torch.tensor(0.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(train.std(), torch.tensor(1.0), atol=1e-2, rtol=0)

    save_file({"inputs": INPUTS, "labels": LABELS, "train_inputs": INPUTS[:9].clone()}, "with_train.safetensors")
    extra = read_data(Path("with_train.safetensors"))[1]
    assert extra is not None
    assert len(extra) == 9

    save_file({"x": INPUTS}, "other.safetensors")
    (folder / "text.safetensors").write_text("no")
    for name, message in [
        ("other.safetensors", "holds x; it needs inputs and labels"),
        ("text.safetensors", "cannot read"),
        ("absent.safetensors", "there is no"),
        (".", "expected one folder per class|holds no class"),
    ]:
        with pytest.raises(DataError, match=message):
            read_data(Path(name))
    with pytest.raises(SpecError, match="unknown device"):
        raise diagnose(folder, "a.safetensors", "b.pt", "--device", "tpu").exception or AssertionError


def test_the_device_is_that_of_the_environment_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMC_DEVICE", "tpu")
    assert "unknown device 'tpu'" in refused(diagnose(folder, "a.safetensors", "b.pt"))
    assert diagnose(folder, "a.safetensors", "b.pt", "--device", "cpu").exit_code == 0


def test_a_page_beside_what_is_printed(folder: Path) -> None:
    run = diagnose(folder, "a.safetensors", "b.pt", "--html", "page.html")
    assert run.exit_code == 0, run.output
    page = Path("page.html").read_text("utf-8")
    assert run.stdout.splitlines()[0] in " ".join(page.split())
    refused = diagnose(folder, "a.safetensors", "b.pt", "--html", "a.safetensors")
    assert isinstance(refused.exception, SpecError)
    assert "--html a.safetensors would overwrite a.safetensors" in str(refused.exception)
