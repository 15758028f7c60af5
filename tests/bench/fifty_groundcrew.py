"""The deploy of fifty steps, as deploys/ would have it."""

from pyinfra import host

from deploys.lib import operations
from deploys.lib.dev_server.accounts import accounts_are_right, group_is_there
from deploys.lib.dev_server.developers import Developer
from tests.bench.fifty import FILES, FOLDERS, GROUP, SHELL, USERS

for path in host.loop(FOLDERS):
    operations.folder(name=path, path=path, mode="750")
for path, text in host.loop(FILES.items()):
    operations.file(name=path, text=text, dest=path, mode="640")
group_is_there(name=GROUP, group=GROUP)
accounts_are_right(
    name="Users",
    people=[Developer(name, uid, keys=(), shell=SHELL) for name, uid in USERS.items()],
    containers="",
)
