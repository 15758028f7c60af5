"""A deploy that has nothing to do on 6 hosts."""

from tests.bench.deploying import nothing_new

BENCH = nothing_new(hosts=6, rounds=2)
