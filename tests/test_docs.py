"""What the pages for people say must exist: links, options and the example of a search space."""

from __future__ import annotations

import contextlib
import re
import tomllib
from pathlib import Path

import pytest

import tune_main
from model.config import CONFIG_KEYS
from search.commands import COMMANDS
from search.space.space import SearchSpace

ROOT = Path(__file__).parent.parent
BENCHMARKS = sorted(ROOT.glob("benchmarks/**/*.md"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md")), *BENCHMARKS]
OTHER_OPTIONS = {"--audit", "--stop-when-done", "--dashboard", "--dest"}
"""Removed options, which the changelog names, and options of `tests/pictures.py`, argcomplete."""
OTHERS_OPTIONS = set(
    re.findall(
        r"--[a-z-]+",
        """
    Ray: --head --port --address --node-ip-address --num-cpus --num-gpus --object-store-memory --node-manager-port
    --object-manager-port --block;
    Slurm: --nodes --ntasks --ntasks-per-node --gpus-per-node --cpus-per-task --time --exclude;
    hostname: --ip-address
""",
    )
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


def test_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], *([name] for name in COMMANDS)):
        with contextlib.suppress(SystemExit):
            tune_main.main([*words, "--help"])
    known = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)) | OTHER_OPTIONS | OTHERS_OPTIONS
    text = "\n".join(page.read_text() for page in PAGES if page not in BENCHMARKS)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
    assert named - known == set()


def test_the_readmes_search_space_can_be_read() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    space = SearchSpace.from_toml(block, known_keys=CONFIG_KEYS)
    assert set(space.parameters) | set(space.fixed) == set(tomllib.loads(block))
