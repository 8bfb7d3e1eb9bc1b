"""A safetensors file as a state dict that holds none of its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from lmc.errors import MergeError


class StateFile(Mapping[str, Tensor]):
    """The weights of a model, each read when it is asked for: two models need not fit into memory to be interpolated.

    Args:
        path: of a safetensors file.

    Raises:
        MergeError: it cannot be read.

    Example:
        >>> import tempfile, torch
        >>> from safetensors.torch import save_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_file({"w": torch.ones(2)}, f"{folder}/a.safetensors")
        ...     StateFile(Path(folder, "a.safetensors"))["w"]
        tensor([1., 1.])
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self._names = self._read(None)[0]

    def _read(self, name: str | None) -> tuple[dict[str, None], Tensor | None]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as file:  # closed at once: an open one keeps what was read
                return dict.fromkeys(file.keys()), None if name is None else file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise MergeError(f"cannot read {self.path}: {error}; name a safetensors file of weights") from error

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        tensor = self._read(name)[1]
        assert tensor is not None
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
