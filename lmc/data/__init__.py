"""Datasets as uint8 tensors, and the tensor operations that turn them into batches."""

from lmc.data.batches import Normaliser, augment, epoch_order, random_crops
from lmc.data.dataset import Dataset
from lmc.data.sources import load_dataset

__all__ = ["Dataset", "Normaliser", "augment", "epoch_order", "load_dataset", "random_crops"]
