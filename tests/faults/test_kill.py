"""kill -9 of the daemon, again and again: nothing is lost, runs twice or stays behind.

A short version runs with the other tests; `make soak` runs it for hundreds of kills
(SOAK_KILLS=N). Slots are a second apart; jobs sleep, fail, are tried again, overlap, wait for
others, and their files change meanwhile.
"""

from __future__ import annotations

import os
import random
import time

from e2e.running import Running

from .fleet import running

KILLS = int(os.environ.get("SOAK_KILLS", "5"))
SEED = int(os.environ.get("SOAK_SEED", "1"))


def test_kills_at_random_instants_lose_and_repeat_nothing(daemon: Running) -> None:
    rng = random.Random(SEED)
    fleet = running(daemon)
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.2, 3.0))
        daemon.kill()
        if rng.random() < 0.3:
            fleet.commit("none")
        time.sleep(rng.choice((0.0, 0.0, 1.5)))
        # Mostly at work, now and then still starting, when it is killed.
        fleet.start(ready=rng.random() < 0.7)
    fleet.come_to_rest()
    fleet.check()
