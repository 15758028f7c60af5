"""A deploy that has everything to do on 6 hosts."""

from tests.bench.deploying import from_nothing

BENCH = from_nothing(hosts=6, rounds=2)
