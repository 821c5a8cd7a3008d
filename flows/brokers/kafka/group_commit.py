"""Group commit: what tasks want to commit while others do leaves together, as soon as one of the others is through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from flows.brokers.base import Outgoing, TopicPartition, Transaction
from flows.errors import BrokerError, BrokerUnavailable, Fenced, OutcomeUnknown

Ends = dict[TopicPartition, int]
Done = asyncio.Future[Ends]
CarryOut = Callable[[Transaction], Awaitable[Ends]]
"""Commits one transaction, all or nothing, and returns the end offset of each partition that was written."""

_SHARED = (Fenced, OutcomeUnknown, BrokerUnavailable)
"""Errors that are nobody's in particular: all whose transactions were in the commit are told."""


class GroupCommit:
    """Merge the transactions that wait, one to each task, and commit them as one.

    `refuse` raises where this member may not commit any more. A commit costs five requests and some twenty writes at
    the brokers, for one task as for twenty. Up to `at_once` of them are under way at the same time: what they hold is
    of different tasks, each of which waits for its own.
    """

    def __init__(self, carry_out: CarryOut, refuse: Callable[[], None], *, at_once: int = 1) -> None:
        self._carry_out, self._refuse, self._at_once = carry_out, refuse, at_once
        self._waiting: dict[Done, Transaction] = {}
        self._alone: dict[Done, Transaction] = {}
        self._under_way: dict[asyncio.Task[None], dict[Done, Transaction]] = {}

    def put(self, transaction: Transaction) -> Done:
        """Have a transaction committed with the next ones; the result is the end offset of each partition it wrote."""
        self._refuse()
        done: Done = asyncio.get_running_loop().create_future()
        self._waiting[done] = transaction
        self._go_on()
        return done

    async def settle(self, done: Done) -> None:
        """Return when a transaction is no longer under way: it is taken back if it was not begun, else waited for."""
        taken_back = self._waiting.pop(done, None) or self._alone.pop(done, None)
        if taken_back is None and not done.done():
            await asyncio.wait([done])
        if done.done() and not done.cancelled():
            done.exception()  # seen

    async def close(self) -> None:
        """End what is under way; all that waits fails."""
        begun, self._under_way = self._under_way, {}
        for commit in begun:
            commit.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        for together in begun.values():
            _fail(together, OutcomeUnknown("cannot commit: the broker was closed meanwhile"))
        _fail({**self._alone, **self._waiting}, BrokerError("cannot commit: the broker was closed"))
        self._waiting, self._alone = {}, {}

    def _go_on(self) -> None:
        while (self._alone or self._waiting) and len(self._under_way) < self._at_once:
            if self._alone:
                done = next(iter(self._alone))
                together = {done: self._alone.pop(done)}
            else:
                together, self._waiting = self._waiting, {}
            commit = asyncio.create_task(self._commit(together), name="group commit")
            self._under_way[commit] = together
            commit.add_done_callback(self._through)

    def _through(self, commit: asyncio.Task[None]) -> None:
        if self._under_way.pop(commit, None) is not None:
            self._go_on()

    async def _commit(self, together: Mapping[Done, Transaction]) -> None:
        try:
            self._refuse()
            ends = await self._carry_out(merged(list(together.values())))
        except _SHARED as error:
            _fail(together, error)
        except Exception as error:  # noqa: BLE001 - those who wait are told, whatever it is
            if len(together) == 1:
                _fail(together, error)
            else:
                self._alone.update(together)  # one of them cannot be written: it must not hold back the others
        else:
            for done, transaction in together.items():
                if not done.done():
                    done.set_result({tp: ends[tp] for tp in transaction.outputs if tp in ends})


def merged(transactions: Sequence[Transaction]) -> Transaction:
    """Return one transaction that does what these do, in their order; all are of one group.

    >>> tp = TopicPartition("log", 0)
    >>> one, two = (Transaction(group="g", outputs={tp: Outgoing([b"k"], [value], [0])}) for value in (b"1", b"2"))
    >>> merged([one, two]).outputs[tp].values
    [b'1', b'2']
    """
    if len(transactions) == 1:
        return transactions[0]
    outputs: dict[TopicPartition, Outgoing] = {}
    several: set[TopicPartition] = set()
    for transaction in transactions:
        for tp, out in transaction.outputs.items():
            if tp not in outputs:
                outputs[tp] = out
                continue
            if tp not in several:
                several.add(tp)
                outputs[tp], first = Outgoing(), outputs[tp]
                outputs[tp].extend(first)
            outputs[tp].extend(out)
    offsets = {tp: committed for transaction in transactions for tp, committed in transaction.offsets.items()}
    return Transaction(group=transactions[0].group, outputs=outputs, offsets=offsets)


def _fail(those: Mapping[Done, Transaction], error: Exception) -> None:
    for done in those:
        if not done.done():
            done.set_exception(error)
