"""Who may call which route.

Every route states its rule with `allow`; `GuardedRoute` writes the rule into the OpenAPI
document (``x-encap-roles``), from which the matrix test of routes and roles is made, and
refuses to be built without one. A request whose peer is not known is refused.
"""

from __future__ import annotations

import fnmatch
import grp
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute

from agentd.core.errors import Forbidden
from agentd.identity import Identity, LocalUser, Peer
from agentd.settings import USER_ROLES, Settings
from api.strict import StrictRequest

RULES = (*USER_ROLES, "hypervisor")
"""What a rule may name. A guest certificate opens no route, anywhere."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A peer with the role that it has on this node. `who`: for the audit and for people.

    `node`: the name in its certificate, where the caller is another hypervisor.
    """

    role: str
    who: str
    services: tuple[str, ...] = ("*",)
    node: str = ""

    @property
    def scoped(self) -> bool:
        return "*" not in self.services

    def sees(self, service: str) -> bool:
        """Whether the role counts for this service."""
        return any(fnmatch.fnmatchcase(service, pattern) for pattern in self.services)

    def require(self, service: str) -> None:
        """Forbidden unless the role counts for this service."""
        if not self.sees(service):
            raise Forbidden(f"{self.who} has no role for {service}", code="forbidden",
                            hint=f"the role is for: {' '.join(self.services)}")

    def has(self, *roles: str) -> bool:
        """Whether one of `roles` is this role, or a user role that this one includes."""
        if self.role not in USER_ROLES:
            return self.role in roles
        return bool({*USER_ROLES[:USER_ROLES.index(self.role) + 1]} & set(roles))


class Access:
    """Peer -> Caller, by the settings in force. `app.state.access` holds the one of an application."""

    def __init__(self, settings: Callable[[], Settings], daemon_uid: int | None = None) -> None:
        self._settings = settings
        self._daemon_uid = os.geteuid() if daemon_uid is None else daemon_uid

    def caller(self, peer: Peer | None) -> Caller:
        """Forbidden for anybody without a role on this node."""
        if isinstance(peer, LocalUser):
            return self._local(peer)
        if not isinstance(peer, Identity):
            raise Forbidden("the caller is not known", code="no-identity")
        if peer.role == "hypervisor":
            return Caller("hypervisor", f"{peer.name} (hypervisor)", node=peer.name)
        user = self._settings().users.get(peer.name) if peer.role == "user" else None
        if user is None:
            raise Forbidden(f"{peer.role} {peer.name} has no role on this node",
                            hint="the table [users] in the settings gives roles to users")
        return Caller(user.role, f"{peer.name} (user)", user.services)

    def _local(self, peer: LocalUser) -> Caller:
        if peer.uid in (0, self._daemon_uid):
            return Caller("admin", "root" if peer.uid == 0 else f"uid {peer.uid}")
        if _group(self._settings().socket_group) in peer.gids:
            return Caller("viewer", f"uid {peer.uid}")
        raise Forbidden(f"uid {peer.uid} has no role on this node",
                        hint=f"root is admin; the group {self._settings().socket_group} may look")


def _group(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


class Allow:
    """A rule, as a dependency that gives the Caller. See `allow`."""

    def __init__(self, roles: tuple[str, ...], scoped: bool) -> None:
        unknown = set(roles) - set(RULES)
        if unknown or not roles:
            raise ValueError(f"a rule names some of {RULES}, not {sorted(unknown)}")
        self.roles, self._scoped = roles, scoped

    async def __call__(self, request: Request) -> Caller:
        access: Access = request.app.state.access
        caller = access.caller(getattr(request.state, "peer", None))
        if not caller.has(*self.roles):
            raise Forbidden(f"{caller.who} is {caller.role}; this needs {' or '.join(self.roles)}")
        service = request.path_params.get("name") if "/services/{name}" in _template(request) else None
        if service is not None:
            caller.require(service)
        elif caller.scoped and not self._scoped and "viewer" not in self.roles:
            raise Forbidden(f"{caller.who} is {caller.role} for some services only; this is about the node")
        return caller


def allow(*roles: str, scoped: bool = False) -> Any:
    """The rule of a route: ``caller: Caller = allow("viewer", "hypervisor")`` or in `dependencies`.

    A user role stands for itself and all above it. On ``/services/{name}`` routes the
    user's service selector is applied here; a list filters by `Caller.sees`. `scoped`:
    another route that checks the service itself with `Caller.require`, so that a user
    with a selector may call it.
    """
    return Depends(Allow(roles, scoped))


def _template(request: Request) -> str:
    return str(getattr(request.scope.get("route"), "path", ""))


def rule_of(route: APIRoute) -> Allow | None:
    """The rule among the dependencies of a route."""
    found = [d.call for d in route.dependant.dependencies if isinstance(d.call, Allow)]
    return found[0] if found else None


class GuardedRoute(APIRoute):
    """A route that cannot be made without a rule: ``APIRouter(route_class=GuardedRoute)``.

    What it reads of a JSON body has one meaning, see `api.strict`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        rule = rule_of(self)
        if rule is None:
            raise TypeError(f"{self.path} has no rule: say who may call it with allow(...)")
        self.openapi_extra = {**(self.openapi_extra or {}), "x-encap-roles": list(rule.roles)}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly


def check_routes(app: FastAPI) -> None:
    """TypeError when anything in `app` can be called without a rule. Call it when the app is made."""
    for route in app.routes:
        if not isinstance(route, APIRoute) or rule_of(route) is None:
            raise TypeError(f"{getattr(route, 'path', route)} has no rule")
