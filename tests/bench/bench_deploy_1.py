"""A deploy that has nothing to do on 1 host."""

from tests.bench.deploying import nothing_new

BENCH = nothing_new(hosts=1, rounds=3)
