"""A kubeconfig for a person, with a cluster that signs requests as strictly as Kubernetes does."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from jobs import kubeconfig
from jobs.kubeconfig import NoAccess

BINDINGS = {
    "items": [
        {"metadata": {"name": "developer", "namespace": "shop"}, "roleRef": {"name": "edit"},
         "subjects": [{"kind": "User", "name": "ada"}, {"kind": "Group", "name": "bob"}]},
        {"metadata": {"name": "everywhere"}, "roleRef": {"name": "view"},
         "subjects": [{"kind": "User", "name": "ada"}]},
        {"metadata": {"name": "nobody", "namespace": "shop"}, "roleRef": {"name": "edit"}},
    ]
}  # fmt: skip


class Signer:
    """An API server with a certificate authority of its own. `subject` and `condition` make it misbehave."""

    def __init__(self, subject: str = "", condition: Mapping[str, str] | None = None) -> None:
        self.subject, self.condition = subject, condition
        self.requests: dict[str, dict[str, Any]] = {}
        self.key = ec.generate_private_key(ec.SECP256R1())

    def __call__(self, words: Sequence[str], stdin: str) -> str:
        if tuple(words) == kubeconfig.BINDINGS:
            return json.dumps(BINDINGS)
        if tuple(words) == kubeconfig.CLUSTER:
            cluster = {"server": "https://k3s.acme.example:6443", "certificate-authority-data": "Y2E="}
            return json.dumps({"clusters": [{"name": "default", "cluster": cluster}]})
        if tuple(words) == ("create", "--filename=-"):
            request = json.loads(stdin)
            spec = request["spec"]
            assert spec["signerName"] == "kubernetes.io/kube-apiserver-client"
            assert set(spec["usages"]) <= {"client auth", "digital signature", "key encipherment"}
            assert "client auth" in spec["usages"]
            assert spec["expirationSeconds"] >= 600
            self.requests[request["metadata"]["name"]] = request
        elif words[:2] == ("certificate", "approve"):
            self.requests[words[2]]["status"] = (
                {"conditions": [self.condition]} if self.condition else self.sign(words[2])
            )
        elif words[:2] == ("get", "csr"):
            return json.dumps(self.requests[words[2]])
        elif words[:2] == ("delete", "csr"):
            del self.requests[words[2]]
        return ""

    def sign(self, name: str) -> dict[str, str]:
        spec = self.requests[name]["spec"]
        request = x509.load_pem_x509_csr(base64.b64decode(spec["request"]))
        assert request.is_signature_valid
        now = datetime.now(UTC)
        subject = (
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.subject)]) if self.subject else request.subject
        )
        made = (
            x509.CertificateBuilder(subject_name=subject, public_key=request.public_key())
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "k3s-client-ca")]))
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(seconds=spec["expirationSeconds"]))
            .sign(self.key, hashes.SHA256())
        )
        return {"certificate": base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()}


def issue(signer: Signer, person: str = "ada") -> kubeconfig.PersonalKubeconfig:
    rights = kubeconfig.require_person("staging", "ada", signer)
    return kubeconfig.issue(person, rights, timedelta(hours=8), signer, environment="staging", server=None)


def test_the_kubeconfig_has_a_certificate_for_the_person_alone() -> None:
    signer = Signer()
    made = issue(signer)
    config = json.loads(made.text)
    user = config["users"][0]["user"]
    certificate = x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))
    key = serialization.load_pem_private_key(base64.b64decode(user["client-key-data"]), None)
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=ada", "a group could give more rights"
    assert abs(made.expires - datetime.now(UTC) - timedelta(hours=8)) < timedelta(minutes=1)
    assert config["contexts"][0]["context"] == {"cluster": "staging", "user": "ada@staging", "namespace": "shop"}
    assert signer.requests == {}, "the request is deleted"
    assert "client-key-data" not in repr(made)


@pytest.mark.parametrize(
    ("signer", "expected"),
    [
        (Signer(subject="system:admin"), "signed a certificate for CN=system:admin, not for ada"),
        (Signer(condition={"type": "Denied", "message": "not today"}), r"did not sign .* \(Denied\): not today"),
    ],
)  # fmt: skip
def test_a_certificate_that_was_not_asked_for_is_refused(signer: Signer, expected: str) -> None:
    with pytest.raises(NoAccess, match=expected):
        issue(signer)
    assert signer.requests == {}


@pytest.mark.parametrize("person", ["system:admin", "", "-x", "ada lovelace", "a" * 64])
def test_names_of_kubernetes_itself_are_refused(person: str) -> None:
    with pytest.raises(NoAccess, match="is not a name of a person"):
        kubeconfig.require_person("staging", person, Signer())


def test_someone_without_a_binding_gets_nothing() -> None:
    for person in ("bob", "eve"):  # bob is the name of a group
        with pytest.raises(NoAccess, match=f"no binding names the user {person}"):
            kubeconfig.require_person("staging", person, Signer())
    rights = kubeconfig.rights_of("ada", BINDINGS)
    assert list(rights.sentences()) == ["view in the whole cluster", "edit in namespace shop"]


def test_the_context_is_that_of_the_environment(tmp_path: Path) -> None:
    with pytest.raises(NoAccess, match=r"there is no kubeconfig for staging: .*/\.kube/staging\.yaml does not exist"):
        kubeconfig.local_kubectl("staging", None, tmp_path, {})
    assert kubeconfig.local_kubectl("staging", None, tmp_path, {"KUBECONFIG": "x"}) == ["kubectl", "--context=staging"]
    own = tmp_path / ".kube/staging.yaml"
    own.parent.mkdir()
    own.touch()
    expected = ["kubectl", f"--kubeconfig={own}", "--context=staging"]
    assert kubeconfig.local_kubectl("staging", None, tmp_path, {"KUBECONFIG": "x"}) == expected


def test_an_option_is_not_a_login() -> None:
    with pytest.raises(NoAccess, match="is not a login"):
        kubeconfig.ssh_kubectl("-oProxyCommand=x")


@pytest.mark.parametrize(
    ("found", "server", "expected"),
    [
        ("https://k3s.acme.example:6443", None, "https://k3s.acme.example:6443"),
        ("https://127.0.0.1:6443", "k3s.acme.example", "https://k3s.acme.example:6443"),
        ("https://127.0.0.1:6443", "https://k3s.acme.example", "https://k3s.acme.example"),
    ],
)
def test_the_address_is_one_that_people_reach(found: str, server: str | None, expected: str) -> None:
    config = {"clusters": [{"cluster": {"server": found, "certificate-authority-data": "Y2E="}}]}
    assert kubeconfig.cluster_entry(config, server)["server"] == expected


def test_the_address_of_the_server_itself_is_refused() -> None:
    with pytest.raises(NoAccess, match="add --server"):
        kubeconfig.cluster_entry({"clusters": [{"cluster": {"server": "https://127.0.0.1:6443"}}]}, None)
