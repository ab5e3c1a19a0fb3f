"""Settings: strict, told all at once, and each value knows where it came from."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from agentd.core.errors import InvalidConfig
from agentd.settings import Paths, User, load, parse_address, show_address
from agentd.settings_file import change


def write(root: Path, text: str | bytes) -> Path:
    file = Paths(root).settings_file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_without_a_file_everything_is_default_and_only_loopback_is_served(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.node == socket.gethostname().lower()
    assert settings.listen == (("127.0.0.1", 1216),)
    assert settings.join_listen == (("127.0.0.1", 1217),)
    assert settings.users == {}
    assert {k: o for k, _v, o in settings.explain()}["node"] == "the host name"


def test_values_and_their_origins(tmp_path: Path) -> None:
    file = write(tmp_path, """\
node = "HV1"
listen = ["10.0.0.1:2000", "[fd00::1]", "0.0.0.0:0"]
status_interval = 5

[users]
alice = "operator"
bob = {role = "editor", services = "web* db1"}
""")
    settings = load(tmp_path)
    assert settings.node == "hv1"
    assert settings.listen == (("10.0.0.1", 2000), ("fd00::1", 1216), ("0.0.0.0", 0))
    assert settings.join_listen == (("10.0.0.1", 1217), ("fd00::1", 1217), ("0.0.0.0", 1217))
    assert settings.users == {"alice": User("operator"), "bob": User("editor", ("web*", "db1"))}
    rows = {key: (value, origin) for key, value, origin in settings.explain()}
    assert rows["listen"] == (["10.0.0.1:2000", "[fd00::1]:1216", "0.0.0.0:0"], f"{file}:2")
    assert rows["status_interval"] == (5.0, f"{file}:3")
    assert rows["peer_timeout"] == (3.0, "default")


def test_every_problem_is_told_with_its_line_and_a_suggestion(tmp_path: Path) -> None:
    write(tmp_path, '# mine\nlissen = []\nworkers = 0\n[users]\nalice = "operater"\n')
    with pytest.raises(InvalidConfig) as caught:
        load(tmp_path)
    found = {f["option"]: f for f in caught.value.findings}
    assert found["lissen"] == {"section": "", "option": "lissen", "line": 2, "text": "unknown setting",
                               "hint": "did you mean listen?"}
    assert found["workers"]["line"] == 3
    assert found["users"]["hint"] == "did you mean operator?"
    assert "agentd.toml:2" in caught.value.text


@pytest.mark.parametrize("text", [
    'node = "../x"', 'node = "a b"', "node = 1", 'node = "10.0.0.1"', 'node = "a..b"', 'node = ""',
    'listen = "x"', 'listen = ["a:99999"]', 'listen = ["[::1"]', "listen = [1]", 'listen = ["a b:1"]',
    "status_interval = nan", "status_interval = inf", "status_interval = 0", "status_interval = true",
    'status_interval = "10"', "workers = 1.5", "workers = true", 'ca = "maybe"', 'socket_group = "a:b"',
    'users = "alice"', '[users]\nalice = "root"', '[users]\nalice = {role = "admin", more = 1}',
    '[users]\nalice = {role = "admin", services = ""}', '[users]\n"a b" = "admin"',
    "node = ", "node = 'a'\nnode = 'b'", b"\xff\xfe", b"node = '\x00'",
])
def test_bad_settings_are_refused(tmp_path: Path, text: str | bytes) -> None:
    write(tmp_path, text)
    with pytest.raises(InvalidConfig):
        load(tmp_path)


def test_a_byte_order_mark_is_accepted_and_a_fifo_or_a_giant_is_not(tmp_path: Path) -> None:
    file = write(tmp_path, b'\xef\xbb\xbfnode = "hv1"\r\n')
    assert load(tmp_path).node == "hv1"
    file.write_text("#" * (300 << 10))
    with pytest.raises(InvalidConfig, match="256 KiB"):
        load(tmp_path)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(InvalidConfig, match="regular"):
        load(tmp_path)


def test_the_cluster_comes_from_the_list_of_members(tmp_path: Path) -> None:
    write(tmp_path, 'node = "hv1"\n')
    Paths(tmp_path).cluster_file.write_text('name = "prod"\n')
    assert load(tmp_path).cluster == "prod"
    write(tmp_path, 'node = "hv1"\ncluster = "test"\n')
    with pytest.raises(InvalidConfig, match="member of cluster prod"):
        load(tmp_path)


def test_a_change_leaves_everything_else_as_it_was_written(tmp_path: Path) -> None:
    file = write(tmp_path, '# ours\nnode = "hv1"  # the name\nlisten = [\n  "127.0.0.1:1", # old\n]\n\n[users]\n'
                           'node = "viewer"\n')
    change(Paths(tmp_path), {"listen": ["10.0.0.1:1216"], "cluster": "prod"})
    assert file.read_text() == ('# ours\nnode = "hv1"  # the name\nlisten = ["10.0.0.1:1216"]\n\n'
                                'cluster = "prod"\n[users]\nnode = "viewer"\n')
    assert load(tmp_path).users == {"node": User("viewer")}


def test_a_change_that_would_be_wrong_leaves_the_old_file(tmp_path: Path) -> None:
    file = write(tmp_path, 'node = "hv1"\n')
    with pytest.raises(InvalidConfig):
        change(Paths(tmp_path), {"node": "no name"})
    assert file.read_text() == 'node = "hv1"\n'


def test_what_needs_a_restart(tmp_path: Path) -> None:
    write(tmp_path, 'node = "hv1"\n')
    old = load(tmp_path)
    write(tmp_path, 'node = "hv2"\nstatus_interval = 3\n')
    assert old.restart_needed(load(tmp_path)) == ("node",)


@pytest.mark.parametrize(("text", "address"), [
    ("a.b-c", ("a.b-c", 1216)), ("a:7", ("a", 7)), ("::1", ("::1", 1216)), ("[::1]:5", ("::1", 5)),
])
def test_addresses_read_and_written(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address
    assert parse_address(show_address(address)) == address


def test_a_running_daemon_takes_over_what_joining_wrote(tmp_path: Path) -> None:
    file = write(tmp_path, 'node = "vm1"\nstatus_interval = 5\n')
    before = load(tmp_path)
    assert before.after_joining(load(tmp_path)) is before
    change(Paths(tmp_path), {"node": "vm1", "cluster": "prod", "listen": ["0.0.0.0:7"]})
    change(Paths(tmp_path), {"status_interval": 9, "workers": 2})
    fresh = load(tmp_path)
    after = before.after_joining(fresh)
    assert (after.cluster, after.listen, after.join_listen) == ("prod", (("0.0.0.0", 7),), (("0.0.0.0", 1217),))
    assert (after.status_interval, after.workers) == (5.0, 8)
    rows = {key: origin for key, _value, origin in after.explain()}
    assert (rows["cluster"], rows["listen"], rows["node"]) == (f"{file}:3", f"{file}:4", f"{file}:1")
    assert after.restart_needed(fresh) == ("workers",)
    assert after.after_joining(before) is after


def test_a_node_of_a_cluster_does_not_change_it_while_it_runs(tmp_path: Path) -> None:
    write(tmp_path, 'node = "vm1"\ncluster = "prod"\n')
    before = load(tmp_path)
    write(tmp_path, 'node = "vm1"\ncluster = "test"\nlisten = ["0.0.0.0:7"]\n')
    assert before.after_joining(load(tmp_path)) is before


def test_a_long_list_of_members_does_not_keep_the_settings_from_being_read(tmp_path: Path) -> None:
    write(tmp_path, 'node = "hv1"\n')
    Paths(tmp_path).cluster_file.write_text('name = "prod"\n' + "# a member\n" * 100_000)
    assert load(tmp_path).cluster == "prod"
