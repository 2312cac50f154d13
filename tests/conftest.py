"""Tests share few cores with each other: one thread each, and none that spins as it waits.

Started in the background, a shell lets its children ignore Ctrl-C, and nohup lets them ignore a closing terminal. What
the tests start must not inherit that: a run obeys it.
"""

import atexit
import os
import shutil
import signal
import tempfile

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

torch.set_num_threads(1)
# Measurements of the machine are kept between runs, but not those of tests.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="convladder-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)
