"""Reports that scheduled runs cannot start, because the store was not made for their environment."""

from __future__ import annotations

from textwrap import shorten

import jobs.log
from inventories import Environment, redact
from jobs.run.alerts import TITLE_QUOTES
from jobs.run.delivery import DELIVERY_TIMEOUT, ClaimedMessages, Delivery, Message, address_id, send_by_apprise
from jobs.run.heartbeat import Heartbeat
from jobs.run.job import Severity


def report_unusable_store(environment: Environment, job: str, why: str) -> None:
    """Alert every address, and end the job's heartbeat as failed.

    There is no store that could note who was alerted, so each scheduled run alerts again.
    """
    log = jobs.log.get().bind(environment=environment.name, job=job)
    heartbeat = Heartbeat(environment.alerts.heartbeat.get(job), log)
    heartbeat.start()
    message = Message(
        f"{environment.name}: {job} cannot run: {shorten(redact(why), TITLE_QUOTES, placeholder=' …')}",
        redact(why),
        Severity.FAILURE,
        command=f"crew check {environment.name}",
    )
    addresses = environment.alerts.addresses_of(job)
    to = [address_id(address) for address in addresses]
    claim = ClaimedMessages(dict.fromkeys(to, message), lambda _unreached: None)
    Delivery([claim], log).deliver(addresses, send_by_apprise, DELIVERY_TIMEOUT)
    heartbeat.end(failed=True, report=why)
