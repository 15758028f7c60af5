"""A stand-in for kubectl 1.31 that has one command, `port-forward`, and really forwards.

`address` is what a cluster would answer at: the target's port is looked up there.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys

WORDS = [
    r"(--context=[\w-]+)?",
    r"--namespace=[a-z0-9-]+",
    r"port-forward",
    r"--address=127\.0\.0\.1",
    r"(pod|service|statefulset|deployment)/[a-z0-9.-]+",
    r"[0-9]+:[0-9]+",
]


def main(args: list[str]) -> int:
    given = args if args and args[0].startswith("--context") else ["", *args]
    if len(given) != len(WORDS) or not all(re.fullmatch(*pair) for pair in zip(WORDS, given, strict=True)):
        sys.stderr.write(f"error: unknown command or flag: {args}\n")
        return 1
    known = os.environ["KUBECTL_KNOWS"].split()
    if " ".join(given[:2]).strip().replace(" ", "") + given[4] not in known:
        sys.stderr.write(f'Error from server (NotFound): "{given[4]}" not found\n')
        return 1
    local, remote = map(int, given[5].split(":"))
    sys.stdout.write(f"Forwarding from 127.0.0.1:{local} -> {remote}\n")
    asyncio.run(forward(local, remote))
    return 0


async def forward(local: int, remote: int) -> None:
    async def connect(up_reader: asyncio.StreamReader, up_writer: asyncio.StreamWriter) -> None:
        down_reader, down_writer = await asyncio.open_connection("127.0.0.1", remote)
        await asyncio.gather(pump(up_reader, down_writer), pump(down_reader, up_writer))

    server = await asyncio.start_server(connect, "127.0.0.1", local)
    async with server:
        await server.serve_forever()


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(65536):
        sink.write(chunk)
        await sink.drain()
    sink.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
