"""A deploy that has nothing to do on 3 hosts."""

from tests.bench.deploying import nothing_new

BENCH = nothing_new(hosts=3, rounds=3)
