"""Reports that scheduled runs cannot start, because the store was not made for their environment."""

from __future__ import annotations

import jobs.log
from inventories import Environment, redact
from jobs.run.delivery import DELIVERY_TIMEOUT, ClaimedMessages, Delivery, Message, address_id, send_by_apprise
from jobs.run.heartbeat import Heartbeat


def report_unusable_store(environment: Environment, job: str, why: str) -> None:
    """Alert every address, and end the job's heartbeat as failed.

    There is no store that could note who was alerted, so each scheduled run alerts again.
    """
    log = jobs.log.get().bind(environment=environment.name, job=job)
    heartbeat = Heartbeat(environment.alerts.heartbeat.get(job), log)
    heartbeat.start()
    message = Message(f"{environment.name}: {job} cannot run", redact(why))
    to = [address_id(address) for address in environment.alerts.to]
    claim = ClaimedMessages(dict.fromkeys(to, message), lambda _unreached: None)
    Delivery([claim], log).deliver(environment.alerts.to, send_by_apprise, DELIVERY_TIMEOUT)
    heartbeat.end(failed=True, report=why)
