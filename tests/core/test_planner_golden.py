"""Plans of whole services, as text files that a reader can judge.

A wanted change: delete the file, run once, and read the new one before it is committed.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentd.core.known import GuestInstance
from agentd.core.model import Guest, Level, Resource, Service, Subset
from agentd.core.plan import Plan, Request
from agentd.core.planner import Known, offline_known, plan
from agentd.core.routing import plan_cluster
from agentd.core.status import Status

GOLDEN = Path(__file__).parent.parent / "golden" / "plans" / "core"
UP, DOWN, UNDEF = Status.UP, Status.DOWN, Status.UNDEF


def resource(rid: str, type: str = "fake", *, encap: bool = False, subset: str = "", tags: str = "",
             disable: bool = False, standby: bool = False, **options: Any) -> Resource:
    return Resource(rid, type, encap=encap, subset=subset, tags=frozenset(tags.split()), disable=disable,
                    standby=standby, options=options)


INSIDE = (resource("ip#2", "host", encap=True), resource("ip#1", "host", encap=True),
          resource("fs#2", "flag", encap=True), resource("app#1", "simple", encap=True))
SYNC = Resource("sync#i0", "config", "rsync svc config to drpnodes, nodes", internal=True, optional=True)
SEED = Service(
    "deb1.opensvc.com", "hv1", Level.HOST, ("hv1", "hv2"), encapnodes=("vm1",),
    resources=(resource("container#0", "lxc", name="deb1", hostname="vm1"), resource("fs#1", "btrfs", mnt="/deb1"),
               resource("app", "forking"), resource("sync#1", "btrfs"), SYNC),
    guests=(Guest("container#0", "vm1", INSIDE, "failover", ("vm1",)),),
)
FROM_GUEST = Service("deb1.opensvc.com", "vm1", Level.ENCAP, ("vm1",), encapnodes=("vm1",),
                     resources=(*INSIDE, resource("app", "forking"), SYNC))
TWO = replace(
    SEED, encapnodes=("vm1", "vm2"),
    resources=(*SEED.resources, resource("container#1", "lxc", name="deb2", hostname="vm2")),
    guests=(Guest("container#0", "vm1", INSIDE, "flex", ("vm1", "vm2")),
            Guest("container#1", "vm2", INSIDE, "flex", ("vm1", "vm2"))),
)
NETWORKED = replace(
    SEED, resources=(*SEED.resources, resource("ip#9", "netns", netns="container#0"),
                     resource("app#proxy", "simple", netns="container#0"), resource("ip#8", "host")))
SUBSETS = Service(
    "many", "hv1", Level.HOST, ("hv1",),
    resources=(
        resource("fs#10", mnt="/srv/ten"), resource("fs#2", mnt="/srv/ten/below"),
        resource("fs#b1", subset="b", mnt="/b"), resource("fs#b2", subset="b", mnt="/b2"),
        resource("fs#b3", subset="b", mnt="/b/below"), resource("fs#a1", subset="a", mnt="/a"),
        resource("disk#1", "loop"), resource("app#3", start="10"), resource("app#1", start="20"),
        resource("app#0"), resource("ip#1", standby=True), resource("ip#2", disable=True),
        resource("share#1", tags="noaction")),
    subsets={"fs:b": Subset("b", parallel=True), "fs:a": Subset("a")},
)
WINDOWS = replace(SEED, encapnodes=(), guests=(),
                  resources=(resource("container#0", "kvm", guestos="windows"), resource("app#1", "simple")))


def farmed(node: str, guest: str) -> Service:
    return Service(
        "farm", node, Level.HOST, ("hv1", "hv2"), encapnodes=("vm1", "vm2"), topology="flex", flex_target=2,
        resources=(resource("container#0", "lxc", name=guest), SYNC),
        guests=(Guest("container#0", guest, INSIDE, "failover", ("vm1", "vm2")),),
    )


def offline(service: Service, **request: Any) -> Plan:
    asked = Request(**request)
    return plan(service, asked, offline_known(service, asked.action))


FARM = farmed("hv1", "vm1")
ALL_UP = offline_known(SEED, "stop")
PLANS: dict[str, Plan] = {
    "start": offline(SEED, action="start"),
    "stop": offline(SEED, action="stop"),
    "restart": offline(SEED, action="restart"),
    "shutdown": offline(SEED, action="shutdown"),
    "freeze": offline(SEED, action="freeze"),
    "freeze-host-only": offline(SEED, action="freeze", master=True),
    "thaw-guest-only": offline(SEED, action="thaw", slaves=True),
    "delete": plan_cluster(SEED, Request("delete"), offline_known(SEED, "delete")),
    "disable-in-guest": offline(SEED, action="disable", rids=("fs#2",)),
    "start-from-guest": offline(FROM_GUEST, action="start"),
    "stop-from-guest": offline(FROM_GUEST, action="stop"),
    "startfs-from-guest": offline(FROM_GUEST, action="startfs"),
    "startfs-master": offline(TWO, action="startfs", master=True),
    "startfs-slaves": offline(TWO, action="startfs", slaves=True),
    "startfs-both": offline(TWO, action="startfs", master=True, slaves=True),
    "startfs-slave-vm2": offline(TWO, action="startfs", slave=("vm2",)),
    "start-two-guests": offline(TWO, action="start"),
    "stop-two-guests": offline(TWO, action="stop"),
    "stop-slaves": offline(TWO, action="stop", slaves=True),
    "stopcontainer": offline(TWO, action="stopcontainer"),
    "start-rid-both-levels": offline(SEED, action="start", rids=("fs", "app#1")),
    "start-to-container": offline(SEED, action="start", to="container"),
    "start-to-guest-fs": offline(SEED, action="start", to="fs#2"),
    "stop-downto-container": offline(NETWORKED, action="stop", to="container"),
    "start-netns": offline(NETWORKED, action="start"),
    "stop-netns": offline(NETWORKED, action="stop"),
    "start-subsets": offline(SUBSETS, action="start"),
    "stop-subsets": offline(SUBSETS, action="stop"),
    "start-windows": offline(WINDOWS, action="start"),
    "start-already-up": plan(SEED, Request("start"), ALL_UP),
    "start-guest-half-up": plan(SEED, Request("start"), replace(
        ALL_UP, guests={"container#0": {**ALL_UP.guests["container#0"], "fs#2": DOWN, "app#1": UNDEF}})),
    "start-guest-silent": plan(SEED, Request("start"), replace(
        ALL_UP, guest_silent=frozenset(("container#0",)))),
    "stop-guest-silent": plan(SEED, Request("stop"), replace(
        ALL_UP, guest_silent=frozenset(("container#0",)))),
    "stop-container-unknown": plan(SEED, Request("stop"), Known(
        status={"container#0": UNDEF, "fs#1": UP, "app": DOWN}, states={"container#0": "unknown"})),
    "start-farmed-first": offline(farmed("hv1", "vm1"), action="start"),
    "start-farmed-second": offline(farmed("hv2", "vm2"), action="start"),
    "start-farmed-other-is-up": plan(FARM, Request("start"), replace(
        offline_known(FARM, "start"), elsewhere={"vm2": GuestInstance("up", "up")})),
    "start-farmed-both-hypervisors": plan_cluster(FARM, Request("start"), offline_known(FARM, "start")),
    "stop-farmed-one-silent": plan_cluster(FARM, Request("stop"), replace(
        offline_known(FARM, "stop"), peers={"hv1": "up", "hv2": "silent"})),
    "start-failover-up-elsewhere": plan_cluster(SEED, Request("start"), replace(
        offline_known(SEED, "start"), peers={"hv1": "down", "hv2": "up"})),
    "restart-failover-other-undef": plan_cluster(SEED, Request("restart"), replace(
        ALL_UP, peers={"hv1": "up", "hv2": "undef"})),
}


def text(made: Plan) -> str:
    """One line for each step and each skip, with everything that a step says."""
    lines = [f"{made.service}: {made.action} at {made.node}"]
    for step in made.steps:
        asked = step.request
        narrowed = () if asked is None else (*asked.rids, *((f"to={asked.to}",) if asked.to else ()))
        words = (
            f"after {','.join(map(str, step.after))}" if step.after else "",
            f"undo {step.undo}" if step.undo else "",
            "optional" if step.optional else "",
            f"asks {' '.join(narrowed) or 'all'}" if asked is not None else "",
            f"silence: {step.on_silence}" if step.on_silence != "fail" else "",
            f"failure: {step.on_failure}" if step.on_failure != "fail" else "",
            f"({step.why})" if step.why else "",
        )
        depth, above = 0, step.under
        while above is not None:
            depth, above = depth + 1, made.steps[above].under
        line = f"{'    ' * depth}{step.id:>4} {step.where} {step.action} {step.what}  "
        lines.append((line + "; ".join(word for word in words if word)).rstrip())
    lines += [f"  -- {s.where} {s.what}: {s.why}" for s in made.skipped]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", PLANS)
def test_plan_is_the_golden_one(name: str) -> None:
    golden = GOLDEN / f"{name}.txt"
    if not golden.exists():
        golden.write_text(text(PLANS[name]), encoding="utf-8")
        pytest.fail(f"{golden.name} was not there; it is now: read it, then commit it")
    assert text(PLANS[name]) == golden.read_text(encoding="utf-8")


def test_no_golden_plan_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(PLANS)
