"""What a release of K3s is made of, on a host: its binary, and its images for hosts without internet."""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import quote

from pyinfra import host
from pyinfra.api import FileUploadCommand, operation

from deploys.lib.k3s.files import BINARY, DATA, ENDINGS
from deploys.lib.operations import Lines, Steps

STAGED = "/usr/local/bin/.k3s.new"  # a binary whose checksum was found right
SUMS = "/var/lib/rancher/k3s/.sums"
IMAGES = f"{DATA}/agent/images"
OF_IMAGES = (
    f"{DATA}/agent/groundcrew-images"  # which release they are of; K3s takes all that is in the folder for images
)
BINARIES = {"x86_64": ("k3s", "amd64"), "aarch64": ("k3s-arm64", "arm64"), "armv7l": ("k3s-armhf", "arm")}


def installed(binary: str = BINARY) -> str:
    """The version of the binary that is on this host, or nothing."""
    told = host.get_fact(Lines, f"{binary} --version")
    return told[0].split()[2] if told else ""


@operation()
def binary_is_there(version: str, artefacts: str) -> Steps:
    """K3s of this version, live only after its checksum was found right."""
    if installed() == version:
        host.noop("K3s is there")
        return
    yield from _staged(version, artefacts)
    yield f"mv {STAGED} {BINARY}"
    yield "cd /usr/local/bin && for name in kubectl crictl ctr; do ln --symbolic --force k3s $name; done"


@operation()
def binary_lies_ready(version: str, artefacts: str) -> Steps:
    """K3s of this version beside the one that is live, to be swapped in later; its checksum was found right."""
    if version in (installed(), installed(STAGED)):
        host.noop("K3s is there")
        return
    yield from _staged(version, artefacts)


def _staged(version: str, artefacts: str) -> Steps:
    file, _ = _of_this_machine()
    yield from _fetched(version, artefacts, file, f"{STAGED}.part")
    yield f"chmod 755 {STAGED}.part && mv {STAGED}.part {STAGED}"


@operation()
def images_are_there(version: str, artefacts: str, ending: str) -> Steps:
    """The images that K3s itself needs, for a host without internet."""
    file = images_of_this_machine(ending)
    if host.get_fact(Lines, f"cat {OF_IMAGES} && ls {file}") == [version, file]:
        host.noop("the images are there")
        return
    new = f"{DATA}/agent/.images.part"
    yield f"mkdir --parents {IMAGES}"
    yield from _fetched(version, artefacts, Path(file).name, new)
    yield f"rm --force {OF_IMAGES} {IMAGES}/k3s-airgap-images-* && mv {new} {file} && echo '{version}' > {OF_IMAGES}"


def images_of_this_machine(ending: str) -> str:
    return f"{IMAGES}/k3s-airgap-images-{_of_this_machine()[1]}.{ending}"


def ending_of(given: object) -> str:
    """`k3s_airgap = True` means the smallest."""
    return ENDINGS[0] if given is True else str(given or "")


def _of_this_machine() -> tuple[str, str]:
    (machine,) = host.get_fact(Lines, "uname -m")
    return BINARIES[machine]


def _fetched(version: str, artefacts: str, file: str, to: str) -> Steps:
    """A file of a release under another name, gone again if its checksum is wrong."""
    sums = f"sha256sum-{_of_this_machine()[1]}.txt"
    yield f"mkdir --parents {Path(SUMS).parent}"
    for there, name in ((SUMS, sums), (to, file)):
        if "://" in artefacts:
            url = shlex.quote(f"{artefacts}/{quote(version)}/{name}")
            yield f"curl --fail --silent --show-error --location --retry 3 --output {there} {url}"
        else:
            local = str(Path(artefacts).expanduser() / version / name)
            yield FileUploadCommand(local, there, remote_temp_filename=host.get_temp_filename(there))
    yield checksum_holds(file, to)


def checksum_holds(file: str, there: str) -> str:
    said = f"the checksum of {file} is not the one that its release tells; nothing was replaced"
    return (
        f'awk \'$2 == "{file}" {{print $1 "  {there}"}}\' {SUMS} | sha256sum --check --status --strict '
        f"&& rm {SUMS} || {{ rm --force {there} {SUMS}; echo '{said}' >&2; exit 1; }}"
    )
