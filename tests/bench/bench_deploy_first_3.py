"""A deploy that has everything to do on 3 hosts."""

from tests.bench.deploying import from_nothing

BENCH = from_nothing(hosts=3, rounds=3)
