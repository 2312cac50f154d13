"""The commands on folders of images and on runs, and their arguments."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from search.paths import cluster_address
from search.study.wishes import ACTIONS, Wish

_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def path(text: str) -> Path:
    """A path; `~` means home."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"names a home that does not exist; got {text!r}") from None


def seconds(text: str) -> float:
    """Seconds from text such as 90s, 45min or 2h."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if match is not None and not match[2]:
        raise argparse.ArgumentTypeError(f"must have a unit, such as {match[1]}s or {match[1]}min; got {text!r}")
    if match is None or match[2] not in _SECONDS:
        raise argparse.ArgumentTypeError(f"must be a time such as 90s, 45min or 2h; got {text!r}")
    return float(match[1]) * _SECONDS[match[2]]


def time_text(value: float) -> str:
    """Seconds as `seconds` reads them, such as 90s."""
    return f"{value:.15g}s"


def _address_of_cluster(text: str) -> str | None:
    try:
        return cluster_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _gigabytes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of GB above 0; got {text!r}")
    return value


def _web_address(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise argparse.ArgumentTypeError(f"must begin with http:// or https:// and a host; got {text!r}")
    return text


NETWORK = {"metavar": "WHERE:NAME", "help": "the run's own network, as --network of the search"}
COMMANDS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "init": (
        "write a settings file for --config, every option in it explained",
        {
            "dataset": {
                "metavar": "WHAT",
                "help": "as --dataset of a search: a folder of images, or cifar10 or digits",
            },
            "--out": {"default": Path("run.toml"), "type": path, "metavar": "FILE", "help": "default: run.toml"},
        },
    ),
    "predict": (
        "classify image files and folders with the network of a run",
        {
            "run_dir": {"type": path, "metavar": "RUN_DIR", "help": "a run's folder"},
            "images": {
                "type": path,
                "metavar": "IMAGE",
                "nargs": "+",
                "help": "an image file, any format and size, or a folder of them at any depth",
            },
            "--network": NETWORK,
            "--csv": {
                "type": path,
                "metavar": "FILE",
                "help": "write path, class and all probabilities as a table instead of printing a line for each image",
            },
        },
    ),
    "inspect": (
        "say what a run would read from a folder of images; exit code 2 if a run would refuse it",
        {
            "dataset": {"metavar": "WHAT", "help": "as --dataset of a search"},
            "--data-dir": {"default": Path("data"), "type": path, "metavar": "DIR", "help": "as of a search"},
            "--image-size": {"type": int, "metavar": "N", "help": "as of a search"},
            "--seed": {"type": int, "default": 0, "metavar": "N", "help": "as of a search"},
            "--skip-unreadable": {"action": "store_true", "help": "leave out images that cannot be read"},
        },
    ),
    "export": (
        "write the network of a run as one file for other programs, checked, with a model card",
        {
            "run_dir": {"type": path, "metavar": "RUN_DIR", "help": "a run's folder"},
            "--network": NETWORK,
            "--format": {"required": True, "choices": ("onnx", "torch-export"), "help": "file format"},
            "--out": {
                "type": path,
                "metavar": "FILE",
                "help": "file or folder to write to (default: model.onnx or model.pt2 in RUN_DIR)",
            },
            "--images": {
                "type": path,
                "metavar": "IMAGE",
                "nargs": "+",
                "default": (),
                "help": "image files for the check (default: the images kept in RUN_DIR, else training images)",
            },
        },
    ),
    "list": (
        "list the runs in a folder with state, scores and age",
        {
            "results_dir": {
                "nargs": "?",
                "default": Path("results"),
                "type": path,
                "metavar": "RESULTS",
                "help": "where run folders are (default: results)",
            },
        },
    ),
    "compare": (
        "compare two runs: spaces, budgets, winners, gains and costs",
        {
            "run_a": {"type": path, "metavar": "RUN_A", "help": "a run's folder"},
            "run_b": {"type": path, "metavar": "RUN_B", "help": "the other run's folder"},
            "--page": {"type": path, "metavar": "FILE", "help": "also write the comparison as an HTML page"},
        },
    ),
    "serve": (
        "let others submit, watch and steer runs of this machine from a browser, over HTTP or from Python",
        {
            "words": {
                "metavar": "token ...",
                "nargs": "*",
                "help": "token add NAME, token remove NAME or token list: change who may use the service, and end",
            },
            "--role": {"default": "member", "metavar": "ROLE", "help": "of a new token: viewer, member or admin"},
            "--host": {"default": "127.0.0.1", "metavar": "ADDRESS", "help": "address to listen on"},
            "--port": {"type": int, "default": 8321, "metavar": "N", "help": "port to listen on; 0 takes a free one"},
            "--results-dir": {"type": path, "default": Path("results"), "metavar": "DIR", "help": "as of a search"},
            "--datasets-dir": {
                "type": path,
                "metavar": "DIR",
                "help": "folder of data sets: runs may use those in it, and uploads go there",
            },
            "--max-upload-gb": {
                "type": _gigabytes,
                "default": 4.0,
                "metavar": "GB",
                "help": "largest archive of a data set, packed and unpacked",
            },
            "--cluster": {
                "type": _address_of_cluster,
                "metavar": "HOST:6379",
                "help": "a Ray cluster on which runs train, of which this machine is a node; auto finds it",
            },
            "--url": {
                "type": _web_address,
                "metavar": "URL",
                "help": "where people reach the service through a reverse proxy, such as https://lab.example/convladder",
            },
            "--notify": {"metavar": "URL", "help": "as of a search; also when a run has failed and when none is left"},
        },
    ),
    "control": (
        "steer a run while it goes on; it keeps who asked for what",
        {
            "run_dir": {"type": path, "metavar": "RUN_DIR", "help": "a run's folder"},
            **{
                f"--{action}": {"action": "append_const", "const": action, "dest": "actions", "help": text}
                for action, text in ACTIONS.items()
            },
            **{
                f"--{option.flag}": {
                    "type": seconds if option.unit == "s" else int,
                    "metavar": "TIME" if option.unit == "s" else "N",
                    "dest": name,
                    "help": option.help,
                }
                for name, option in Wish.options().items()
                if name != "action"
            },
        },
    ),
}
