"""Tests share few cores with each other: one thread each, and none that spins as it waits."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

torch.set_num_threads(1)
