"""Make the folder of images: ``python -m own_claim.make_images``.

Handwritten noughts to fours from scikit-learn, 8x8 pixels: 600 to train, 301 to test, as PNG files by class.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from own_claim import FOLDER

CLASSES = ("nought", "one", "two", "three", "four")
TRAIN_IMAGES = 600


def make() -> None:
    """Write every image to ``few-digits/{train,test}/<class>/``."""
    digits = load_digits(n_class=len(CLASSES))
    order = np.random.default_rng(0).permutation(len(digits.target))
    for place, index in enumerate(order):
        split = "train" if place < TRAIN_IMAGES else "test"
        folder = FOLDER / split / CLASSES[digits.target[index]]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.rint(digits.images[index] * (255 / 16)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{place:04}.png")
    print(f"{len(order)} images in {FOLDER}")


if __name__ == "__main__":
    make()
