"""What worker processes share: imported once by the fork server, before any worker starts."""

import sklearn.datasets  # noqa: F401  (the embedded digits)
import torch._dynamo  # noqa: F401  (the first optimizer imports it)

import lmc.measuring.records
import lmc.training.engine  # noqa: F401
