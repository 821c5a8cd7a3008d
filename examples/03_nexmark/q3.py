"""q3, local item suggestion: who sells in three states, in one category. Persons and auctions may come in any order.

SELECT P.name, P.city, P.state, A.id FROM auction AS A INNER JOIN person AS P ON A.seller = P.id
WHERE A.category = 10 AND P.state IN ('OR', 'ID', 'CA')
"""

from __future__ import annotations

from events import topics

import flows
from flows import col, last

app = flows.App("nexmark-q3")
persons, auctions, _ = topics(app)

sellers = (
    persons.filter(col("state").is_in(["OR", "ID", "CA"]))
    .group_by("id")
    .agg(name=last("name"), city=last("city"), state=last("state"))
    .table("q3_persons")
)
items = auctions.filter(col("category") == 10).group_by("id").agg(seller=last("seller")).table("q3_auctions")
local = items.join(sellers, on="seller", name="q3_local_items")
