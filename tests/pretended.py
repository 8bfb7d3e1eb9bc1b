"""An accelerator that is not there: real numbers, computed on the CPU, under the rules of a device.

Tensors that are put on it belong to it, and so does what is computed from them. It refuses what a real one refuses:
tensors of two devices in one operation, float64 where it has none, NumPy. And it counts what a real one makes the host
wait for. Unlike under ``FakeTensorMode``, values exist: control flow is the real one, backward passes run, and results
can be compared with the CPU's.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import lmc

_GET = {name: vars(torch._C.TensorBase)[name].__get__ for name in ("device", "is_cuda", "is_cpu", "is_mps", "is_xpu")}

_VIEWS = frozenset(
    {"_unsafe_view", "alias", "as_strided", "detach", "expand", "lift_fresh", "permute", "select", "slice", "split"}
    | {"split_with_sizes", "squeeze", "t", "transpose", "unbind", "unfold", "unsqueeze", "view"}
)
"""Operations that launch no kernel."""

_WAITING = frozenset(["_local_scalar_dense", "_unique2", "bincount", "equal", "masked_select", "nonzero", "unique_dim"])
"""Operations that give the host a number, or something whose shape depends on numbers."""

_PACKAGE = f"{Path(lmc.__file__).parent}{os.sep}"


class Pretended(TorchFunctionMode):
    """While this is entered, a device of ``kind`` is there.

    Args:
        kind: as torch calls it.
        float64: whether it has float64.
    """

    def __init__(self, kind: str, *, float64: bool = True) -> None:
        super().__init__()
        self.device, self.float64 = torch.device(kind, 0), float64
        self.waits: Counter[str] = Counter()  # what made the host wait, by operation and place in the package
        self.kernels = 0  # operations on its tensors that are no mere views
        self.moving = False
        self._held: dict[int, StorageWeakRef] = {}
        self._operations = _Operations(self)

    def __enter__(self) -> Pretended:
        self._patches = contextlib.ExitStack()
        self._patches.enter_context(mock.patch.object(torch, "Generator", _Generator))
        if self.device.type == "cuda":  # what only its driver could do
            forked, state = torch.random.fork_rng, torch.get_rng_state()
            self._patches.enter_context(
                mock.patch.object(torch.random, "fork_rng", side_effect=lambda *_, **__: forked([]))
            )
            self._patches.enter_context(mock.patch.object(torch.cuda, "set_rng_state"))
            self._patches.enter_context(mock.patch.object(torch.cuda, "get_rng_state", return_value=state))
        super().__enter__()
        self._operations.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._operations.__exit__(*error)
        super().__exit__(*error)
        self._patches.close()

    def holds(self, tensor: object) -> bool:
        """Whether a tensor is on the device."""
        if not isinstance(tensor, Tensor):
            return False
        with torch._C.DisableTorchFunction():
            return tensor.untyped_storage()._cdata in self._held

    def put(self, tensor: Tensor) -> Tensor:
        """Say that a tensor is on the device, from now on."""
        with torch._C.DisableTorchFunction():
            if tensor.dtype == torch.float64 and not self.float64:
                raise TypeError(f"{self.device} has no float64")
            storage = tensor.untyped_storage()
            self._held[storage._cdata] = StorageWeakRef(storage)  # while there is one, no other gets this address
        return tensor

    def wait(self, what: str) -> None:
        """Note that the host waits."""
        paths = [each.filename for each in traceback.extract_stack() if each.filename.startswith(_PACKAGE)]
        place = paths[-1].removeprefix(_PACKAGE).replace(os.sep, "/") if paths else "a test"
        self.waits[f"{what}, {place}"] += 1

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _GET.values():
            if not self.holds(args[0]):
                return func(*args)
            return self.device if func == _GET["device"] else func == _GET.get(f"is_{self.device.type}")
        if func in (Tensor.to, Tensor.cpu):
            return self._to(*args, **({"device": "cpu"} if func is Tensor.cpu else kwargs))
        if func is Tensor.tolist and self.holds(args[0]):
            self.wait("tolist")
        if func is Tensor.numpy and self.holds(args[0]):
            raise TypeError(f"a tensor of {self.device} cannot become an array; move it to the CPU first")
        wanted = kwargs.get("device")
        if wanted is None:
            return func(*args, **kwargs)
        there = torch.device(wanted).type == self.device.type
        self.moving = True
        try:
            found = func(*args, **{**kwargs, "device": "cpu"})
        finally:
            self.moving = False
        return self.put(found) if there else found

    def _to(self, tensor: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
        here = self.holds(tensor)
        if args and isinstance(args[0], Tensor):
            there, dtype, memory_format = self.holds(args[0]), args[0].dtype, kwargs.get("memory_format")
        else:
            device, dtype, _, memory_format = torch._C._nn._parse_to(*args, **kwargs)
            there = here if device is None else device.type == self.device.type
        form = torch.preserve_format if memory_format is None else memory_format
        with torch._C.DisableTorchFunction():
            if here == there:
                return tensor.to(dtype or tensor.dtype, copy=copy, memory_format=form)
            if here and dtype == torch.float64 and not self.float64:
                raise TypeError(f"{self.device} cannot send as float64; move the tensor first")
            self.wait("to the host" if here else "from the host")
            self.moving = True
            try:
                moved = tensor.to(dtype or tensor.dtype, copy=True, memory_format=form)
            finally:
                self.moving = False
        return self.put(moved) if there else moved


class _Generator(torch._C.Generator):
    """Draws on the CPU, whatever device it is asked for."""

    def __new__(cls, *_: torch.device | str) -> _Generator:
        return super().__new__(cls, "cpu")  # type: ignore[call-arg]


class _Operations(TorchDispatchMode):
    """Sees every operation that runs, also those of backward passes and optimizers."""

    def __init__(self, owner: Pretended) -> None:
        super().__init__()
        self.owner = owner

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and to skip it takes seconds of imports

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, owner = kwargs or {}, self.owner
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        on = [each for each in tensors if owner.holds(each)]
        if owner.moving or not on:
            return func(*args, **kwargs)
        name = func.overloadpacket.__name__
        with torch._C.DisableTorchFunction():
            self._check(name, tensors, on)
        if name not in _VIEWS:
            owner.kernels += 1
        if name in _WAITING or (name == "index" and any(_is_mask(each) for each in args[1])):
            owner.wait(name)
        if name == "copy_" and len(on) == 1 and len(tensors) == 2:
            owner.wait("copy_ between devices")
            return func(*args, **kwargs)
        found = func(*args, **kwargs)
        for each in tree_leaves(found):
            if isinstance(each, Tensor) and not owner.holds(each):
                owner.put(each)
        return found

    def _check(self, name: str, tensors: list[Tensor], on: list[Tensor]) -> None:
        """Refuse what the device refuses; numbers may come from the host, and indices too."""
        device, apart = self.owner.device, len(on) < len(tensors)
        if not self.owner.float64 and any(each.dtype == torch.float64 for each in on):
            raise TypeError(f"{name} in float64 on {device}")
        if name == "copy_":
            if apart and not self.owner.float64 and any(each.dtype == torch.float64 for each in tensors):
                raise TypeError(f"a copy between float64 and {device}")
            return
        away = [each for each in tensors if not any(each is one for one in on) and each.ndim]
        if away and name not in ("index", "index_put_", "_index_put_impl_"):
            raise RuntimeError(f"{name} of tensors on {device} and others on cpu")


def _is_mask(index: object) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)
