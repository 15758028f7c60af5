"""The pod of kube-vip, and which addresses it cannot have."""

from __future__ import annotations

import subprocess

import kubernetes_validate
import pytest
import yaml

from deploys.lib.k3s import virtual_ip
from deploys.lib.k3s.virtual_ip import kube_vip_pod, virtual_ip_faults


@pytest.mark.parametrize("interface", ["eth1", ""])
def test_the_pod_is_valid_and_finds_the_api_of_its_own_host(interface: str) -> None:
    pod = yaml.safe_load(kube_vip_pod("10.0.0.9", interface, virtual_ip.IMAGE))
    kubernetes_validate.validate(pod, "1.36", strict=True)
    [container] = pod["spec"]["containers"]
    given = {each["name"]: each.get("value") for each in container["env"]}
    assert (given["address"], given["vip_subnet"], given.get("vip_interface", "")) == ("10.0.0.9", "32", interface)
    assert pod["spec"]["hostAliases"] == [{"ip": "127.0.0.1", "hostnames": ["kubernetes"]}]
    assert pod["spec"]["volumes"][0]["hostPath"]["path"] == "/etc/rancher/k3s/k3s.yaml"
    assert container["volumeMounts"][0]["mountPath"] == "/etc/kubernetes/admin.conf"


@pytest.mark.parametrize(
    ("address", "registration", "expected"),
    [
        ("", "10.0.0.9", []),
        ("10.0.0.9", "", []),
        ("vip.acme.example", "", ["vip.acme.example is not an IP address"]),
        ("10.0.0.1", "", ["10.0.0.1 is the address of a host"]),
        ("10.0.0.9", "lb.acme.example", ["k3s_registration are both where nodes join"]),
    ],
)
def test_the_address_is_free_and_the_only_entrance(address: str, registration: str, expected: list[str]) -> None:
    faults = list(virtual_ip_faults(address, ["10.0.0.1", "10.0.0.2"], registration))
    assert len(faults) == len(expected)
    for fault, part in zip(faults, expected, strict=True):
        assert part in fault


def test_a_reset_takes_the_address_from_the_host() -> None:
    release = virtual_ip.release_command("127.0.0.9").replace("ip address delete", "echo")
    assert subprocess.run(["sh", "-c", release], check=True, capture_output=True, text=True).stdout == ""
    assert release.endswith("echo 127.0.0.9/32 dev")
