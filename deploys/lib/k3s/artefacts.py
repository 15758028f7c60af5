"""The files of a K3s release: its binary, and its images for hosts without internet."""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import quote

from pyinfra import host
from pyinfra.api import FileUploadCommand, operation

from deploys.lib.k3s.files import BINARY, DATA, IMAGE_SUFFIXES
from deploys.lib.operations import CommandLines, Steps

STAGED = "/usr/local/bin/.k3s.new"  # a binary with a verified checksum, not active yet
CHECKSUMS = "/var/lib/rancher/k3s/.checksums"
IMAGES = f"{DATA}/agent/images"
IMAGES_VERSION = f"{DATA}/agent/groundcrew-images"  # the version of the images; K3s would import a file in IMAGES
# The proxies of k3s_environment, which the download needs too.
PROXIES = "for file in /etc/systemd/system/k3s*.env; do test ! -e $file || { set -a; . $file; set +a; }; done; "
# A program that the host has already stays.
LINK_PROGRAMS = (
    "cd /usr/local/bin && for name in kubectl crictl ctr; do "
    'test -n "$(command -v $name)" || ln --symbolic --force k3s $name; done'
)
BINARIES = {"x86_64": ("k3s", "amd64"), "aarch64": ("k3s-arm64", "arm64"), "armv7l": ("k3s-armhf", "arm")}


def installed_version(binary: str = BINARY) -> str:
    """Return the version of the binary on this host, or "" if there is none."""
    lines = host.get_fact(CommandLines, f"{binary} --version")
    return lines[0].split()[2] if lines else ""


@operation()
def install_binary(version: str, artefacts: str) -> Steps:
    """Download this version of K3s, verify its checksum and install it."""
    if installed_version() == version:
        host.noop(f"K3s {version} is installed")
        return
    yield from _stage_commands(version, artefacts)
    yield f"mv {STAGED} {BINARY}"
    yield LINK_PROGRAMS


@operation()
def stage_binary(version: str, artefacts: str) -> Steps:
    """Download this version of K3s and verify its checksum, beside the active binary. An upgrade activates it later."""
    if version in (installed_version(), installed_version(STAGED)):
        host.noop(f"K3s {version} is installed")
        return
    yield from _stage_commands(version, artefacts)


def _stage_commands(version: str, artefacts: str) -> Steps:
    file, _ = _machine_names()
    yield from _fetch_commands(version, artefacts, file, f"{STAGED}.part")
    yield f"chmod 755 {STAGED}.part && mv {STAGED}.part {STAGED}"


@operation()
def install_images(version: str, artefacts: str, suffix: str) -> Steps:
    """Download the images that K3s itself needs, for a host without internet."""
    file = images_file(suffix)
    if host.get_fact(CommandLines, f"cat {IMAGES_VERSION} && ls {file}") == [version, file]:
        host.noop(f"the images of {version} are installed")
        return
    new = f"{DATA}/agent/.images.part"
    yield f"mkdir --parents {IMAGES}"
    yield from _fetch_commands(version, artefacts, Path(file).name, new)
    yield (
        f"rm --force {IMAGES_VERSION} {IMAGES}/k3s-airgap-images-* && mv {new} {file} "
        f"&& echo '{version}' > {IMAGES_VERSION}"
    )


def images_file(suffix: str) -> str:
    """Return the path of the images for the host's architecture."""
    return f"{IMAGES}/k3s-airgap-images-{_machine_names()[1]}.{suffix}"


def images_suffix(given: object) -> str:
    """Return the suffix of the images to install; True means the smallest file, "" means none."""
    return IMAGE_SUFFIXES[0] if given is True else str(given or "")


def _machine_names() -> tuple[str, str]:
    (machine,) = host.get_fact(CommandLines, "uname -m")
    return BINARIES[machine]


def _fetch_commands(version: str, artefacts: str, file: str, to: str) -> Steps:
    """Download a file of a release to `to`, and remove it if its checksum is wrong."""
    sums = f"sha256sum-{_machine_names()[1]}.txt"
    yield f"mkdir --parents {Path(CHECKSUMS).parent}"
    for target, name in ((CHECKSUMS, sums), (to, file)):
        if "://" in artefacts:
            url = shlex.quote(f"{artefacts}/{quote(version)}/{name}")
            yield f"{PROXIES}curl --fail --silent --show-error --location --retry 3 --output {target} {url}"
        else:
            local = str(Path(artefacts).expanduser() / version / name)
            yield FileUploadCommand(local, target, remote_temp_filename=host.get_temp_filename(target))
    yield verify_checksum_command(file, to)


def verify_checksum_command(file: str, path: str) -> str:
    """Return a command that compares the file at `path` with the release's checksum of `file`."""
    message = f"the checksum of {file} is wrong, so nothing was replaced; run it again, or check k3s_artefacts"
    return (
        f'awk \'$2 == "{file}" {{print $1 "  {path}"}}\' {CHECKSUMS} | sha256sum --check --status --strict '
        f"&& rm {CHECKSUMS} || {{ rm --force {path} {CHECKSUMS}; echo '{message}' >&2; exit 1; }}"
    )
