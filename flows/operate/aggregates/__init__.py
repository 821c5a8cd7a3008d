"""The accumulators of declared tables: rows become partial states, partial states meet the stored ones."""

from flows.operate.aggregates.aggregation import Aggregation as Aggregation
from flows.operate.aggregates.codec import ENCODING as ENCODING
