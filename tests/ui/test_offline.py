"""The commands that ask no daemon, and TLS to one far away with the certificates that they make."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd import membership, pki
from agentd.settings import Paths, load
from agentd.tokens import Token
from cli.main import main
from cli.offline import second_hypervisor

Svc = Callable[..., tuple[int, str, str]]
CONFIG = """[DEFAULT]
nodes = hv1 hv2
encapnodes = vm1
nodes@encapnodes = vm1

[container#0]
type = process
hostname = vm1

[fs#1]
type = flag

[ip#1]
type = fake
tags = encap
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "deb1.conf"
    path.write_text(CONFIG)
    return path


def test_validate(svc: Svc, file: Path) -> None:
    assert svc("config", "validate", str(file))[:2] == (0, f"{file}: 0 errors, 0 warnings\n")
    file.write_text(CONFIG + "[fs#2]\ntype = ext4\nfoo = 1\n")
    code, out, _ = svc("config", "validate", str(file), "--json")
    findings = json.loads(out)
    assert code == 1
    assert {"mnt", "dev"} <= {f["option"] for f in findings["errors"]}
    assert "foo" in {f["option"] for f in findings["warnings"]}
    assert set(findings["errors"][0]) == {"section", "option", "line", "text", "hint"}
    assert svc("config", "validate", str(file.parent / "nope"))[0] == 2


def test_eval(svc: Svc, file: Path) -> None:
    code, out, _ = svc("config", "eval", str(file), "--node", "VM1", "--json")
    assert code == 0
    view = json.loads(out)
    assert (view["level"], view["nodes"]) == ("encap", ["vm1"])
    assert view["sections"]["ip#1"] == {"type": "fake", "tags": "encap"}
    assert "fs#1" not in view["sections"]
    assert "[fs#1]\ntype = flag\n" in svc("config", "eval", str(file), "--node", "hv1")[1]
    assert svc("config", "eval", str(file))[0] == 2
    file.write_text("nothing")
    assert svc("config", "eval", str(file), "--node", "hv1")[0] == 2


def test_tree(svc: Svc, tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    for text in ("{", "[]", '{"schema": "x"}', '{"schema": "encap.status/1"}', "[" * 100000):
        path.write_text(text)
        code, out, err = svc("tree", str(path))
        assert (code, out) == (2, "")
        assert err.startswith("svc: ")


def test_ca_and_nodes(svc: Svc, root: Path) -> None:
    assert svc("node", "init", "--node", "HV1", "--listen", "127.0.0.1:5001")[0] == 0
    assert svc("ca", "init", "--cluster", "prod")[0] == 0
    assert svc("ca", "init", "--cluster", "prod")[0] == 6
    paths = Paths(root)
    cluster = membership.load(paths)
    assert cluster
    assert [(m.name, m.role, m.address) for m in cluster.members] == [("hv1", "hypervisor", "127.0.0.1:5001")]
    assert svc("node", "init", "--listen", "127.0.0.1:5002,[::1]:5003")[0] == 0
    assert load(root).listen == (("127.0.0.1", 5002), ("::1", 5003))
    assert membership.load(paths).member("hv1").address == "127.0.0.1:5002"  # type: ignore[union-attr]
    assert svc("node", "init")[0] == 2
    assert svc("node", "init", "--listen", "127.0.0.1:99999")[0] == 2
    assert load(root).listen[0] == ("127.0.0.1", 5002)


def test_a_second_hypervisor_without_a_network(svc: Svc, root: Path) -> None:
    svc("node", "init", "--node", "hv1", "--listen", "127.0.0.1:5001")
    svc("ca", "init", "--cluster", "prod")
    second = root / "second"
    assert main(["node", "init", "--node", "hv2", "--listen", "127.0.0.1:5002", "--root", str(second)]) == 0
    second_hypervisor(root, second)
    assert membership.load(Paths(root)) == membership.load(Paths(second))
    assert pki.own_identity(Paths(second)) == ("prod", "hypervisor", "hv2")
    assert Paths(second).ca_key.stat().st_mode & 0o777 == 0o400


@pytest.fixture
def endpoint(svc: Svc, root: Path) -> tuple[socket.socket, str]:
    """A TLS listener with the certificate of hv1; user.crt and so on in ROOT/alice."""
    svc("node", "init", "--node", "hv1")
    svc("ca", "init", "--cluster", "prod")
    assert svc("ca", "user", "alice", "--days", "2", "--out", str(root / "alice"))[0] == 0
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, f"https://127.0.0.1:{listener.getsockname()[1]}"


def serve(listener: socket.socket, paths: Paths) -> threading.Thread:
    context = pki.server_context(paths)

    def answer() -> None:
        connection, _ = listener.accept()
        connection.settimeout(5)
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                if not secure.recv(65536):  # it went away in the middle of the handshake
                    return
                body = json.dumps({"node": "hv1", "peer": str(secure.getpeercert())}).encode()
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except OSError:
            connection.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    return thread


@pytest.mark.socket
def test_another_machine(svc: Svc, root: Path, endpoint: tuple[socket.socket, str]) -> None:
    listener, url = endpoint
    with listener:
        thread = serve(listener, Paths(root))
        code, out, err = svc("daemon", "status", "--server", url, "--cert", str(root / "alice"), "--json")
        thread.join(5)
    assert (code, err) == (0, "")
    assert "encap://prod/user/alice" in json.loads(out)["peer"]


@pytest.mark.socket
def test_a_user_is_no_server(svc: Svc, root: Path, endpoint: tuple[socket.socket, str]) -> None:
    """A person's certificate of the same CA does not make a daemon."""
    listener, url = endpoint
    paths = Paths(root)
    for mine, theirs in (("user.crt", paths.certificate), ("user.key", paths.key)):
        theirs.write_bytes((root / "alice" / mine).read_bytes())
    with listener:
        thread = serve(listener, paths)
        code, _, err = svc("daemon", "status", "--server", url, "--cert", str(root / "alice"))
        thread.join(5)
    assert code == 6
    assert "127.0.0.1" in err


@pytest.mark.socket
def test_another_cluster(svc: Svc, root: Path, endpoint: tuple[socket.socket, str]) -> None:
    listener, url = endpoint
    other = Paths(root / "other")
    pki.init_ca(other, "prod", "hv1")
    with listener:
        thread = serve(listener, other)
        code, _, err = svc("daemon", "status", "--server", url, "--cert", str(root / "alice"))
        thread.join(5)
    assert code == 6
    assert "not trusted" in err


@pytest.mark.socket
def test_nobody_there(svc: Svc, root: Path, endpoint: tuple[socket.socket, str]) -> None:
    listener, url = endpoint
    listener.close()
    assert svc("daemon", "status", "--server", url, "--cert", str(root / "alice"))[0] == 5
    assert svc("daemon", "status", "--server", url, "--cert", str(root / "nope"))[0] == 2


def test_plan(svc: Svc, file: Path) -> None:
    code, out, _ = svc("plan", str(file), "start", "--node", "hv1", "--json")
    plan = json.loads(out)
    assert (code, plan["schema"], plan["service"], plan["node"]) == (0, "encap.plan/1", "deb1", "hv1")
    assert [(s["where"], s["what"]) for s in plan["steps"]] == [
        ("hv1", "fs#1"), ("hv1", "container#0"), ("vm1", "deb1"), ("vm1", "ip#1"),
    ]  # fmt: skip
    delegated = plan["steps"][2]["id"]
    assert plan["steps"][3]["under"] == delegated
    assert "hv1  stop  container#0" in svc("plan", str(file), "stop", "--node", "hv1")[1]


def test_a_group_verb_needs_a_level(svc: Svc, file: Path) -> None:
    code, out, err = svc("plan", str(file), "startfs", "--node", "hv1")
    assert (code, out) == (2, "")
    assert all(option in err for option in ("--master", "--slave", "--slaves"))
    master = json.loads(svc("plan", str(file), "startfs", "--node", "hv1", "--master", "--json")[1])
    assert [s["what"] for s in master["steps"]] == ["fs#1"]
    assert svc("plan", str(file), "startip", "--node", "hv1", "--slave", "nope")[0] == 2
    assert svc("plan", str(file), "migrate", "--node", "hv1")[0] == 2
    assert svc("plan", str(file), "start")[0] == 2


def test_explain(svc: Svc) -> None:
    code, out, _ = svc("explain", "fs.mnt")
    assert code == 0
    assert "mnt" in out
    assert json.loads(svc("explain", "DEFAULT.nodes", "--json")[1])["topic"] == "DEFAULT.nodes"
    assert svc("explain", "fs.nope")[0] == 7


def test_join_refuses_what_is_no_token(svc: Svc, root: Path) -> None:
    assert svc("node", "join", "abc")[0] == 2
    assert not (root / "var").exists()


@pytest.mark.socket
def test_join_where_nobody_answers(svc: Svc, root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    token = Token("prod", "hypervisor", "hv2", "hv1", (f"127.0.0.1:{port}",), "sha256:" + "0" * 64, "s" * 43)
    code, out, err = svc("node", "join", str(token))
    assert (code, out) == (5, "")
    assert "hv1 does not answer" in err
