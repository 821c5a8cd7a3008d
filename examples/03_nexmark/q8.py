"""q8, monitor new users: who opened an auction in the ten seconds in which he registered.

SELECT P.id, P.name, P.window_start
FROM (SELECT id, name, window_start FROM TUMBLE(person, 10 s) GROUP BY id, name, window_start) AS P
JOIN (SELECT seller, window_start FROM TUMBLE(auction, 10 s) GROUP BY seller, window_start) AS A
ON P.id = A.seller AND P.window_start = A.window_start
"""

from __future__ import annotations

from events import GRACE, topics

import flows
from flows import col, count, last, tumbling

app = flows.App("nexmark-q8")
persons, auctions, _ = topics(app)

window = tumbling("10s", grace=GRACE)
registered = (
    persons.with_columns(person=col("id")).group_by("person").window(window).agg(name=last("name")).table("q8_persons")
)
selling = auctions.group_by("seller").window(window).agg(auctions=count()).table("q8_sellers")
new = registered.join(selling, name="q8_new_sellers")
