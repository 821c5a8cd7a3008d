"""`python -m tests.kafka.chaos --minutes 30 [--seed N]`: a chaos run as long as one likes; `make chaos MINUTES=30`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import signal
import tempfile
from pathlib import Path

from tests.kafka.chaos.run import Chaos, run
from tests.kafka.chaos.workers import Failed

_FAULT_EVERY = 12.0


def main() -> None:
    """Run it, print what happens, and at the end the report or what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.kafka.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long events come in. Default: 30")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="Default: any")
    parser.add_argument("--rate", type=float, default=300.0, help="events a second. Default: 300")
    parser.add_argument("--faults", type=int, help="how many. Default: five a minute")
    parser.add_argument("--guarantee", choices=["exactly_once", "at_least_once"], default="exactly_once")
    parser.add_argument("--static", action="store_true", help="workers are static members")
    parser.add_argument("--standbys", type=int, default=0, help="warm copies of each task's state. Default: 0")
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # brokers die here all the time
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seconds = given.minutes * 60
    faults = round(seconds / _FAULT_EVERY) if given.faults is None else given.faults
    chaos = Chaos(
        seed=given.seed,
        events=round(seconds * given.rate),
        rate=given.rate,
        faults=faults,
        guarantee=given.guarantee,
        static=given.static,
        standbys=given.standbys,
    )
    folder = Path(tempfile.mkdtemp(prefix="flows-chaos-"))
    try:
        print(asyncio.run(run(chaos, folder)))
    except Failed as error:
        raise SystemExit(f"{error}\n\nseed {given.seed}; all logs are in {folder}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
