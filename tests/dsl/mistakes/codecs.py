"""Mistakes in codecs."""

from __future__ import annotations

from typing import Any

import flows
from tests.dsl.mistakes.airport import Departure, app


class Loose(flows.Record):
    name: str
    more: Any = None


class Keyed(flows.Record):
    counts: dict[int, str]


class Odd(flows.Record, rename="kebab"):
    flight_number: int


def codec_without_decode() -> None:
    app().topic("departures", codec=zip)  # here


def codec_with_the_name_of_another() -> None:
    app().topic("departures", codec=flows.Codec(str.encode, bytes.decode, name="json"))  # here


def avro_of_a_dict() -> None:
    app().topic("departures", codec="avro")  # here


def avro_of_anything() -> None:
    app().topic("departures", value=Loose, codec="avro")  # here


def avro_of_a_map_with_numbers_as_keys() -> None:
    app().topic("departures", value=Keyed, codec="avro")  # here


def avro_of_a_name_with_a_dash() -> None:
    app().topic("departures", value=Odd, codec="avro")  # here


def avro_by_a_file() -> None:
    app().topic("departures", value=Departure, codec=flows.Avro("departure.avsc"))  # here


def avro_by_a_class() -> None:
    app().topic("departures", value=Departure, codec=flows.Avro(Departure))  # here


def avro_with_two_names() -> None:
    app().topic("departures", value=Departure, codec=flows.Avro({"type": "record"}, name="Departure"))  # here


def protobuf_without_its_message() -> None:
    app().topic("departures", value=Departure, codec="protobuf")  # here


def protobuf_of_a_record() -> None:
    flows.Protobuf(Departure)  # here
