"""Topics with codecs of every kind."""

from __future__ import annotations

import flows


class Departure(flows.Record):
    carrier: str
    delay: float | None = None


app = flows.App("codecs")
packed = app.topic("packed", value=Departure, codec="msgpack")
own = app.topic("own", codec=flows.Codec(str.encode, bytes.decode, name="own"))
avro = app.topic("avro", value=Departure, key="carrier", codec="avro")
named = app.topic("named", value=Departure, codec=flows.Avro(name="com.acme.Departure", subject="departures"))
packed.to(avro)
avro.to(named)
