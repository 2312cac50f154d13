"""GPUs are measured in another process, and what cannot train is one line."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from model.engine import Engine
from model.engine_choice import choose_engine
from search.errors import UserError
from search.machine import gpus
from search.machine.gpus import choose_gpu_engine
from search.settings import SearchSettings

GIB = 2**30
Answer = dict[str, Any]


def settings(**values: object) -> SearchSettings:
    return SearchSettings(run_name="r", **values)  # type: ignore[arg-type]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], list[Answer]]:
    """Makes the measuring process answer so, and returns the list of what it is asked."""

    def answering(answer: Answer) -> list[Answer]:
        asked: list[Answer] = []

        @contextlib.contextmanager
        def processes() -> Iterator[Callable[..., list[Answer]]]:
            yield lambda number, request, deadline: [asked.append(request) or answer] * number  # type: ignore[func-returns-value]

        monkeypatch.setattr(gpus, "measuring_processes", processes)
        return asked

    return answering


def test_the_engine_comes_from_another_process_and_full_gpus_are_named(answers: Callable[..., list[Answer]]) -> None:
    chosen = {"device": "cuda", "precision": "bf16", "channels_last": True, "compile": False, "num_threads": 4}
    free = [[70 * GIB, 80 * GIB], [GIB, 80 * GIB]]
    answer = {"engine": chosen, "rows": [{"step_ms": 1.0}], "memory": free, "needed": 0.9 * GIB}
    asked = answers(answer)
    engine, rows, full = choose_gpu_engine(settings(gpus=2), "cuda", num_threads=4, steps_per_training=0)
    assert engine == Engine(device="cuda", precision="bf16", channels_last=True, num_threads=4)
    assert rows == [{"step_ms": 1.0}]
    assert len(full) == 1
    assert "GPU 1 has only 1.1 GB of 85.9 GB free: other programs use it" in full[0]
    choose = {"device": "cuda", "precision": "auto", "num_threads": 4, "steps_per_training": 0}
    assert asked == [{"choose": choose, "gpus": 2}]
    answers({**answer, "needed": 1.1 * GIB})
    with pytest.raises(UserError, match=r"GPU 1 has only 1\.1 GB of 85\.9 GB free.* name the others in CUDA_VISIBLE"):
        choose_gpu_engine(settings(gpus=2), "cuda", num_threads=4, steps_per_training=0)


@pytest.mark.parametrize(
    ("error", "precision", "expected"),
    [
        ("CUDA error: no kernel image is available for execution on the device", "auto", "no kernel image"),
        ("CUDA out of memory. Tried to allocate 2 MiB. " + "All of this was allocated. " * 40, "auto", "out of memory"),
        ("Current CUDA Device does not support bfloat16.", "bf16", "try --precision auto"),
    ],
    ids=["old card", "filled", "no bf16"],
)
def test_a_gpu_that_cannot_train_is_one_line(
    answers: Callable[..., list[Answer]], error: str, precision: str, expected: str
) -> None:
    answers({"error": error})
    with pytest.raises(UserError, match="--gpus 1: the seed network cannot train on the GPU") as caught:
        choose_gpu_engine(settings(gpus=1, precision=precision), "cuda", num_threads=1, steps_per_training=0)
    line = str(caught.value)
    assert expected in line
    assert "\n" not in line
    assert len(line) < 480
    assert ". Free the GPU, choose another with CUDA_VISIBLE_DEVICES" in line
    assert ".." not in line


def test_a_real_process_says_why_it_cannot_use_a_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    with pytest.raises(UserError, match=r"the seed network cannot train on the GPU: \w+"):
        choose_gpu_engine(settings(gpus=1), "cuda", num_threads=1, steps_per_training=0)


def old_card(engine: Engine) -> contextlib.AbstractContextManager[None]:
    if engine.precision == "bf16":
        raise RuntimeError("Current CUDA Device does not support bfloat16. Please switch dtype to float16.")
    return contextlib.nullcontext()


def test_an_engine_that_cannot_train_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "autocast", old_card)
    engine, rows = choose_engine("cpu", num_threads=1)
    assert {row["precision"] for row in rows} == {"fp32"}
    assert engine.precision == "fp32"
    with pytest.raises(RuntimeError, match="does not support bfloat16"):
        choose_engine("cpu", num_threads=1, precision="bf16")
