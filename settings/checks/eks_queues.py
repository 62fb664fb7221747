"""Rules on the queues of an EKS cluster: names, pools, shares."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from settings.checks.rule import Problem, Subject, error, warning
from settings.parser.values import guess, listed, shown

_SOFTWARE = "eks.software"
# Kubernetes, "Object names and IDs": what Kueue wants of a queue's name is a DNS label here, fit for a label's value.
_QUEUE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


@error("eks-queue-name")
def _queue_name(subject: Subject) -> Iterator[Problem]:
    """A queue's name is a label of the jobs that ask for it."""
    eks = subject.settings.eks
    for name in eks.software.queues if eks else ():
        if not _QUEUE.fullmatch(name):
            yield Problem(
                f"{_SOFTWARE}.queues.{name}",
                name,
                f"the queue's name '{shown(name)}' is not 1 to 63 lower case letters, digits and dashes that begin and "
                "end with a letter or digit",
            )


@error("eks-queue-pool", leans_on=("eks.pools",))
def _queue_pool(subject: Subject) -> Iterator[Problem]:
    """A queue has shares of the cluster's own pools."""
    eks = subject.settings.eks
    for name, queue in eks.software.queues.items() if eks else ():
        for pool in queue.nodes:
            if eks and pool not in eks.pools:
                yield Problem(
                    f"{_SOFTWARE}.queues.{name}.nodes.{pool}",
                    pool,
                    f"queue '{shown(name)}': 'eks.pools' does not list the pool '{shown(pool)}'"
                    f"{guess(pool, eks.pools)}",
                    f"it lists {listed(eks.pools, 'and')}",
                )


@error("eks-queue-share", leans_on=("eks.pools", "pools"))
def _queue_share(subject: Subject) -> Iterator[Problem]:
    """Shares of a pool are its nodes divided; more would be promised than there is."""
    eks = subject.settings.eks
    if eks is None:
        return
    queues = eks.software.queues
    total: Counter[str] = Counter()
    for queue in queues.values():
        total.update({pool: count for pool, count in queue.nodes.items() if pool in eks.pools})
    for name, count in total.items():
        pool = subject.settings.pools.get(name)
        if pool and count > pool.nodes:
            yield Problem(
                f"{_SOFTWARE}.queues",
                count,
                f"queues have {count} nodes of pool '{name}', and it has {pool.nodes}",
                "lower shares, and let queues borrow what is idle",
            )
    for name, queue in queues.items():
        if not any(queue.nodes.values()) and (not queue.borrow or not any(total.values())):
            yield Problem(
                f"{_SOFTWARE}.queues.{name}.nodes",
                0,
                f"queue '{shown(name)}' has no nodes and nobody to borrow from: its jobs would wait for ever",
                "give it a share, or let it borrow from a queue that has one",
            )


@warning("eks-queue-missing", leans_on=("eks.pools", "pools"))
def _queue_missing(subject: Subject) -> Iterator[Problem]:
    """With Kueue every job is queued, so that a pool that no queue has a share of is never used."""
    eks = subject.settings.eks
    if eks is None or not eks.software.queues:
        return
    shared = {pool for queue in eks.software.queues.values() for pool, count in queue.nodes.items() if count}
    for index, name in enumerate(eks.pools):
        if name not in shared:
            yield Problem(
                f"eks.pools.{index}",
                name,
                f"no queue has a share of pool '{shown(name)}', and jobs for it would wait for ever",
                f"give a queue nodes of it under '{_SOFTWARE}.queues'",
            )
