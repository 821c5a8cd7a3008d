"""q4, average price for a category: of the bids that won, which are the highest while an auction was open.

SELECT category, AVG(final) FROM (
    SELECT MAX(B.price) AS final, A.category FROM auction A, bid B
    WHERE A.id = B.auction AND B.dateTime BETWEEN A.dateTime AND A.expires GROUP BY A.id, A.category
) GROUP BY category
"""

from __future__ import annotations

from events import GRACE, LONGEST, topics

import flows
from flows import col, max, mean

app = flows.App("nexmark-q4")
_, auctions, bids = topics(app)

placed = auctions.select("id", "category", "expires").join(
    bids.select("auction", "price", bid_at=col("at")),
    on="id",
    right_on="auction",
    before=0,
    after=LONGEST,
    grace=GRACE,
    name="q4_bids",
)
in_time = placed.filter(col("bid_at") <= col("expires"))
winning = in_time.group_by("id", "category").agg(final=max("price")).table("q4_winning")
average = winning.group_by("category").agg(price=mean("final")).table("q4_average_price")
