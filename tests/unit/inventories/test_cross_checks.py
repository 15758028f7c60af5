"""Files whose keys do not fit together, or do not fit the files around them, each with its exact fault lines."""

# ruff: noqa: E501  (each line of the table is a whole line of output)

from __future__ import annotations

import pytest

from inventories import BadEnvironment
from tests.unit.inventories.conftest import Reading
from tests.unit.inventories.test_faults import HEAD, SHOP, STATE, STORE, TRUSTED, WHOLE

BROKEN = {
    "a name that differs from the file name": (
        '[environment]\nname = "prod"\n',
        [
            'environment.name: "prod" does not match the file name; use name = "staging", or rename the file',
        ],
    ),
    "signatures that are disabled, and keys for them": (
        HEAD + STORE + f'sign_with = "nobody"\ntrust = ["{TRUSTED}"]\n[verify]\nsign_with = {{ env = "V" }}\n',
        [
            'store.trust: has no effect, because store.sign_with = "nobody" disables signatures; remove one of them',
            'verify.sign_with: has no effect, because store.sign_with = "nobody" disables signatures; remove one of them',
        ],
    ),
    "one key for three purposes": (
        HEAD + STORE + 'decrypt_with = { env = "K" }\nsign_with = { env = "K" }\n[verify]\nsign_with = { env = "K" }\n',
        [
            "store.sign_with: is the same secret as store.decrypt_with; make another one: ssh-keygen -t ed25519",
            "verify.sign_with: is the same secret as store.sign_with; make another one: ssh-keygen -t ed25519",
            "verify.sign_with: is the same secret as store.decrypt_with; make another one: ssh-keygen -t ed25519",
        ],
    ),
    "a server and a database of one name": (
        WHOLE + '[servers.shop]\nurl = "postgresql://db"\n',
        [
            "databases.shop: [servers.shop] has the same name; rename one of them",
        ],
    ),
    "stanzas beside a server of their name": (
        WHOLE + '[servers.pitr]\nurl = "postgresql://db"\n[pitr.main]\nstanza = "main"\n',
        [
            "servers.pitr: has the same name as the stanzas of [pitr.…]; rename it",
        ],
    ),
    "a stanza with a missing script": (
        WHOLE + '[pitr.main]\nstanza = "main"\nverify_with = { shop = "no.sql" }\n',
        [
            "pitr.main.verify_with.shop: file no.sql beside this file does not exist; create it, or remove it here",
        ],
    ),
    "copies that are something else, too": (
        WHOLE
        + '[copies.shop]\nurl = "file:///a"\n[copies.b]\nurl = "file:///a/"\n[copies.c]\nurl = "file:///var/lib/groundcrew"\n',
        [
            "copies.shop: [databases.shop] has the same name; rename one of them",
            "copies.b.url: is the same place as copies.shop.url; use another bucket or prefix",
            "copies.c.url: is the same place as store.url; use another bucket or prefix",
        ],
    ),
    "a refresh from an unknown environment": (
        WHOLE
        + '[refresh.shop]\nfrom = "prodution/shop"\ninto = "postgresql:///shop"\nsanitise = "sanitise/shop.sql"\n',
        [
            'refresh.shop.from: environment "prodution" does not exist; did you mean production?',
        ],
    ),
    "a refresh from an unknown database": (
        WHOLE
        + '[refresh.shop]\nfrom = "production/shpo"\ninto = "postgresql:///shop"\nsanitise = "sanitise/shop.sql"\n',
        [
            'refresh.shop.from: production has no database "shpo"; did you mean shop?',
        ],
    ),
    "a refresh from an unknown server": (
        WHOLE
        + '[refresh.shop]\nfrom = "production/mian.x"\ninto = "postgresql:///shop"\nsanitise = "sanitise/shop.sql"\n',
        [
            'refresh.shop.from: production has no database "mian.x"; use one of: shop, main.<database>',
        ],
    ),
    "a refresh with a missing script": (
        WHOLE + '[refresh.shop]\nfrom = "production/shop"\ninto = "postgresql:///shop"\nsanitise = "no.sql"\n',
        [
            "refresh.shop.sanitise: file no.sql beside this file does not exist; create it with the SQL that sanitises the copy",
        ],
    ),
    "no deploy to compare": (
        WHOLE + "[hosts]\ndeploys = []\n",
        [
            'hosts.deploys: is empty, so there is nothing to compare; use deploys = ["host"], or remove [hosts]',
        ],
    ),
    "a deploy that is compared twice": (
        WHOLE + '[hosts]\ndeploys = ["host", "host"]\n',
        [
            'hosts.deploys.2: "host" is listed twice; remove one of them',
        ],
    ),
    "a state without a lock": (
        WHOLE + '[terraform]\nstate = { bucket = "acme-state" }\n',
        [
            'terraform.state: no lock is set; add lock = "file", or lock_table = "a DynamoDB table" before Terraform 1.10',
        ],
    ),
    "a state with two locks": (
        WHOLE + '[terraform]\nstate = { bucket = "acme-state", lock = "file", lock_table = "locks" }\n',
        [
            "terraform.state: lock and lock_table are both set; remove one of them",
        ],
    ),
    "stacks without a state": (
        WHOLE + "[stacks.network]\n",
        [
            'terraform.state: is missing, but stacks need it; add state = { bucket = "…", region = "…", lock = "file" } to [terraform]',
        ],
    ),
    "a stack after an unknown stack": (
        WHOLE + STATE + '[stacks.network]\n[stacks.cluster]\nafter = ["netwrok"]\n',
        [
            'stacks.cluster.after: stack "netwrok" is not in this file; did you mean network?',
        ],
    ),
    "a stack after itself": (
        WHOLE + STATE + '[stacks.network]\nafter = ["network"]\n',
        [
            "stacks.network.after: the stacks wait for each other (network → network); remove one of their `after` keys",
        ],
    ),
    "stacks in a cycle": (
        WHOLE + STATE + '[stacks.network]\nafter = ["cluster"]\n[stacks.cluster]\nafter = ["network"]\n',
        [
            "stacks.network.after: the stacks wait for each other (network → cluster → network); remove one of their `after` keys",
        ],
    ),
    "a stack without a folder": (
        WHOLE + STATE + "[stacks.nettwork]\n",
        [
            "stacks.nettwork: directory terraform/stacks/nettwork does not exist; did you mean network?",
        ],
    ),
    "thresholds in the wrong order": (
        WHOLE + "[cost]\nbudget = 1\nthresholds = [80, 50]\n",
        [
            "cost.thresholds: [80, 50] is not in ascending order; list each threshold once, lowest first",
        ],
    ),
    "a cluster's cost without an address, with tags": (
        WHOLE + '[cost]\nbudget = 1\nfrom = "opencost"\nowner_tag = "Owner"\n',
        [
            'cost.api: is missing, but from = "opencost" needs it; add an address such as "http://opencost:9003"',
            'cost.owner_tag: has no effect with from = "opencost"; remove it',
        ],
    ),
    "budgets of stacks without a tag": (
        WHOLE + "[cost]\nbudget = 1\nstacks = { network = 1 }\n",
        [
            'cost.stack_tag: is missing, but budgets of stacks need it; add a tag such as "Stack"',
        ],
    ),
    "databases without a store": (
        HEAD + SHOP,
        [
            'store: is missing, but [databases] needs it; add [store] with url = "s3://bucket/prefix" or "file:///directory"',
        ],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_is_reported_in_one_line(name: str, read: Reading) -> None:
    text, lines = BROKEN[name]
    with pytest.raises(BadEnvironment) as caught:
        read(text)
    assert list(caught.value.lines) == [f"inventories/staging.toml: {line}" for line in lines]
