"""The one order of parts, its reverse, and what is left of it when parts are dropped."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentd.core.model import START_ORDER, Guest, Level, Resource, Service, Subset
from agentd.core.ordering import Part, closure, guest_key, keep, natural, reverse, start_order

RIDS = st.builds(lambda group, index: f"{group}#{index}", st.sampled_from(START_ORDER), st.integers(0, 12))


@st.composite
def services(draw: st.DrawFn) -> Service:
    """Any mixture of resources, subsets, networks and guests."""
    rids = draw(st.lists(RIDS, unique=True, max_size=14))
    containers = [rid for rid in rids if rid.startswith("container#")]
    resources = []
    for rid in rids:
        options: dict[str, Any] = {"mnt": draw(st.sampled_from(("/a", "/a/b", "/a/b/c")))}
        if containers:
            options["netns"] = draw(st.sampled_from(("", *containers)))
        resources.append(Resource(rid, "fake", subset=draw(st.sampled_from(("", "g1", "g2"))), options=options))
    inside = (Resource("fs#1", "fake", encap=True), Resource("app#1", "fake", encap=True))
    guests = tuple(Guest(rid, f"vm{rid[10:]}", inside, "flex") for rid in containers if draw(st.booleans()))
    subsets = {"g1": Subset("g1", parallel=True), "g2": Subset("g2")}
    return Service("web", "hv1", Level.HOST, ("hv1",), resources=tuple(resources), guests=guests, subsets=subsets)


def before(parts: tuple[Part, ...]) -> dict[str, frozenset[str]]:
    """All that comes before each part, directly or not; parts must be in order."""
    found: dict[str, frozenset[str]] = {}
    for part in parts:
        assert all(need in found for need in part.needs), f"{part.key} stands before what it needs"
        found[part.key] = frozenset(part.needs).union(*(found[need] for need in part.needs))
    return found


def position(parts: tuple[Part, ...]) -> list[str]:
    return [part.key for part in parts]


@given(services())
def test_every_part_is_there_once_and_after_what_it_needs(service: Service) -> None:
    parts = start_order(service)
    wanted = [r.rid for r in service.resources] + [guest_key(g.container) for g in service.guests]
    assert sorted(position(parts)) == sorted(wanted)
    before(parts)


@given(services())
def test_a_stop_is_the_exact_reverse(service: Service) -> None:
    start = before(start_order(service))
    stop = before(reverse(start_order(service)))
    assert {(a, b) for a in start for b in start[a]} == {(b, a) for a in stop for b in stop[a]}


@given(services(), st.data())
def test_dropping_parts_keeps_the_order_of_the_others(service: Service, data: st.DataObject) -> None:
    parts = start_order(service)
    keys = data.draw(st.sets(st.sampled_from(position(parts)))) if parts else set()
    full, kept = before(parts), before(keep(parts, keys))
    assert kept == {key: full[key] & keys for key in kept}
    assert set(kept) == keys


@given(services())
def test_what_hangs_on_a_container_comes_between_it_and_its_guest(service: Service) -> None:
    order = before(start_order(service))
    for guest in service.guests:
        assert guest.container in order[guest_key(guest.container)]
    for resource in service.resources:
        named = str(resource.options.get("netns", ""))
        if named and resource.group != "container":
            assert named in order[resource.rid]
            if guest_key(named) in order:
                assert resource.rid in order[guest_key(named)]
        elif resource.group in ("app", "task"):
            assert {guest_key(g.container) for g in service.guests} <= order[resource.rid]


@given(services())
def test_a_mount_below_another_never_comes_with_it_or_before(service: Service) -> None:
    order = before(start_order(service))
    mounts = [r for r in service.resources if r.group == "fs" and not r.options.get("netns")]
    for upper in mounts:
        for lower in mounts:
            if upper.subset == lower.subset and len(upper.options["mnt"]) < len(lower.options["mnt"]):
                assert upper.rid in order[lower.rid]


def test_natural_order() -> None:
    rids = ["fs#10", "fs#2", "fs#02", "fs#a", "fs", "fs#1"]
    assert sorted(rids, key=natural) == ["fs", "fs#1", "fs#02", "fs#2", "fs#10", "fs#a"]


def test_a_start_number_orders_apps_and_no_number_comes_last() -> None:
    starts: tuple[Any, ...] = (None, "10", 5, True, "/bin/true", ("5",))
    apps = tuple(Resource(f"app#{i}", "fake", options={"start": start}) for i, start in enumerate(starts))
    service = Service("web", "hv1", Level.HOST, resources=apps)
    assert position(start_order(service)) == ["app#2", "app#1", "app#0", "app#3", "app#4", "app#5"]


def test_containers_in_the_network_of_one_another() -> None:
    def container(rid: str, netns: str) -> Resource:
        return Resource(rid, "docker", options={"netns": netns})

    chain = (container("container#0", "container#2"), container("container#2", ""))
    assert position(start_order(Service("w", "h", Level.HOST, resources=chain))) == ["container#2", "container#0"]
    circle = (container("container#0", "container#1"), container("container#1", "container#0"))
    assert position(start_order(Service("w", "h", Level.HOST, resources=circle))) == ["container#0", "container#1"]


def test_a_network_of_no_container_here_is_no_link() -> None:
    ip = Resource("ip#1", "fake", options={"netns": "container#9"})
    fs = Resource("fs#1", "fake", options={"netns": "ip#1"})
    assert position(start_order(Service("w", "h", Level.HOST, resources=(fs, ip)))) == ["ip#1", "fs#1"]


def test_parallel_of_the_group_beats_parallel_of_the_name() -> None:
    resources = tuple(Resource(f"app#{i}", "fake", subset="g") for i in range(3))
    subsets = {"g": Subset("g", parallel=True), "app:g": Subset("g", parallel=False)}
    parts = start_order(Service("w", "h", Level.HOST, resources=resources, subsets=subsets))
    assert [part.needs for part in parts] == [(), ("app#0",), ("app#1",)]


@given(services(), st.data())
def test_closure_is_what_comes_before(service: Service, data: st.DataObject) -> None:
    parts = start_order(service)
    if not parts:
        return
    target = data.draw(st.sampled_from(position(parts)))
    assert closure(parts, {target}) == before(parts)[target] | {target}
