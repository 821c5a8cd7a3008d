"""q7, highest bid: in each ten seconds, all bids of the highest price.

SELECT B.auction, B.price, B.bidder, B.dateTime FROM bid B JOIN (
    SELECT MAX(price) AS price, window_end FROM TUMBLE(bid, 10 s) GROUP BY window_end
) AS M ON B.price = M.price WHERE B.dateTime BETWEEN M.window_end - 10 s AND M.window_end
"""

from __future__ import annotations

from events import GRACE, topics

import flows
from flows import col, max, tumbling

app = flows.App("nexmark-q7")
_, _, bids = topics(app)


class Highest(flows.Record):
    price: int
    window_start: float
    window_end: float


# By auction first, where the bids are, so that little moves; each tells once, when its ten seconds are over.
of_each = bids.window(tumbling("10s", grace=GRACE, emit="close")).agg(price=max("price")).table("q7_of_auctions")
of_all = (
    of_each.changes()
    .with_columns(house=1)
    .group_by("house", partitions=1)
    .window(tumbling("10s", emit="close"))
    .agg(price=max("price"))
    .table("q7_of_all")
)
highest = of_all.changes().through(
    app.topic("nexmark-q7-highest", value=Highest, key="price", timestamp="window_end", partitions=4, retention=None)
)
out = app.topic("nexmark-q7", value=dict, partitions=4)
(
    bids.select("auction", "bidder", "price", "at")
    .join(highest, on="price", before=0, after="10s", grace="10s", name="q7_bids")
    .filter((col("at") >= col("window_start")) & (col("at") < col("window_end")))
    .select("auction", "price", "bidder", "at")
    .to(out)
)
