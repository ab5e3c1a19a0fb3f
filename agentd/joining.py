"""The joining side: how a node gets its certificate, by a token or over its driver's pipe.

By token: the CA certificate is fetched first and compared with the hash in the token; only
then, over a second connection that is verified against that CA, the secret is told.
Blocking code: it runs in the command line, or in the guest for a moment.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from agentd import certificate, membership, pki, settings_file
from agentd.core.errors import EncapError, InvalidRequest, Refused, Silent
from agentd.identity import identity_of, is_name
from agentd.membership import Cluster, Member
from agentd.settings import Paths, Settings, load, parse_address, show_address
from agentd.tokens import Token, parse_token

TIMEOUT = 10.0
ANSWER_LIMIT = 4 << 20
BUNDLE = "encap.join/1"


@dataclass(frozen=True, slots=True)
class Joined:
    """`ca_key`: whether this hypervisor can sign certificates now; `note` says why not."""

    cluster: str
    node: str
    role: str
    ca_key: bool = False
    note: str = ""


def join(text: str, paths: Paths, listen: Sequence[str] = ()) -> Joined:
    """Join by a token. `listen`: where this node is to listen and be found, instead of what its
    settings say.

    Safe to repeat with another token after a failure: the key is kept.
    """
    token = parse_token(text)
    settings = load(paths.root)
    _check_node(settings, token.name)
    _check_not_joined(paths, token)
    addresses = [show_address(parse_address(each)) for each in listen]
    written = [show_address(each) for each in settings.listen] if "listen" in settings.origins else []
    request = {"token": token.secret, "csr": pki.make_key_and_request(paths, token.name).decode(),
               "address": _reachable(addresses or written) if token.role == "hypervisor" else ""}
    answer = _ask_first_that_answers(token, request)
    issued, bundled = _text(answer, "certificate"), _text(answer, "ca")
    if token.ca_key_hash not in map(certificate.key_hash, certificate.all_of(bundled)):
        raise Refused("the answer brings another CA than the token names", code="wrong-ca")
    values: dict[str, settings_file.Value] = {"node": token.name, "cluster": token.cluster}
    if addresses:
        values["listen"] = addresses
    settings_file.change(paths, values)
    cluster = None
    if token.role == "hypervisor":
        cluster = membership.from_document(answer.get("members"))
        membership.save(paths, cluster)
    pki.install(paths, issued.encode(), bundled.encode(), token.cluster, token.role, token.name)
    return _joined(paths, settings, token, cluster)


def _joined(paths: Paths, settings: Settings, token: Token, cluster: Cluster | None) -> Joined:
    if cluster is None or settings.ca == "offline":
        return Joined(token.cluster, token.name, token.role)
    try:
        fetch_ca_key(paths, cluster, token.issuer)
    except EncapError as error:
        note = f"no CA key from {token.issuer}, so guests cannot be signed here: {error}"
        return Joined(token.cluster, token.name, token.role, note=note)
    return Joined(token.cluster, token.name, token.role, ca_key=True)


def fetch_ca_key(paths: Paths, cluster: Cluster, node: str) -> None:
    """Get the CA key from another hypervisor over its main listener, and keep it."""
    member = cluster.member(node)
    if member is None or not member.address:
        raise Silent(f"the address of {node} is not known", code="no-address")
    raw = _call(member.address, pki.client_context(paths), node, "GET", "/v1/cluster/ca-key",
                expect=(cluster.name, node))
    pki.install_ca_key(paths, raw)


def _ask_first_that_answers(token: Token, request: Mapping[str, str]) -> dict[str, Any]:
    """Each address in turn; a refusal is final, silence is not."""
    silent: list[str] = []
    for address in token.addresses:
        try:
            authorities = _fetch_ca(address, token)
            raw = _call(address, _pinned(authorities), token.issuer, "POST", "/v1/join", body=request,
                        expect=(token.cluster, token.issuer))
            return _document(raw)
        except Silent as error:
            silent.append(error.text)
    raise Silent(f"{token.issuer} does not answer: {'; '.join(silent) or 'the token names no address'}",
                 hint="its join listener is open only while a token is unspent")


def _fetch_ca(address: str, token: Token) -> bytes:
    """The CA certificate whose key is the one in the token. The server is not trusted for it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    raw = _call(address, context, token.issuer, "GET", "/v1/ca", expect=None)
    for der in certificate.all_of(raw):
        if certificate.key_hash(der) == token.ca_key_hash:
            return ssl.DER_cert_to_PEM_cert(der).encode()
    raise Refused(f"the server at {address} is not of the cluster that the token is for", code="wrong-ca",
                  hint="nothing was told to it; is somebody between this node and the hypervisor?")


def _pinned(authorities: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=authorities.decode("ascii"))
    return context


class _Connection(http.client.HTTPSConnection):
    """HTTPS to an address, with the node's name in the handshake."""

    def __init__(self, address: str, context: ssl.SSLContext, name: str) -> None:
        host, port = parse_address(address)
        super().__init__(host, port, context=context, timeout=TIMEOUT)
        self._tls, self._server_name = context, name

    def connect(self) -> None:
        plain = socket.create_connection((self.host, self.port), TIMEOUT)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self._server_name)
        except BaseException:
            plain.close()
            raise


def _call(address: str, context: ssl.SSLContext, name: str, method: str, path: str, *,
          expect: tuple[str, str] | None, body: Mapping[str, str] | None = None) -> bytes:
    """The body of a 200. `expect`: (cluster, hypervisor) that the certificate must say before
    anything is sent. Raises the problem that the server told, or Silent."""
    connection = _Connection(address, context, name)
    try:
        connection.connect()
        if expect is not None and isinstance(connection.sock, ssl.SSLSocket):
            found = identity_of(connection.sock.getpeercert(), expect[0])
            if (found.role, found.name) != ("hypervisor", expect[1]):
                raise Refused(f"{address} is {found.role} {found.name}, not {expect[1]}", code="wrong-peer")
        content = json.dumps(body).encode() if body is not None else None
        connection.request(method, path, content, {"content-type": "application/json"} if content else {})
        response = connection.getresponse()
        raw = response.read(ANSWER_LIMIT)
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"{address} shows a certificate that is not of the cluster: {error.verify_message}",
                      code="wrong-ca") from error
    except (OSError, http.client.HTTPException) as error:
        raise Silent(f"{address}: {str(error) or type(error).__name__}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise _problem(raw, response.status)
    return raw


def _problem(raw: bytes, status: int) -> EncapError:
    try:
        document = _document(raw)
    except InvalidRequest:
        document = {}
    return Refused(str(document.get("detail") or f"the server answered {status}"),
                   code=str(document.get("code") or "refused"), hint=str(document.get("hint") or ""))


def _document(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("the answer cannot be read", code="invalid-reply") from error
    if not isinstance(document, dict):
        raise InvalidRequest("the answer cannot be read", code="invalid-reply")
    return document


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise InvalidRequest(f"the answer has no {key}", code="invalid-reply")
    return value


def _check_node(settings: Settings, name: str) -> None:
    if settings.origins.get("node", "").startswith("/") and settings.node != name:
        raise Refused(f"the settings call this node {settings.node}, and the certificate is for {name}",
                      code="other-node", hint="make a token for the right name, or remove the setting `node`")


def _check_not_joined(paths: Paths, token: Token) -> None:
    if paths.certificate.exists() and pki.own_identity(paths) != (token.cluster, token.role, token.name):
        raise Refused(f"this node is {'/'.join(pki.own_identity(paths))} already", code="has-cluster",
                      hint=f"move {paths.pki_dir} away to let it join another cluster")


def _reachable(addresses: Sequence[str]) -> str:
    """The first address that others can use; "" leaves it to the server, which sees ours."""
    known = ((each, parse_address(each)) for each in addresses)
    return next((each for each, (host, port) in known if host not in ("0.0.0.0", "::") and port), "")


# Over the pipe of a container driver


def guest_bundle(paths: Paths, csr: bytes, guest: str, listen: Sequence[str]) -> bytes:
    """The host's answer to a guest's signing request: one line for `agentd join --pipe --install`.

    `listen`: ``host:port`` where the guest's agent is to listen. Record the guest with
    `guest_member` in the list of members too.
    """
    cluster = membership.load(paths)
    if cluster is None:
        raise Refused("this node belongs to no cluster", code="not-enrolled",
                      hint="svc ca init --cluster NAME")
    cluster.check_name(guest, "guest")
    document = {
        "schema": BUNDLE, "cluster": cluster.name, "node": guest,
        "listen": [show_address(parse_address(each)) for each in listen],
        "certificate": pki.sign_request(paths, csr, "guest", guest).decode(),
        "ca": paths.ca_certificate.read_text("ascii"),
    }
    return json.dumps(document).encode() + b"\n"


def guest_member(csr: bytes, guest: str) -> Member:
    """The guest as a member: the key of its request is the one that it is known by."""
    return Member(guest, "guest", "", pki.request_hash(csr))


def pipe_request(paths: Paths, node: str, out: BinaryIO) -> None:
    """In the guest: the signing request, and nothing else, on `out`."""
    out.write(pki.make_key_and_request(paths, node))
    out.flush()


def pipe_install(paths: Paths, source: BinaryIO) -> Joined:
    """In the guest: read the host's bundle, one line, and put everything in place."""
    document = _document(source.readline(ANSWER_LIMIT))
    cluster, node, listen = _text(document, "cluster"), _text(document, "node"), document.get("listen")
    if document.get("schema") != BUNDLE or not is_name(cluster) or not is_name(node):
        raise InvalidRequest(f"this is no {BUNDLE} document", code="invalid-reply")
    if not isinstance(listen, list) or not all(isinstance(each, str) for each in listen):
        raise InvalidRequest("the bundle says not where to listen", code="invalid-reply")
    _check_node(load(paths.root), node)
    settings_file.change(paths, {"node": node, "cluster": cluster,
                                 "listen": [show_address(parse_address(each)) for each in listen]})
    pki.install(paths, _text(document, "certificate").encode(), _text(document, "ca").encode(),
                cluster, "guest", node)
    return Joined(cluster, node, "guest")


def pipe(paths: Paths, node: str, source: BinaryIO = sys.stdin.buffer,
         out: BinaryIO = sys.stdout.buffer) -> Joined:
    """Both halves over one pipe."""
    pipe_request(paths, node, out)
    return pipe_install(paths, source)
