"""A deploy that has everything to do on 1 host."""

from tests.bench.deploying import from_nothing

BENCH = from_nothing(hosts=1, rounds=3)
