"""q2, selection: the bids on some auctions.

SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0
"""

from __future__ import annotations

from events import topics

import flows
from flows import col

app = flows.App("nexmark-q2")
_, _, bids = topics(app)

out = app.topic("nexmark-q2", value=dict, partitions=4)
bids.filter(col("auction") % 123 == 0).select("auction", "price").to(out)
