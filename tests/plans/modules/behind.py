"""Tables behind tables: windows over closed windows, rows under another key, joins, an agent on changes."""

from __future__ import annotations

import flows
from flows import Stream, col, count, last, max, mean, min, sum, tumbling

app = flows.App("auctions")


class Bid(flows.Record):
    auction: int
    bidder: str
    price: int
    at: float


bids = app.topic("bids", value=Bid, key="auction", timestamp="at", partitions=2)
hot = app.topic("hot", value=dict)

minutes = bids.window(tumbling("1m", emit="close")).agg(bids=count()).table("bids_by_minute")
minutes.changes().group_by("window_start").agg(most=max("bids"), auctions=count()).table("busiest_by_minute")
minutes.changes().window(tumbling("1h", emit="close")).agg(bids=sum("bids")).table("bids_by_hour")

winners = bids.group_by("auction").agg(bidder=last("bidder"), price=max("price")).table("winners")
spent = winners.group_by("bidder", partitions=3).agg(auctions=count(), spent=sum("price"), mean=mean("price"))
spent.table("spent_by_bidder").to(hot)

prices = bids.group_by("auction").agg(first=min("price"), last=last("price")).table("prices")
winners.emit_every("10s").to(hot)
winners.changes(emit="every").group_by("bidder").agg(changes=count()).table("bids_that_count")
winners.join(prices, how="outer", suffix="_price", name="auctions").to(hot)

bidders = bids.group_by("bidder", partitions=3).agg(bids=count()).table("bidders")
winners.join(bidders, on="bidder", how="left", name="winners_with_bids")


@app.agent(winners.changes(removals=True).filter(col("price") > 1000))
async def watch(stream: Stream) -> None:
    async for winner in stream:
        print(winner)
