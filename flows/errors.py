"""The errors a person may meet at run time: each names the thing, its place and the fix."""

from __future__ import annotations

from dsl.errors import DeclarationError as DeclarationError


class FlowsError(Exception):
    """Tell what went wrong in one line; `fix` tells what to do about it.

    >>> str(FlowsError("topic 'orders' is missing", fix="create it, or allow auto-create"))
    "topic 'orders' is missing; create it, or allow auto-create"
    """

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(f"{message}; {fix}" if fix else message)
        self.message = message
        self.fix = fix


class BrokerError(FlowsError):
    """The broker refused or failed; nothing of the failed call was applied."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached or written right now (disk full, locked, network); retrying may help."""


class RegistryUnavailable(BrokerUnavailable):
    """The schema registry cannot be reached; as for a broker, retrying may help, and tasks do."""


class OutcomeUnknown(BrokerError):
    """A commit failed in a way that leaves open whether it was applied; recover from the broker's state."""


class Fenced(BrokerError):
    """Another process has taken over this producer or member; stop and hand the task back."""


class Replaced(Fenced):
    """Another process has joined the group with this member's id; stop, or the two throw each other out for ever."""


class RecordTooLarge(BrokerError):
    """A record is larger than the broker accepts."""


class UnknownTopic(BrokerError):
    """The topic does not exist at the broker."""


class TopicMismatch(BrokerError):
    """A topic exists with other settings (partitions, cleanup, retention) than the plan needs."""


class OffsetOutOfRange(BrokerError):
    """The wanted offset is no longer (or not yet) in the partition; carries the range that is there."""

    def __init__(self, message: str, *, wanted: int, start: int, end: int, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.wanted, self.start, self.end = wanted, start, end


class Unroutable(FlowsError):
    """A record has no topic or no partition to go to: the rule that chooses it failed, or chose what is not there."""


class StateError(FlowsError):
    """The local state cannot be used (permissions, disk, another process)."""


class StateLocked(StateError):
    """Another process holds the state folder."""


class StateCorrupt(StateError):
    """A store file is damaged; it is rebuilt from the changelog."""


class IncompatibleState(StateError):
    """The stored state belongs to a different plan; names the difference and the way out."""


class AgentError(FlowsError):
    """An agent did something that cannot be carried out (wrong place for a table, wrong type of key)."""


class AnswerTimeout(FlowsError, TimeoutError):
    """An agent that was asked has not answered in time."""


class UsageError(FlowsError):
    """The command line or a setting is wrong; exit code 2."""
