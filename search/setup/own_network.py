"""The network of --network: named by the user, read on this machine, and the same whenever a run goes on."""

from __future__ import annotations

from pathlib import Path

from model.builder import NetworkError
from model.network_source import BUILT_IN, NetworkSource, read_source, recorded_source
from model.shipped_modules import ShippedModules
from search.errors import UserError
from search.paths import is_own_code, whole_network
from search.setup.document import RunDocument


def read_network(name: str | None) -> tuple[NetworkSource, ShippedModules | None]:
    """What --network names, imported; the built-in family for None. UserError in one line if that fails.

    The modules keep what the network imports later; see `completed`.
    """
    if name is None:
        return BUILT_IN, None
    try:
        return read_source(name)
    except NetworkError as error:
        raise network_problem(name, error) from None


def network_of_run(run_dir: Path, document: RunDocument, given: str | NetworkSource | None) -> NetworkSource:
    """The network of a run that exists. A run's folder is data: what code to run, only the user can say.

    `given`: what the user names now; a source is one that this process has read. UserError if code was not named, or is
    not what the run began with.
    """
    recorded, name = document.network, document.settings.network
    if isinstance(given, NetworkSource):
        return given
    if recorded is None or name is None:
        if given is not None:
            raise UserError(f"{run_dir} has built-in networks. Leave out --network {given}.")
        return BUILT_IN
    if given is None and is_own_code(name):
        raise UserError(
            f"{run_dir} has your own network, whose code is run only if you name it: --network {name}. "
            f"{run_dir / 'network'} has a copy of its source."
        )
    try:
        place = whole_network(given or name)
        _check_same_name(place, name, run_dir)
        source = recorded_source(place, recorded.files)
    except (NetworkError, ValueError) as error:
        raise network_problem(given or name, error) from None
    if source.sha256 != recorded.sha256:
        raise UserError(
            f"--network {given or name}: its source is not what {run_dir} began with (sha256 {source.sha256[:16]}, "
            f"then {recorded.sha256[:16]}). Restore it; {run_dir / 'network'} has a copy."
        )
    return source


def _check_same_name(given: str, recorded: str, run_dir: Path) -> None:
    """NetworkError unless a folder is all that differs: the record knows the source's files by their names."""
    names = []
    for network in (given, recorded):
        place, _, function = network.rpartition(":")
        names.append(f"{Path(place).name if place.endswith('.py') else place}:{function}")
    if names[0] != names[1]:
        raise NetworkError(
            f"{run_dir} began with {names[1]}, and file and function must have the same names now. "
            f"{run_dir / 'network'} has a copy of the source"
        )


def network_problem(name: str, error: ValueError) -> UserError:
    """The line that a user sees."""
    return UserError(f"--network {name}: {str(error).rstrip('.')}.")
