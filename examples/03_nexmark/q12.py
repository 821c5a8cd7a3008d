"""q12, processing time windows: how many bids a person makes in each ten seconds of the wall clock.

SELECT bidder, COUNT(*) AS bids, window_start FROM TUMBLE(bid by PROCTIME(), 10 s) GROUP BY bidder, window_start
"""

from __future__ import annotations

from events import topics

import flows
from flows import count, tumbling

app = flows.App("nexmark-q12")
_, _, bids = topics(app)

window = tumbling("10s", time="processing", emit="close")
by_the_clock = bids.group_by("bidder").window(window).agg(bids=count()).table("q12_bids")
