import pytest
import torch

from model.device_errors import is_device_lost, is_out_of_memory, telling_line
from model.engine import Engine

ADVICE = (
    "\nCUDA kernel errors might be asynchronously reported.\nCompile with `TORCH_USE_CUDA_DSA` to enable assertions."
)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory" + ADVICE,
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "Unable to find a valid cuDNN algorithm to run convolution",
        "GET was unable to find an engine to execute this computation",
        "HIP out of memory. Tried to allocate 2.00 GiB",
        "MPS backend out of memory (MPS allocated: 17.00 GB)",
    ],
)
def test_every_librarys_lack_of_memory_is_recognised(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))


def test_other_errors_are_not_a_lack_of_memory() -> None:
    assert not is_out_of_memory(torch.AcceleratorError("CUDA error: device-side assert triggered"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_the_telling_line_of_a_cuda_error_comes_before_its_advice() -> None:
    error = torch.AcceleratorError("CUDA error: device-side assert triggered" + ADVICE)
    assert telling_line(error) == "CUDA error: device-side assert triggered"
    assert telling_line(RuntimeError("backend failed\nthe reason")) == "the reason"


def test_a_device_that_answers_no_longer_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def synchronize(device: str) -> None:
        asked.append(device)
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    assert is_device_lost(Engine(device="cuda:1"))
    assert asked == ["cuda:1"]
    assert not is_device_lost(Engine())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    assert not is_device_lost(Engine(device="cuda"))
