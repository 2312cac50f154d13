import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.checkpoint import Checkpoint, delete_checkpoints, newest_checkpoint, write_checkpoint


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((2, 3), value), "steps": torch.tensor(value), "count": torch.tensor([1, 2])}


def newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    checkpoint = newest_checkpoint(folder)
    assert checkpoint is not None
    return checkpoint.load()


def save(folder: Path, epoch: int, value: dict[str, Tensor], meta: dict[str, Any]) -> Path:
    return write_checkpoint(folder, Checkpoint.of(epoch, value, meta))


def test_a_loaded_checkpoint_equals_the_saved_one(tmp_path: Path) -> None:
    meta = {"epoch": 3, "config": {"lr": 0.1, "flip": True}, "seed": 2**62}
    path = save(tmp_path / "new", 3, tensors(0.5), meta)
    assert path.name.startswith("epoch-0003-")
    loaded, loaded_meta = newest(tmp_path / "new")
    assert loaded_meta == meta
    assert loaded.keys() == tensors(0.5).keys()
    assert all(torch.equal(loaded[name], value) for name, value in tensors(0.5).items())


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for epoch in (1, 2, 9, 10, 11):
        save(tmp_path, epoch, tensors(epoch), {"epoch": epoch})
    assert sorted(path.name[:10] for path in tmp_path.iterdir()) == ["epoch-0010", "epoch-0011"]
    assert newest(tmp_path)[1] == {"epoch": 11}


def test_a_damaged_checkpoint_is_skipped_for_the_previous_one(tmp_path: Path) -> None:
    save(tmp_path, 1, tensors(1), {"epoch": 1})
    path = save(tmp_path, 2, tensors(2), {"epoch": 2})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert newest(tmp_path)[1] == {"epoch": 1}
    save(tmp_path, 2, tensors(2), {"epoch": 2})
    assert newest(tmp_path)[1] == {"epoch": 2}


def test_a_single_truncated_checkpoint_loads_nothing(tmp_path: Path) -> None:
    path = save(tmp_path, 1, tensors(1), {"epoch": 1})
    path.write_bytes(path.read_bytes()[:-4])
    assert newest_checkpoint(tmp_path) is None


def test_a_missing_folder_loads_nothing(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "missing") is None


def test_delete_removes_only_checkpoints_and_unfinished_writes(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    save(folder, 1, tensors(1), {})
    (folder / "epoch-0002-abc.77.tmp").write_bytes(b"half")
    (folder / "notes.txt").write_text("kept")
    delete_checkpoints(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    delete_checkpoints(folder)
    assert not folder.exists()
    delete_checkpoints(folder)


def test_the_same_content_twice_is_one_file(tmp_path: Path) -> None:
    assert save(tmp_path, 1, tensors(1), {}) == save(tmp_path, 1, tensors(1), {})
    assert len(list(tmp_path.iterdir())) == 1


def test_epochs_after_the_one_that_is_written_go(tmp_path: Path) -> None:
    """They are of another training, or damaged; kept, they would pass for the newest."""
    for epoch in (1, 8, 9, 2):
        save(tmp_path, epoch, tensors(epoch), {"epoch": epoch})
    assert [path.name[:10] for path in tmp_path.iterdir()] == ["epoch-0002"]
    assert newest(tmp_path)[1] == {"epoch": 2}


def test_a_checkpoint_travels_as_it_is_stored(tmp_path: Path) -> None:
    sent = Checkpoint.of(4, tensors(0.25), {"epoch": 4})
    write_checkpoint(tmp_path, sent)
    kept = newest_checkpoint(tmp_path)
    assert kept is not None
    assert (kept.epoch, kept.checksum, kept.content.tobytes()) == (4, sent.checksum, sent.content.tobytes())
    write_checkpoint(tmp_path, dataclasses.replace(sent, epoch=5, content=sent.content[:-1]))
    assert newest(tmp_path)[1] == {"epoch": 4}, "one that was damaged on its way is not loaded"
