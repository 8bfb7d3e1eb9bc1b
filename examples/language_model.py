"""Two small causal language models of transformers, trained for seconds on text that ships with Python.

pip install transformers
python examples/language_model.py               # one common start
python examples/language_model.py --starts 2    # two starts
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from pydoc_data import topics

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

import lmc

LENGTH = 48


def texts() -> Tensor:
    """Rows of bytes of Python's own documentation, (N, 48)."""
    text = Path(str(topics.__file__)).read_text("utf-8")
    tokens = torch.tensor(list(text.encode("ascii", "replace")[: 2000 * LENGTH]))
    return tokens.unflatten(0, (-1, LENGTH))


def fit(model: nn.Module, rows: Tensor, steps: int, seed: int) -> nn.Module:
    """Train a copy of ``model`` on batches drawn with ``seed``."""
    model = copy.deepcopy(model).train()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        picked = rows[torch.randint(len(rows), (16,), generator=generator)]
        optimizer.zero_grad()
        model(input_ids=picked, labels=picked).loss.backward()
        optimizer.step()
    return model.eval()


def main() -> None:
    """Train two models and print the diagnosis."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100, help="training steps of each model")
    parser.add_argument("--starts", type=int, choices=(1, 2), default=1, help="1: a common start, 2: independent")
    options = parser.parse_args()
    rows = texts()
    sizes = {"vocab_size": 128, "n_positions": LENGTH, "n_embd": 48, "n_layer": 2, "n_head": 2}
    starts = []
    for seed in range(options.starts):
        torch.manual_seed(seed)
        starts.append(fit(GPT2LMHeadModel(GPT2Config(**sizes)), rows[:-100], options.steps, 10 + seed))
    a, b = (fit(starts[seed % options.starts], rows[:-100], options.steps // 2, seed) for seed in (0, 1))
    test = {"input_ids": rows[-100:], "labels": rows[-100:]}  # labels are the inputs: judged by the next token
    print(*lmc.diagnose(a, b, test).lines(), sep="\n")


if __name__ == "__main__":
    main()
