"""q0, pass through: what it costs to read, decode, encode and write.

SELECT auction, bidder, price, dateTime, extra FROM bid
"""

from __future__ import annotations

from events import topics

import flows

app = flows.App("nexmark-q0")
_, _, bids = topics(app)

out = app.topic("nexmark-q0", value=dict, partitions=4)
bids.select("auction", "bidder", "price", "at", "extra").to(out)
