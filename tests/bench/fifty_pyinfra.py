"""The deploy of fifty steps with pyinfra's own operations."""

from io import StringIO

from pyinfra import host
from pyinfra.operations import files, server

from tests.bench.fifty import FILES, FOLDERS, GROUP, SHELL, USERS

for path in host.loop(FOLDERS):
    files.directory(name=path, path=path, mode="750", user="root", group="root")
for path, text in host.loop(FILES.items()):
    files.put(name=path, src=StringIO(text), dest=path, mode="640", user="root", group="root")
server.group(name=GROUP, group=GROUP)
for name, uid in host.loop(USERS.items()):
    server.user(name=name, user=name, uid=uid, shell=SHELL, groups=[GROUP], create_home=True)
