"""q1, currency conversion: prices in euros.

SELECT auction, bidder, 0.908 * price AS price, dateTime, extra FROM bid
"""

from __future__ import annotations

from events import topics

import flows
from flows import col

app = flows.App("nexmark-q1")
_, _, bids = topics(app)

out = app.topic("nexmark-q1", value=dict, partitions=4)
bids.select("auction", "bidder", "at", "extra", price=col("price") * 0.908).to(out)
