"""Run the K3s deploys from the command line on lab hosts, with releases of the stand-in."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from pprint import pformat
from subprocess import CompletedProcess, Popen
from threading import Thread
from typing import Any

from deploys.lib.k3s import node_config
from tests.lab import commands
from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.pyinfra import ROOT, PyinfraRun, begin, end
from tests.parts.patience import until

VERSION = "v1.36.4+k3s1"
STANDIN = Path(__file__).parent / "standins/k3s"
TOKEN = "t0ken-of-these-tests"
IMAGES = "k3s-airgap-images-amd64"
LEFT = (
    "ls --directory /etc/rancher /var/lib/rancher /var/lib/kubelet /run/k3s /usr/local/bin/* /etc/sysctl.d/90-k3s.conf "
    "/etc/modules-load.d/k3s.conf /etc/systemd/system/k3s* /etc/systemd/system/*/k3s* /sys/class/net/cni0 2>/dev/null; "
    "pgrep --full --list-full '^/var/lib/rancher|^/usr/local/bin/k3s'; systemctl list-units --all --no-legend 'k3s*'"
)


def release(lab: Lab, version: str = VERSION, *, damaged: str = "") -> Path:
    """A folder with a release, laid out as on GitHub. The checksum of the file `damaged` is wrong."""
    folder = lab.folder / (f"damaged-{damaged}" if damaged else "releases")
    (folder / version).mkdir(parents=True, exist_ok=True)
    files = {
        "k3s": STANDIN.read_text().replace("@VERSION@", version).replace("@FLAGS@", json.dumps(node_config.FLAGS)),
        f"{IMAGES}.tar": f"images of {version}, as they are",
        f"{IMAGES}.tar.gz": f"images of {version}, small",
        f"{IMAGES}.tar.zst": f"images of {version}, smaller",
    }
    sums = "".join(f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in files.items())
    for name, text in files.items():
        (folder / version / name).write_text(text + "# damage\n" * (name == damaged))
    (folder / version / "sha256sum-amd64.txt").write_text(sums)
    return folder


@contextmanager
def mirror(lab: Lab) -> Iterator[str]:
    """Serve the releases over HTTP and yield the address."""
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *arguments: None})
    gateway = commands.GATEWAY.format(lab=lab.number)
    with ThreadingHTTPServer((gateway, 0), partial(quiet, directory=str(release(lab)))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{gateway}:{server.server_port}"
        server.shutdown()


def run(lab: Lab, *arguments: str, **changed: Any) -> PyinfraRun:
    """Run a deploy in the environment staging. The default version is the one that the cluster runs."""
    return end(begun(lab, *arguments, **changed))


def begun(
    lab: Lab,
    *arguments: str,
    of: str = "k3s",
    servers: int | Sequence[int] = 3,
    token: str = TOKEN,
    yes: bool = True,
    inventory: str = "",
    cwd: Path = ROOT,
    PATH: str = os.environ["PATH"],
    **changed: Any,
) -> Popen[str]:
    """Start the same. `servers` is the number of servers, or the indexes of the hosts that are servers, in order.

    `inventory` is another inventory; for another working directory it is the whole command.
    """
    version = changed.setdefault("k3s_version", running(lab))
    data = {
        "k3s_artefacts": str(release(lab, version)),
        "k3s_token": {"env": "CLUSTER_TOKEN"},
        "k3s_wait": 30,
        "k3s_drain": 5,
        "k3s_snapshots": {"schedule": "0 */6 * * *", "keep": 28},
        "k3s_namespaces": [{"name": "ada", "cpu": 2, "memory": "4Gi"}],
        **changed,
    }
    folder = lab.folder / ("data" if cwd == ROOT else "data-elsewhere")
    folder.mkdir(exist_ok=True)
    for group in ("staging", *(("k3s_servers", "k3s_agents") if cwd != ROOT else ())):
        (folder / f"{group}.py").write_text("".join(f"{name} = {pformat(value)}\n" for name, value in data.items()))
    addresses = [lab.hosts[at].address for at in (range(servers) if isinstance(servers, int) else servers)]
    agents = [host.address for host in lab.hosts if host.address not in addresses]
    options = ["--group-data", "inventories/group_data", "--group-data", str(folder), *arguments, f"deploys/{of}.py"]
    if cwd != ROOT:
        *given, inventory, file = inventory.split()
        options = [file, *given, "--group-data", str(folder)]
    variables = {
        "STAGING_K3S_SERVERS": " ".join(addresses),
        "STAGING_K3S_AGENTS": " ".join(agents),
        "CLUSTER_TOKEN": token,
    }
    return begin(lab, *options, inventory=inventory or staging(lab), yes=yes, cwd=cwd, PATH=PATH, **variables)


def inventory_of(lab: Lab, servers: Sequence[tuple[str, dict[str, str]]]) -> str:
    """An inventory of staging in which hosts have data of their own."""
    file = lab.folder / "own/staging"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"k3s_servers = {pformat(list(servers))}\nk3s_agents = []\n")
    return str(file)


def staging(lab: Lab) -> str:
    """The shipped inventory of staging, or a copy of it where a fork has changed it. Variables set its hosts."""
    shipped = ROOT / "inventories/staging"
    if shipped.exists() and "STAGING_K3S_SERVERS" in shipped.read_text():
        return "inventories/staging"
    own = lab.folder / "staging"
    read = "environ.get('STAGING_K3S_{}', '').split()"
    own.write_text(
        f"from os import environ\nk3s_servers = {read.format('SERVERS')}\nk3s_agents = {read.format('AGENTS')}\n"
    )
    return str(own)


def first_run(lab: Lab) -> None:
    with lab.process_list(lab.hosts[1]) as seen:
        result = run(lab, "-vvv", "--diff", "--debug", k3s_version=VERSION)
    assert result.code == 0, result.text[-4000:]
    assert TOKEN not in result.text, "pyinfra prints a secret at its highest verbosity"
    assert any("k3s server" in line for line in seen), "the process list was read during the run"
    assert [line for line in seen if TOKEN in line] == []


def running(lab: Lab) -> str:
    """The version of the first server, or VERSION if it has none."""
    words = lab.ssh(lab.hosts[0], "k3s --version").stdout.split()
    return words[2] if words else VERSION


def newer(lab: Lab) -> str:
    """The release after the one that runs."""
    minor, _, patch = running(lab).removesuffix("+k3s1").rpartition(".")
    return f"{minor}.{int(patch) + 1}+k3s1"


def nodes(lab: Lab, server: int = 0) -> dict[str, dict[str, Any]]:
    """The nodes as a server lists them. It waits for a server that is starting."""
    answers: list[CompletedProcess[str]] = []

    def answered() -> bool:
        answers[:] = [lab.ssh(lab.hosts[server], "k3s kubectl get nodes --output=json")]
        return answers[0].returncode == 0

    until(answered, 20, saw=lambda: answers[0].stderr)
    return read(answers[0].stdout)


def read(listed: str) -> dict[str, dict[str, Any]]:
    return {node["metadata"]["name"]: node for node in json.loads(listed)["items"]}


def is_ready(node: dict[str, Any]) -> bool:
    return {"type": "Ready", "status": "True"} in node["status"]["conditions"]


def ready(lab: Lab, server: int = 0) -> list[str]:
    return [name for name, node in nodes(lab, server).items() if is_ready(node)]


def closed(lab: Lab, server: int = 0) -> list[str]:
    return closed_of(nodes(lab, server))


def closed_of(nodes: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, node in nodes.items() if node["spec"].get("unschedulable")]


def versions(lab: Lab) -> set[str]:
    return {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes(lab).values()}


def kubectl(lab: Lab, words: str, host: Host | None = None) -> str:
    return lab.ask(host or lab.hosts[0], f"k3s kubectl {words}")


def left(lab: Lab, host: Host) -> str:
    """What remains of K3s on a host."""
    return lab.ssh(host, LEFT).stdout
