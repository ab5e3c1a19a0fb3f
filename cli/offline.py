"""Commands that ask no daemon: the one door of the command line to the core, the catalogue
of drivers and the key material. Each function imports what it needs, and nothing before."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.acting import body_of
from cli.arguments import split
from cli.editing import told
from cli.endpoint import root_of
from cli.exits import DONE, OF_CODE, UNREACHABLE, USAGE, Trouble, of_code
from cli.reading import read_input
from cli.render import safe
from cli.terminal import Terminal

if TYPE_CHECKING:
    from agentd.core.config import Document, Finding
    from agentd.core.keywords import Types
    from agentd.settings import Settings


@contextmanager
def _errors_told() -> Iterator[None]:
    """An error of the product ends the command like one that a daemon told."""
    from agentd.core.errors import EncapError

    try:
        yield
    except EncapError as error:
        # A finer code goes by the one of its class.
        codes = [error.code, *(getattr(kind, "code", "") for kind in type(error).__mro__)]
        known = next((code for code in codes if code in OF_CODE), "error")
        raise Trouble(
            error.text,
            of_code(known),
            hint=error.hint,
            code=error.code,
            problems=error.details.get("problems", ()),
        ) from None
    except OSError as error:
        raise Trouble(
            f"{error.filename or 'this machine'}: {error.strerror or error}",
            of_code("storage"),
            code="storage",
        ) from None


def _types() -> Types:
    from drivers import catalogue

    return catalogue()


def _parsed(path: str) -> tuple[Document, tuple[Finding, ...], str]:
    """The document, what the parser found, and the service's name: the stem of the file."""
    from agentd.core.config import parse

    name = Path(path).name.removesuffix(".conf") if path != "-" else "service"
    return *parse(read_input(path)), name


def validate(arguments: Any, terminal: Terminal) -> int:
    """0 no error, 1 errors, 2 the file cannot be read."""
    from agentd.core.validation import validate as findings_of

    document, found, name = _parsed(arguments.file)
    findings = findings_of(document, _types(), name, found)
    return told(
        {
            "errors": [f.document() for f in findings if f.severity == "error"],
            "warnings": [f.document() for f in findings if f.severity != "error"],
        },
        arguments.file,
        terminal,
    )


def _sound(path: str) -> tuple[Document, str]:
    """A document that the parser had no error for."""
    document, found, name = _parsed(path)
    errors = [f.document() for f in found if f.severity == "error"]
    if errors:
        raise Trouble(
            f"{path} has {len(errors)} error{'s' * (len(errors) > 1)}",
            of_code("invalid-config"),
            code="invalid-config",
            problems=errors,
        )
    return document, name


def _node(arguments: Any) -> str:
    if not arguments.node:
        raise Trouble(
            "--node is missing",
            USAGE,
            code="invalid-request",
            hint="A configuration is always seen from a node: --node hv1",
        )
    return str(arguments.node).lower()


def evaluate(arguments: Any, terminal: Terminal) -> int:
    from agentd.core.evaluation import evaluate as seen

    node = _node(arguments)
    document, name = _sound(arguments.file)
    with _errors_told():
        view = seen(document, name, node)
    if terminal.json:
        terminal.document(view)
        return DONE
    terminal.say(
        f"# seen by {safe(view['node'])}, level {view['level']}, nodes: {safe(' '.join(view['nodes']))}"
    )
    for section, keywords in view["sections"].items():
        terminal.say(f"\n[{safe(section)}]")
        for keyword, value in keywords.items():
            terminal.say(f"{safe(keyword)} = {safe(value)}")
    return DONE


def plan_file(arguments: Any) -> dict[str, Any]:
    """The plan document of an action on a file: all down before a start, all up before a stop."""
    from agentd.core.build import build
    from agentd.core.plan import Request
    from agentd.core.planner import offline_known, parse_tags, plan

    node = _node(arguments)
    document, name = _sound(arguments.name)
    body = body_of(arguments, arguments.action)
    with _errors_told():
        service, findings = build(document, name, node, _types())
        _refuse_errors(arguments.name, findings)
        request = Request(
            action=body["action"],
            rids=tuple(body.get("rids", ())),
            tags=parse_tags(body.get("tags", "")),
            subsets=tuple(body.get("subsets", ())),
            to=body.get("to", ""),
            master=body.get("master", False),
            slave=tuple(body.get("slave", ())),
            slaves=body.get("slaves", False),
            force=body.get("force", False),
            local=True,
        )
        return plan(service, request, offline_known(service, request.action)).document()


def _refuse_errors(path: str, findings: Sequence[Finding]) -> None:
    errors = [f.document() for f in findings if f.severity == "error"]
    if errors:
        raise Trouble(
            f"{path} has {len(errors)} error{'s' * (len(errors) > 1)}",
            of_code("invalid-config"),
            code="invalid-config",
            problems=errors,
        )


def raw_values(content: bytes, keys: Sequence[tuple[str, str]]) -> list[str | None]:
    """The values of (section, option) as they are written; None for one that is not."""
    from agentd.core.config import parse

    document, _ = parse(content)
    return [document.get(section, option) for section, option in keys]


def explain(arguments: Any, terminal: Terminal) -> int:
    from agentd.core.explain import explain as explained

    with _errors_told():
        text = explained(arguments.topic, _types())
    terminal.document({"topic": arguments.topic, "text": text}) if terminal.json else terminal.say(text)
    return DONE


def _settings(arguments: Any) -> Settings:
    from agentd.settings import load

    return load(Path(root_of(arguments)))


def _named(arguments: Any, **values: Any) -> Settings:
    """The settings, after what the options say was written into them."""
    from agentd.settings import Paths
    from agentd.settings_file import change

    paths = Paths(Path(root_of(arguments)))
    given = {"node": arguments.node.lower(), **values} if arguments.node else values
    if given:
        change(paths, given)
    return _settings(arguments)


def ca_init(arguments: Any, terminal: Terminal) -> int:
    """The cluster, with this node as its first member."""
    from agentd.pki import init_ca

    with _errors_told():
        settings = _named(arguments)
        init_ca(settings.paths, arguments.cluster, settings.node, _reached_at(settings))
    return _done(
        terminal,
        f"Cluster {arguments.cluster} is made, with {settings.node} in it; its CA is in "
        f"{settings.paths.pki_dir}",
        {"cluster": arguments.cluster, "node": settings.node, "pki": str(settings.paths.pki_dir)},
    )


def _reached_at(settings: Settings) -> str:
    """Where others find a node that listens there: the first address that names one place; a
    node that listens everywhere is found by its name."""
    from agentd.settings import show_address

    everywhere = ("0.0.0.0", "::")
    named = [a for a in settings.listen if a[0] not in everywhere]
    if named:
        return show_address(named[0])
    return show_address((settings.node, settings.listen[0][1])) if settings.listen else ""


def ca_user(arguments: Any, terminal: Terminal) -> int:
    from agentd.pki import issue_user

    with _errors_told():
        issue_user(_settings(arguments).paths, arguments.name, arguments.days, Path(arguments.out))
    return _done(
        terminal,
        f"user.crt, user.key and ca.crt of {arguments.name} are in {arguments.out}. What this person may "
        "do is said by [users] in the settings of each hypervisor.",
        {"name": arguments.name, "days": arguments.days, "out": os.path.abspath(arguments.out)},
    )


def node_init(arguments: Any, terminal: Terminal) -> int:
    """Name and addresses of this node, in its settings and in the list of members."""
    from agentd.membership import load as members
    from agentd.pki import set_address
    from agentd.settings import show_address

    with _errors_told():
        listen = split(arguments.listen)
        if not listen and not arguments.node:
            raise Trouble("nothing to set: neither --listen nor --node", USAGE, code="invalid-request")
        settings = _named(arguments, **({"listen": listen} if listen else {}))
        cluster = members(settings.paths)
        if cluster and cluster.member(settings.node):
            set_address(settings.paths, settings.node, _reached_at(settings))
    addresses = [show_address(a) for a in settings.listen]
    return _done(
        terminal,
        f"{settings.node} listens on {', '.join(addresses)}; restart agentd if it runs",
        {"node": settings.node, "listen": addresses},
    )


def second_hypervisor(first: Path, second: Path) -> None:
    """Make the node under `second` a member of the cluster under `first`, without a network.

    Both have their settings; afterwards both have the same list of members, and the CA key.
    """
    from agentd import membership, pki
    from agentd.settings import load

    with _errors_told():
        ours, theirs = load(first), load(second)
        cluster = membership.load(ours.paths)
        if cluster is None:
            raise Trouble(f"{first} belongs to no cluster", USAGE, hint="svc ca init", code="invalid-request")
        issued = pki.sign_request(
            ours.paths, pki.make_key_and_request(theirs.paths, theirs.node), "hypervisor", theirs.node
        )
        authorities = ours.paths.ca_certificate.read_bytes()
        pki.install(theirs.paths, issued, authorities, cluster.name, "hypervisor", theirs.node)
        pki.install_ca_key(theirs.paths, ours.paths.ca_key.read_bytes())
        member = membership.Member(theirs.node, "hypervisor", _reached_at(theirs), pki.hash_of(issued))
        for paths in (ours.paths, theirs.paths):
            membership.save(paths, cluster.admit(member))


def node_join(arguments: Any, terminal: Terminal) -> int:
    """This node becomes the member that the token names."""
    from agentd.joining import join
    from agentd.settings import Paths

    try:
        with _errors_told():
            joined = join(arguments.token, Paths(Path(root_of(arguments))), split(arguments.listen))
    except Trouble as trouble:
        if trouble.code == "silent":
            trouble.exit_code = UNREACHABLE
        raise
    if joined.note:
        terminal.note(joined.note)
    return _done(
        terminal,
        f"{joined.node} is a {joined.role} of cluster {joined.cluster}; start agentd, or restart it",
        {"cluster": joined.cluster, "node": joined.node, "role": joined.role, "ca_key": joined.ca_key},
    )


def _done(terminal: Terminal, text: str, document: dict[str, Any]) -> int:
    terminal.document(document) if terminal.json else terminal.say(safe(text))
    return DONE
