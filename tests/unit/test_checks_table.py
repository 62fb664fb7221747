"""Every rule has a case that it finds, and an entry in the table of rules."""

from __future__ import annotations

from settings.rules import RULES
from settings.rules.rule_table import FILE_RULES, rule_table
from tests.unit import (
    test_checks_batch,
    test_checks_capacity,
    test_checks_directory,
    test_checks_eks,
    test_checks_eks_software,
    test_checks_hyperpod,
    test_checks_hyperpod_eks,
    test_checks_network,
    test_checks_own_code,
    test_checks_parallelcluster,
    test_checks_reservations,
    test_checks_storage,
    test_checks_workloads,
)

MODULES = (
    test_checks_batch,
    test_checks_capacity,
    test_checks_directory,
    test_checks_eks,
    test_checks_eks_software,
    test_checks_hyperpod,
    test_checks_hyperpod_eks,
    test_checks_network,
    test_checks_own_code,
    test_checks_parallelcluster,
    test_checks_reservations,
    test_checks_storage,
    test_checks_workloads,
)
# Needs a folder: test_lifecycle_scripts; need something deployed: test_parallelcluster_update, test_deployed_update;
# needs a workload that the registry lacks: test_checks_batch.
ELSEWHERE = {
    "lifecycle-directory",
    "head-node-replaced",
    "fleet-stop-needed",
    "login-stop-needed",
    "batch-secret-missing",
    "deployment-moved",
    "update-replaces",
    "update-refused",
    "update-deletes",
    # Compare two configurations too: test_kubernetes_update.py.
    "update-changes-volume",
    "update-ends-jobs",
    "update-moves-default-queue",
    "update-moves-queues",
    "stack-left",
    "update-not-compared",
}


def test_every_rule_has_a_case_that_it_finds() -> None:
    found = {rule for module in MODULES for _, expected in module.CASES for rule, _ in expected}
    assert found | ELSEWHERE == set(RULES)


def test_every_rule_has_a_reason_and_a_severity() -> None:
    sheet = rule_table()
    assert len({entry.name for entry in sheet}) == len(sheet)
    assert {entry.name for entry in sheet} == set(RULES) | set(FILE_RULES) | {"acknowledgement-unused"}
    for entry in sheet:
        assert entry.reason.endswith((".", ")")), entry
        assert entry.severity in ("error", "warning")
        assert entry.acknowledgeable or entry.severity == "error" or entry.name == "acknowledgement-unused"
