"""q5, hot items: in each ten seconds, every two seconds anew, the auctions with the most bids.

SELECT B1.auction, B1.num FROM (
    SELECT auction, COUNT(*) AS num, window_start FROM HOP(bid, 2 s, 10 s) GROUP BY auction, window_start
) AS B1 JOIN (
    SELECT MAX(num) AS most, window_start FROM (… the same …) GROUP BY window_start
) AS B2 ON B1.window_start = B2.window_start AND B1.num >= B2.most
"""

from __future__ import annotations

from typing import Any

from events import GRACE, topics

import flows
from flows import count, fold, hopping

app = flows.App("nexmark-q5")
_, _, bids = topics(app)


class Hottest(flows.Record):
    num: int = 0
    auctions: list[int] = []


def keep_hottest(hot: Hottest, counted: Any) -> Hottest:
    if counted.num < hot.num:
        return hot
    return Hottest(counted.num, sorted([*(hot.auctions if counted.num == hot.num else ()), counted.auction]))


counts = bids.window(hopping("10s", "2s", grace=GRACE, emit="close")).agg(num=count()).table("q5_counts")
hot = counts.changes().group_by("window_start").agg(hot=fold(Hottest, keep_hottest)).table("q5_hot_items")
