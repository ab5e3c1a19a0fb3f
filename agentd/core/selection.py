"""Who is meant: levels, slaves, and the resources named by --rid, --tags, --subsets, --to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agentd.core.errors import InvalidRequest, NotFound
from agentd.core.model import GROUPS, START_ORDER, Guest, Level, Resource, Service
from agentd.core.ordering import Part, closure, guest_key, linked_to, natural
from agentd.core.plan import Request
from agentd.core.verbs import TELLING, Verb, shown

Match = Callable[[Resource], bool]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a request means on this node.

    `own`: this level's rids. `inside`: by container rid, the rids of its guest. `whole`: the
    guests are asked for the whole service, and decide themselves what that is. `master`:
    this level is meant. `inert`: rids that were named and are neither started nor stopped.
    """

    own: frozenset[str] = frozenset()
    inside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    whole: bool = True
    master: bool = True
    inert: tuple[tuple[str, str], ...] = ()


def with_parts(service: Service) -> tuple[Guest, ...]:
    """The guests that hold encap resources of this service."""
    return tuple(guest for guest in service.guests if guest.resources)


def levels(service: Service, request: Request, verb: Verb) -> tuple[bool, tuple[Guest, ...]]:
    """Whether this level is meant, and which guests. Raises InvalidRequest.

    At the encap level and without encap resources there is one level, and the options for
    levels are ignored.
    """
    guests = with_parts(service)
    if service.level is not Level.HOST or not guests:
        return True, ()
    if verb.group == "container":
        return True, ()
    named = {guest.container: guest for name in request.slave for guest in (_slave(service, guests, name),)}
    if not (request.master or request.slaves or request.slave):
        if verb.group and not request.selective:
            raise InvalidRequest(
                f"{request.action} acts on a subset of resources: say at which level:"
                " --master, --slave NAME or --slaves",
                hint="--master --slaves acts on both. The slaves are " + _known(service, guests) + ".",
            )
        return True, guests
    return request.master, guests if request.slaves else tuple(named.values())


def _slave(service: Service, guests: Iterable[Guest], name: str) -> Guest:
    """The guest that is meant by a container's rid or name, or by the guest's host name."""
    for guest in guests:
        if name.lower() in (guest.container, _container_name(service, guest), guest.node):
            return guest
    raise InvalidRequest(
        f"{shown(name)} is no slave of {service.name} on {service.node}:"
        f" the slaves are {_known(service, guests)}",
        hint="A guest of another hypervisor is reached with --node.",
    )


def _container_name(service: Service, guest: Guest) -> str:
    container = service.resource(guest.container)
    return str(container.options.get("name", "")).lower() if container else ""


def _known(service: Service, guests: Iterable[Guest]) -> str:
    words = []
    for guest in guests:
        names = dict.fromkeys(name for name in (guest.node, _container_name(service, guest)) if name)
        words.append(f"{guest.container} ({', '.join(names)})")
    return ", ".join(words)


def select(service: Service, request: Request, verb: Verb) -> Selection:
    """Raises InvalidRequest for a missing level, NotFound for a name that is in no resource."""
    matches = _match(service, request, verb)
    master, guests = levels(service, request, verb)
    own = [r for r in service.resources if master and matches(r)]
    inside = {g.container: tuple(r.rid for r in g.resources if matches(r)) for g in guests}
    inside = {container: rids for container, rids in inside.items() if rids}
    if request.selective and not own and not inside:
        raise NotFound(f"no resource of {service.name} matches {_words(request)}", hint=_candidates(service))
    chosen = frozenset(r.rid for r in own if r.group in START_ORDER)
    inert = tuple((r.rid, r.group) for r in own if r.group not in START_ORDER) if request.selective else ()
    if request.selective:
        inside, more = _startable(service, inside)
        inert += more
    return Selection(chosen, inside, not request.selective, master, inert)


def _startable(
    service: Service, inside: Mapping[str, tuple[str, ...]],
) -> tuple[dict[str, tuple[str, ...]], tuple[tuple[str, str], ...]]:
    """The selected rids of guests without those that are neither started nor stopped, and these."""
    kept, inert = {}, []
    for container, rids in inside.items():
        kept[container] = tuple(rid for rid in rids if _group(rid) in START_ORDER)
        inert += [(rid, _group(rid)) for rid in rids if _group(rid) not in START_ORDER]
    return {container: rids for container, rids in kept.items() if rids}, tuple(inert)


def _group(rid: str) -> str:
    return rid.partition("#")[0]


def _match(service: Service, request: Request, verb: Verb) -> Match:
    """Whether a resource is meant; every name was looked up at both levels before."""
    everything = tuple(everywhere(service))
    for name in request.rids:
        if not any(_named(r, name) for r in everything):
            raise NotFound(f"{shown(name)} is no resource of {service.name}", hint=_candidates(service))
    subsets = {_plain(name) for name in request.subsets}
    present = sorted({r.subset for r in everything if r.subset})
    for name in sorted(subsets.difference(present)):
        raise NotFound(f"{shown(name)} is no subset of {service.name}",
                       hint="The subsets are " + (", ".join(present) or "none") + ".")

    def matches(resource: Resource) -> bool:
        return (
            (not verb.group or resource.group == verb.group)
            and (not request.rids or any(_named(resource, name) for name in request.rids))
            and (not request.tags or _tagged(resource, request.tags))
            and (not request.subsets or resource.subset in subsets)
        )

    return matches


def everywhere(service: Service) -> Iterable[Resource]:
    """The resources of this level, then those of the guests."""
    yield from service.resources
    for guest in service.guests:
        yield from guest.resources


def _tagged(resource: Resource, alternatives: Iterable[tuple[str, ...]]) -> bool:
    """An alternative without a tag in it means nothing."""
    return any(tags and tags_of(resource).issuperset(tags) for tags in alternatives)


def tags_of(resource: Resource) -> frozenset[str]:
    """`encap = true` means the same as the tag."""
    return resource.tags | {"encap"} if resource.encap else resource.tags


def _named(resource: Resource, name: str) -> bool:
    """A rid, a group (``fs``), or a driver (``fs.ext4``)."""
    return name in (resource.rid, resource.group, f"{resource.group}.{resource.type}")


def _plain(subset: str) -> str:
    """``fs:g1`` names the subset g1, like ``g1``."""
    group, colon, name = subset.partition(":")
    return name if colon and group in GROUPS else subset


def _words(request: Request) -> str:
    tags = ",".join("+".join(alternative) for alternative in request.tags)
    named = (("--rid", ",".join(request.rids)), ("--tags", tags), ("--subsets", ",".join(request.subsets)))
    return " and ".join(f"{option} {shown(text)}" for option, text in named if text)


def _candidates(service: Service) -> str:
    rids = sorted({r.rid for r in everywhere(service)}, key=natural)
    more = f" and {len(rids) - 50} more" if len(rids) > 50 else ""
    return "The resources are " + (", ".join(rids[:50]) or "none") + more + "."


@dataclass(frozen=True, slots=True)
class Limit:
    """Where --to stops: the keys that may be acted on, and the guests that stop inside."""

    keys: frozenset[str]
    inside: Mapping[str, str] = field(default_factory=dict)


def limit(service: Service, parts: Sequence[Part], selection: Selection, to: str) -> Limit:
    """Up to a rid or the end of a group, with all that comes before. Raises NotFound.

    Looked up at this level first, then in the guests. A group does not mean its resources in
    the network of a container, unless it has no other: `--to ip` is not to start containers.
    """
    if not to:
        return Limit(frozenset(part.key for part in parts))
    mine = [r for r in service.resources if r.rid in selection.own and to in (r.rid, r.group)]
    if not any(r.rid == to for r in mine):
        mine = [r for r in mine if not linked_to(service, r)] or mine
    if mine:
        return Limit(closure(parts, {r.rid for r in mine}))
    deeper = {c: to for c, rids in selection.inside.items() if any(to in (rid, _group(rid)) for rid in rids)}
    if not deeper:
        raise NotFound(f"{shown(to)} is no resource or group that {service.name} acts on here",
                       hint=_candidates(service))
    return Limit(closure(parts, {guest_key(container) for container in deeper}), deeper)


def is_whole(request: Request, verb: Verb) -> bool:
    """A whole-service verb on the whole service: what goes to every hypervisor."""
    narrowed = request.selective or verb.group or request.slave
    if verb.name in TELLING:
        return not narrowed
    return not (narrowed or request.master or request.slaves)
