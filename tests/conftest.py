"""Tests share few cores with each other: one thread each, and none that spins as it waits.

Started in the background, a shell lets its children ignore Ctrl-C, and nohup lets them ignore a closing terminal. What
the tests start must not inherit that: a run obeys it.
"""

import os
import signal

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

torch.set_num_threads(1)

for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)
