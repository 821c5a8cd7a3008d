"""Tables without windows: one by the topic's key, one repartitioned to more partitions, both written to topics."""

from __future__ import annotations

import flows
from flows import col, count, first, last, min, sum

app = flows.App("bank")


class Payment(flows.Record):
    account: int
    country: str | None
    amount: int
    note: bytes


payments = app.topic("payments", value=Payment, key="account", partitions=2)
balances = app.topic("balances", value=dict, partitions=2)
countries = app.topic("countries", value=dict)

payments.group_by("account").agg(balance=sum("amount"), first_note=first("note"), last_note=last("note")).table(
    "balance_by_account"
).to(balances)
payments.group_by("country", partitions=6).agg(
    payments=count(), smallest=min(col("amount").abs()), thousands=sum(col("amount") // 1000)
).table("by_country").to(countries)
