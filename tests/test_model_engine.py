import platform
import threading
import time

import pytest
import torch
from torch import nn

from model.engine import Engine
from model.engine_choice import choose_engine
from model.probe import Probe


def test_fp32_forces_the_plain_path_unmeasured() -> None:
    engine, measurements = choose_engine("cpu", num_threads=1, precision="fp32")
    assert engine == Engine(device="cpu", precision="fp32", channels_last=False, compile=False, num_threads=1)
    assert measurements == []


def test_auto_takes_the_fastest_measured_and_is_quick() -> None:
    start = time.perf_counter()
    engine, measurements = choose_engine("cpu", num_threads=1)
    assert time.perf_counter() - start < 60  # about 1.5 s on an idle machine
    fastest = min(measurements, key=lambda row: row["step_ms"])
    assert (engine.precision, engine.channels_last) == (fastest["precision"], fastest["channels_last"])
    assert {(row["precision"], row["channels_last"]) for row in measurements} == {
        ("fp32", False),
        ("fp32", True),
        ("bf16", True),
    }
    assert not engine.compile
    assert engine.num_threads == 1


def test_bf16_forces_the_precision_and_measures_the_layout() -> None:
    engine, measurements = choose_engine("cpu", num_threads=1, precision="bf16")
    assert engine.precision == "bf16"
    assert {row["precision"] for row in measurements} == {"bf16"}


def test_unknown_precision_names_the_known() -> None:
    with pytest.raises(ValueError, match="`precision` must be one of auto, bf16, fp32; got 'fp16'"):
        choose_engine("cpu", num_threads=1, precision="fp16")


def test_engine_gives_torchs_dtype_and_memory_format() -> None:
    engine = Engine(device="cuda:1", precision="bf16", channels_last=True)
    assert (engine.device_type, engine.dtype, engine.memory_format) == ("cuda", torch.bfloat16, torch.channels_last)
    assert (Engine().dtype, Engine().memory_format) == (torch.float32, torch.contiguous_format)


def test_apply_sets_the_threads() -> None:
    before = torch.get_num_threads()
    Engine(num_threads=1).apply()
    assert torch.get_num_threads() == 1
    Engine(num_threads=before).apply()
    assert torch.get_num_threads() == before


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="a switch of this processor")
@pytest.mark.parametrize("num_threads", [1, 2])
def test_denormal_numbers_are_flushed_in_all_threads_of_a_training(num_threads: int) -> None:
    before = torch.get_num_threads()
    left = []

    def train() -> None:
        Engine(num_threads=num_threads).apply()
        left.append(int((torch.full((2**20,), 1e-39) * 1.0).count_nonzero()))

    thread = threading.Thread(target=train)  # trials also run in threads
    thread.start()
    thread.join()
    torch.set_num_threads(before)
    assert left == [0]


def test_a_busy_machine_is_measured_by_computing_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `thread_time` may decide on a CPU: with a wall clock that jumps at random the choice stays the same."""
    jumps = iter(range(0, 10**9, 997))
    monkeypatch.setattr(time, "perf_counter", lambda: next(jumps))
    _, measurements = choose_engine("cpu", num_threads=1, precision="bf16")
    assert all(row["step_ms"] < 100_000 for row in measurements)


def test_the_chosen_engines_threads_are_left_set() -> None:
    before = torch.get_num_threads()
    choose_engine("cpu", num_threads=2, precision="bf16")
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_choosing_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    choose_engine("cpu", num_threads=1, precision="bf16")
    assert torch.equal(torch.rand(2), expected)


class _Flattens(nn.Module):
    """Asks for one memory layout, as many networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 8 * 8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x)
        return self.fc(y.view(len(y), -1))  # type: ignore[no-any-return]


class _NeedsFloat(_Flattens):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.float32:
            raise TypeError("float32 only")
        return super().forward(x)


@pytest.mark.parametrize(("network", "failing"), [(_Flattens, "channels_last"), (_NeedsFloat, "bf16")])
def test_what_a_network_cannot_do_is_left_out_and_said(network: type[nn.Module], failing: str) -> None:
    probe = Probe(build=lambda *_, **__: network(), config={}, num_classes=2, image_size=8)
    failures: list[str] = []
    engine, rows = choose_engine("cpu", num_threads=1, probe=probe, on_failure=failures.append)
    assert not engine.channels_last
    assert engine.precision == "fp32" or failing != "bf16"
    assert [row["channels_last"] for row in rows] == [False] * len(rows)
    assert all("channels_last: RuntimeError: view size" in line or "float32 only" in line for line in failures)
    assert any(failing in line.partition(":")[0] for line in failures)
