"""The shipped unit, judged by the systemd of a real guest."""

from __future__ import annotations

from .machines import Lab
from .namespaces import until


def test_the_unit_is_valid_and_starts_the_agent_at_boot(shared_lab: Lab) -> None:
    vm1 = shared_lab.guest("vm1", on="hv1")
    vm1.start()
    verified = vm1.run(["systemd-analyze", "verify", "/etc/systemd/system/agentd.service"])
    assert verified.stdout + verified.stderr == ""
    unit = vm1.unit()
    assert unit["UnitFileState"] == "enabled"
    assert unit["Type"] == "notify"
    assert unit["WatchdogUSec"] not in ("0", "infinity")
    until(lambda: vm1.unit()["ActiveState"] == "active", "agentd is active", 30)
    assert vm1.unit()["SubState"] == "running"
