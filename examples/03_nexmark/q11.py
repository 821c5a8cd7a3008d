"""q11, user sessions: how many bids a person makes with no more than ten seconds between them.

SELECT bidder, COUNT(*) AS bids, SESSION_START(dateTime, 10 s), SESSION_END(dateTime, 10 s)
FROM bid GROUP BY bidder, SESSION(dateTime, 10 s)
"""

from __future__ import annotations

from events import GRACE, topics

import flows
from flows import count, session

app = flows.App("nexmark-q11")
_, _, bids = topics(app)

sessions = bids.group_by("bidder").window(session("10s", grace=GRACE)).agg(bids=count()).table("q11_sessions")
