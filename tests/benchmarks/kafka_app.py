"""W1 declared, on the topic and under the name that the environment gives: a module for `flows worker -A`."""

from __future__ import annotations

import os

from tests.benchmarks.apps import declared

app = declared(os.environ["W1_GROUP"], os.environ["W1_TOPIC"], retention=None)
