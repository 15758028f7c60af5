"""What a program can do that restores files of a repository which nobody should trust."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from jobs.embedded import INSIDE, writing_only
from tests.parts import memory
from tests.parts.needs import needs

# Each line prints its name if the attack works.
ATTACKS = """
touch /etc/groundcrew-attack && echo etc
touch {outside}/attack && echo outside
ln -s {outside} {inside}/out; touch {inside}/out/attack && echo link
cp /bin/sh {inside}/shell && chown root {inside}/shell && chmod 4755 {inside}/shell && echo setuid
kill -0 {pid} && echo process
cat /proc/1/environ && echo environment
ls /run/*.sock && echo socket
echo ok > {inside}/file; cat {readable}
"""


@needs("bwrap")
def test_it_writes_one_directory_and_sees_no_process(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=memory.DISK) as name:
        outside, folder = Path(name), Path(name) / "scratch"
        outside.chmod(0o777)
        folder.mkdir()
        readable = outside / "readable"
        readable.write_text("configuration")
        account = (os.geteuid(), os.getegid()) if os.geteuid() else (65534, 65534)
        os.chown(folder, *account)
        script = ATTACKS.format(outside=outside, inside=INSIDE, pid=os.getpid(), readable=readable)
        command = [*writing_only(folder, account), "/bin/sh", "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == "configuration", done
        assert (folder / "file").read_text() == "ok\n"
        assert sorted(path.name for path in outside.iterdir()) == ["readable", "scratch"]
