"""The service that one node sees: resources, options, guests, and that a bad resource spoils only itself."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from agentd.core.build import build
from agentd.core.config import Finding, parse
from agentd.core.keywords import Types
from agentd.core.model import Level, Resource, Service

CONFIG = """\
[DEFAULT]
nodes = hv1 hv2
encapnodes = vm1
restart = 2
monitor = yes
start_timeout = 10m
app = shop

[env]
data = /srv/{svcname}

[container#0]
type = lxc
name = VM1
restart@hv2 = 5

[fs#1]
type = ext4
dev = /dev/a
mnt = {env.data}

[fs#2]
type = ext4
dev = /dev/b
mnt = /srv/guest
tags = encap

[ip#1]
encap = true
ipname = 10.0.0.1
ipdev@nodes = br0
ipdev@encapnodes = eth0
standby = true

[app]
start = /bin/true

[app#1]
tags = encap noaction
start = /bin/x "a b";rm ; a remark

[sync#1]
src = /srv
optional = false

[subset#fs.ext4:fast]
parallel = yes
"""


def built(text: str, types: Types, node: str = "hv1", name: str = "db") -> tuple[Service, tuple[Finding, ...]]:
    return build(parse(text)[0], name, node, types)


def resource(service: Service, rid: str) -> Resource:
    found = service.resource(rid)
    assert found is not None
    return found


def test_the_host_level(types: Types) -> None:
    service, findings = built(CONFIG, types)
    assert findings == ()
    assert (service.name, service.node, service.level) == ("db", "hv1", Level.HOST)
    assert [r.rid for r in service.resources] == ["container#0", "fs#1", "app", "sync#i0", "sync#1"]
    assert [r.label for r in service.resources] == [
        "VM1", "/dev/a@/srv/db", "app", "rsync svc config to drpnodes, nodes", "/srv"]
    assert service.options["app"] == "shop"
    assert service.options["priority"] == 100
    assert (service.topology, service.orchestrate, service.flex_primary) == ("failover", "no", "hv1")
    assert [(s.name, s.parallel) for s in service.subsets.values()] == [("fast", True)]
    assert "fs:fast" in service.subsets


def test_options_hold_what_is_written_inherited_and_default(types: Types) -> None:
    container = resource(built(CONFIG, types, "hv2")[0], "container#0")
    assert container.options["hostname"] == "vm1"
    assert (container.restart, container.monitor, container.options["start_timeout"]) == (5, True, 600.0)
    assert (container.options["stop_timeout"], container.options["guestos"]) == (120.0, "unix")
    assert (container.options["pre_start"], container.options.get("nope", "-")) == (None, "-")
    assert len(container.options) == len(list(container.options))
    assert container.options == dict(container.options)


def test_the_guest_as_its_hypervisor_knows_it(types: Types) -> None:
    service, _ = built(CONFIG, types)
    (guest,) = service.guests
    assert (guest.container, guest.node, guest.nodes, guest.topology) == ("container#0", "vm1", ("vm1",), "failover")
    assert [r.rid for r in guest.resources] == ["fs#2", "ip#1", "app#1"]
    assert [r.encap for r in guest.resources] == [True, True, True]
    assert guest.resources[1].label == "10.0.0.1@eth0"
    assert service.guest("container#0") is guest


def test_the_encap_level(types: Types) -> None:
    service, _ = built(CONFIG, types, "vm1")
    assert (service.level, service.nodes, service.guests) == (Level.ENCAP, ("vm1",), ())
    assert [r.rid for r in service.resources] == ["fs#2", "ip#1", "app", "app#1", "sync#i0"]
    assert resource(service, "ip#1").standby
    assert resource(service, "app#1").options["start"] == ("/bin/x", "a b;rm")


def test_optional_is_the_default_of_sync_task_and_noaction(types: Types) -> None:
    text = CONFIG + "[task#1]\n[app#2]\ntags = noaction\noptional = no\n"
    service = built(text, types)[0]
    optional = {r.rid: r.optional for r in (*service.resources, *service.guests[0].resources)}
    assert {rid for rid, value in optional.items() if value} == {"app#1", "sync#i0", "task#1"}


def test_the_internal_sync_is_at_both_levels_and_can_be_disabled(types: Types) -> None:
    text = CONFIG + "[sync#i0]\ndisable@vm1 = True\n"
    internal = {node: resource(built(text, types, node)[0], "sync#i0") for node in ("hv1", "vm1")}
    assert {node: r.disable for node, r in internal.items()} == {"hv1": False, "vm1": True}
    assert all(r.internal and r.type == "config" for r in internal.values())


def test_a_node_in_no_list_runs_nothing_and_says_so(types: Types) -> None:
    service, findings = built(CONFIG, types, "hv9")
    assert (service.level, service.resources, service.guests) == (Level.NONE, (), ())
    assert [(f.severity, "hv9 is in none of" in f.text) for f in findings] == [("warning", True)]


@pytest.mark.parametrize(("node", "listed"), [("vm1.example.com", "vm1"), ("hv1.lan", "hv1")])
def test_a_near_miss_names_both(node: str, listed: str, types: Types) -> None:
    _, findings = built(CONFIG, types, node)
    assert [f.severity for f in findings] == ["error"]
    assert node in findings[0].text
    assert f"names {listed}:" in findings[0].text


@pytest.mark.parametrize(("lines", "part"), [
    ("type = ext5\ndev = /d\nmnt = /m", "fs has no type ext5"), ("dev = /d", "fs#1 has no type"),
    ("type = ext4\ndev = {no.thing}\nmnt = /m", "{no.thing} is not known"), ("type = {env.none}", "is not known"),
    ("type = ext4\ndev = /d\nmnt = ../m", "not an absolute path"), ("type = ext4\nsize = 1x", "is not a size"),
    ("type = ext4\ndisable = perhaps", "neither true nor false"),
])  # fmt: skip
def test_a_bad_resource_spoils_only_itself(lines: str, part: str, types: Types) -> None:
    text = f"[DEFAULT]\nnodes = hv1\n[env]\n[fs#1]\n{lines}\n[fs#2]\ntype = ext4\ndev = /b\nmnt = /b\n"
    service, findings = built(text, types)
    assert [(r.rid, r.type) for r in service.resources][:2] == [("fs#1", ""), ("fs#2", "ext4")]
    assert [part in f.text for f in findings if f.severity == "error"] == [True]
    assert isinstance(resource(service, "fs#1").label, str)


def test_aliases_have_their_present_meaning_for_each_node(types: Types) -> None:
    text = ("[DEFAULT]\nnodes = n1 n2\ndrpnodes = n3\nautostart_node = n1\ncluster_type = autoflex\nservice_type = PRD\n"
            "flex_min_nodes = 2\n[fs#1]\ntype = flag\nalways_on = drpnodes n2\n")
    services = {node: built(text, types, node)[0] for node in ("n1", "n2", "n3")}
    assert {n: s.orchestrate for n, s in services.items()} == {"n1": "start", "n2": "no", "n3": "no"}
    assert {n: resource(s, "fs#1").standby for n, s in services.items()} == {"n1": False, "n2": True, "n3": True}
    first = services["n1"]
    assert (first.topology, first.options["env"], first.flex_min) == ("flex", "PRD", 2)


def test_the_present_name_wins_over_its_alias(types: Types) -> None:
    assert built("[DEFAULT]\nnodes = n1\ncluster_type = flex\ntopology = failover\n", types, "n1")[0].topology == "failover"


@pytest.mark.parametrize(("lines", "expected"), [
    ("", (1, 3, 3)), ("flex_min = 2\nflex_target = 1", (2, 3, 2)), ("flex_max = 2", (1, 2, 2)),
    ("flex_min = 9\nflex_max = 9", (3, 3, 3)), ("flex_target = 2", (1, 3, 2)),
])  # fmt: skip
def test_flex_counts_stay_within_the_nodes(lines: str, expected: tuple[int, int, int], types: Types) -> None:
    service = built(f"[DEFAULT]\nnodes = hv1 hv2 hv3\ntopology = flex\n{lines}\n", types)[0]
    assert (service.flex_min, service.flex_max, service.flex_target) == expected


FARMED = """\
[DEFAULT]
nodes = hv1 hv2
encapnodes = vm1 vm2
nodes@encapnodes = vm1 vm2
topology = flex
topology@encapnodes = failover
[container#1]
type = lxc
name@hv1 = vm1
name@hv2 = vm2
[fs#1]
type = flag
tags = encap
[fs#2]
type = flag
tags = encap
disable@vm2 = true
"""


def test_farmed_failover(types: Types) -> None:
    hosts = {node: built(FARMED, types, node)[0] for node in ("hv1", "hv2")}
    guests = {node: service.guests[0] for node, service in hosts.items()}
    assert {n: s.topology for n, s in hosts.items()} == {"hv1": "flex", "hv2": "flex"}
    assert {n: g.node for n, g in guests.items()} == {"hv1": "vm1", "hv2": "vm2"}
    assert {g.topology for g in guests.values()} == {"failover"}
    assert {g.nodes for g in guests.values()} == {("vm1", "vm2")}
    assert {n: g.resources[1].disable for n, g in guests.items()} == {"hv1": False, "hv2": True}


TWO = """\
[DEFAULT]
nodes = hv1
encapnodes = vm1 vm2
[container#1]
type = lxc
name = vm1
[container#2]
type = kvm
hostname = VM2
[container#3]
type = kvm
name = other
[fs#1]
type = flag
tags = encap
container = container#2
[fs#2]
type = flag
tags = encap
"""


def test_an_encap_resource_belongs_to_every_guest_unless_it_names_a_container(types: Types) -> None:
    guests = built(TWO, types)[0].guests
    assert {(g.container, g.node): [r.rid for r in g.resources] for g in guests} == {
        ("container#1", "vm1"): ["fs#2"], ("container#2", "vm2"): ["fs#1", "fs#2"]}


def test_a_windows_guest_holds_no_agent(types: Types) -> None:
    text = TWO.replace("name = vm1\n", "name = vm1\nguestos = Windows\n")
    assert [g.node for g in built(text, types)[0].guests] == ["vm2"]


def test_the_section_of_a_reservation_is_no_resource(types: Types) -> None:
    text = "[DEFAULT]\nnodes = hv1\n[disk#1]\nname = vg1\n[disk#1pr]\nprkey = 1\n[disk#2pr]\nname = vg2\n"
    assert [r.rid for r in built(text, types)[0].resources] == ["disk#1", "disk#2pr", "sync#i0"]


def test_old_heartbeats_are_external(types: Types) -> None:
    assert resource(built("[DEFAULT]\nnodes = hv1\n[hb#1]\ntype = OpenHA\n", types)[0], "hb#1").type == "external"


def test_requirements_and_triggers_are_values(types: Types) -> None:
    text = ("[DEFAULT]\nnodes = hv1\n[fs#1]\ntype = flag\nstart_requires = ip#0 fs#2(down)\n"
            "pre_start = /bin/a 'b c';d\nblocking_post_stop = x\n")
    options = resource(built(text, types)[0], "fs#1").options
    assert options["start_requires"] == (("ip#0", ("up", "stdby up")), ("fs#2", ("down",)))
    assert options["pre_start"] == ("/bin/a", "b c;d")
    assert options["blocking_post_stop"] == ("x",)


def large(index: int) -> str:
    fs = "".join(f"[fs#{i}]\ntype = ext4\ndev = /dev/vg/lv{i}\nmnt = {{env.base}}/{i}\nmnt_opt = rw,relatime\n"
                 f"mnt_opt@hv2 = ro\n# note\n\n" for i in range(6))
    ip = "".join(f"[ip#{i}]\nipname = 10.0.0.{i}\nipdev = eth0\ntags = encap\n\n" for i in range(3))
    return (f"[DEFAULT]\nnodes = hv1 hv2\nencapnodes = vm{index}\n[env]\nbase = /srv/{{svcname}}\n\n"
            f"[container#0]\ntype = lxc\nname = vm{index}\n\n{fs}{ip}")


def test_five_hundred_services_of_ten_resources_are_read_in_a_moment(types: Types) -> None:
    texts = [large(i) for i in range(500)]
    began = time.perf_counter()
    services = [built(text, types, name=f"s{i}")[0] for i, text in enumerate(texts)]
    assert time.perf_counter() - began < 1.2
    assert sum(len(s.resources) + len(s.guests[0].resources) for s in services) == 500 * 11


def test_five_thousand_resources_are_small(types: Types) -> None:
    texts = [large(i) for i in range(500)]
    tracemalloc.start()
    try:
        services = [built(text, types, name=f"s{i}")[0] for i, text in enumerate(texts)]
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(services) == 500
    assert size < 25 << 20
