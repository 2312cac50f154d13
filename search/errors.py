"""The errors a user may see. Each message is one line per problem: what is wrong, the value, and what to do."""

from __future__ import annotations


class UserError(ValueError):
    """The user asked for something that cannot be done."""


class OtherFormatError(UserError):
    """A run was written by another version of the program."""


class SpaceError(UserError):
    """The search space file is wrong."""


class RunFailed(RuntimeError):
    """The run cannot go on: the disk, the database or Ray failed. Everything recorded so far can be resumed."""


class RunInterrupted(BaseException):
    """A signal asked the run to stop. Not an `Exception`, so no error handler can swallow it."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number

    @property
    def exit_code(self) -> int:
        """The exit code that shells expect of a process ended by this signal."""
        return 128 + self.signal_number
