"""The deploy of fifty steps, written like those in deploys/."""

from pyinfra import host

from deploys.lib import operations
from deploys.lib.dev_server.accounts import create_group, update_accounts
from deploys.lib.dev_server.developers import Developer
from tests.bench.fifty import FILES, FOLDERS, GROUP, SHELL, USERS

for path in host.loop(FOLDERS):
    operations.ensure_folder(name=path, path=path, mode="750")
for path, text in host.loop(FILES.items()):
    operations.write_file(name=path, text=text, dest=path, mode="640")
create_group(name=GROUP, group=GROUP)
update_accounts(
    name="Users",
    people=[Developer(name, uid, keys=(), shell=SHELL) for name, uid in USERS.items()],
    containers="",
)
