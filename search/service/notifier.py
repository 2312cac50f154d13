"""Tells people what a run cannot tell itself: that it is given up, or that nothing is left to do."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from search.notify import ASKED_BY, LINK, OWNER, About, Messenger
from search.service.store import RunEntry


@dataclass(frozen=True)
class Notifier:
    """What the service sends, and what its runs need to name their owner and page."""

    messenger: Messenger
    address: str
    """Where people reach the service, without a slash at the end."""

    def environment(self, entry: RunEntry) -> dict[str, str]:
        """For the process of a run."""
        about = self._about(entry)
        return {OWNER: about.owner, ASKED_BY: entry.asked_by, LINK: about.link}

    def failed(self, entry: RunEntry, last_line: str) -> None:
        """A run is not tried again."""
        self.messenger.tell("failed", self._about(entry), last_line or "it was killed")

    def queue_empty(self, last: RunEntry) -> None:
        """No run goes on or waits. `last`: the one that ended."""
        self.messenger.tell("queue_empty", self._about(last), "the last run has ended and none waits")

    def _about(self, entry: RunEntry) -> About:
        return About(entry.name, entry.owner, f"{self.address}/runs/{quote(entry.name)}")
