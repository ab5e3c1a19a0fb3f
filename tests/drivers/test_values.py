"""Hostile and odd texts in the keywords of drivers: refused with a sentence, or meaning what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agentd.core.errors import ActionFailed, NotFound
from agentd.core.status import Status
from drivers import processes
from drivers.app.base import account, environment, launcher, octal, return_codes
from drivers.app.systemd import object_path, unit_name
from drivers.container.base import container_name
from drivers.container.jail import addresses_of
from drivers.container.lxc import signal_name
from drivers.container.tools import usable
from drivers.container.vbox import account as owner
from drivers.container.xen import restores
from drivers.container.zone import attach_options
from drivers.fs.directory import permissions
from drivers.fs.mounted import mount_options, source
from drivers.fs.mountinfo import mounted_on, mounts
from drivers.ip.host import address_or_name, interface, network
from drivers.ip.links import links, prefix

from .memory import MemoryHost
from .transcript import Player


@pytest.mark.parametrize(
    ("convert", "text"),
    [
        (container_name, "../etc"),
        (container_name, "-rf"),
        (container_name, "a/b"),
        (container_name, "a b"),
        (container_name, "a..b"),
        (container_name, "ünï"),
        (container_name, "x" * 65),
        (signal_name, "SIGKILL; reboot"),
        (addresses_of, "192.0.2.7 -R"),
        (addresses_of, "192.0.2.300"),
        (addresses_of, "em0|192.0.2.7/24"),
        (attach_options, "-u -R /"),
        (attach_options, "--help"),
        (owner, "-u"),
        (owner, "root:wheel"),
        (owner, "a b"),
        (source, "-o remount"),
        (source, "../../dev/sda"),
        (source, "UUID=$(reboot)"),
        (mount_options, "rw -o suid"),
        (mount_options, "-o"),
        (address_or_name, "-I"),
        (address_or_name, "10.0.0.1 dev eth1"),
        (address_or_name, ""),
        (interface, "-6"),
        (interface, "eth0;reboot"),
        (interface, "a" * 16),
        (interface, "../lo"),
        (network, "10.0.0.1/8"),
        (prefix, "129"),
        (prefix, "255.0.255.0"),
        (prefix, "wide"),
        (permissions, "rwxr-x"),
        (permissions, "99"),
        (launcher, "/bin/up 'open"),
        (launcher, "-c evil"),
        (environment, "A='open"),
        (environment, "2A=b"),
        (environment, "A"),
        (return_codes, "0=up"),
        (return_codes, "0:running"),
        (return_codes, "x:up"),
        (octal, "0999"),
        (octal, "abc"),
        (account, "root:root"),
        (account, "-u"),
        (unit_name, "a/b.service"),
        (unit_name, "-h"),
        (unit_name, "a b"),
    ],
)
def test_refused_with_a_sentence(convert: Callable[[str], Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        convert(text)
    assert len(str(caught.value)) > 10


@pytest.mark.parametrize(
    ("convert", "text", "value"),
    [
        (launcher, "true", True),
        (launcher, "No", False),
        (launcher, "", False),
        (launcher, "10", 10),
        (launcher, "0", 0),
        (launcher, "/bin/a 'b c' \\; d", ("/bin/a", "b c", ";", "d")),
        (environment, "A=1 B='two words' C=", {"A": "1", "B": "two words", "C": ""}),
        (return_codes, "0:up 3:n/a", {0: Status.UP, 3: Status.NA}),
        (octal, "022", 0o22),
        (permissions, "0750", "750"),
        (permissions, "0000", "0"),
        (prefix, "/24", 24),
        (prefix, "255.255.240.0", 20),
        (prefix, "ffffff00", 24),
        (unit_name, "nginx", "nginx.service"),
        (unit_name, "a.timer", "a.timer"),
        (unit_name, "getty@tty1.service", "getty@tty1.service"),
        (source, "LABEL=data", "LABEL=data"),
        (addresses_of, "192.0.2.7,192.0.2.8  2001:db8::7", ("192.0.2.7", "192.0.2.8", "2001:db8::7")),
        (attach_options, "-x deny-zbe-clone", ("-x", "deny-zbe-clone")),
        (owner, "vbox_1", "vbox_1"),
        (container_name, " deb1.opensvc.com ", "deb1.opensvc.com"),
    ],
)
def test_means(convert: Callable[[str], Any], text: str, value: object) -> None:
    assert convert(text) == value
    assert type(convert(text)) is type(value)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("XENDOMAINS_SAVE=/var/lib/xen/save\nXENDOMAINS_RESTORE=true\n", True),
        ("XENDOMAINS_SAVE='/s' # here\n XENDOMAINS_RESTORE=true", True),
        ("XENDOMAINS_SAVE=\nXENDOMAINS_RESTORE=true\n", False),
        ("XENDOMAINS_SAVE=/s\nXENDOMAINS_RESTORE=false\n", False),
        ("# XENDOMAINS_SAVE=/s\nXENDOMAINS_RESTORE=true\n", False),
        ("", False),
    ],
)
def test_what_saves_and_restores_xen_domains(settings: str, expected: bool) -> None:
    assert restores(settings) is expected


def test_addresses_that_others_can_reach() -> None:
    words = ["::1", "2001:db8::7/64", "127.0.0.1", "0.0.0.0", "192.0.2.7/24", "fe80::1", "dhcp", "", "-"]
    assert usable(words) == ("192.0.2.7", "2001:db8::7")


def test_the_place_of_a_unit_on_the_bus() -> None:
    assert object_path("a-b@1.service").endswith("/unit/a_2db_401_2eservice")
    assert object_path("9p.mount").endswith("/unit/_39p_2emount")


@pytest.mark.parametrize("text", ["", "null", "[1]", '[{"ifname": 1}]', '{"a": 1}', "[{]"])
def test_an_output_of_ip_that_makes_no_sense_is_no_empty_machine(text: str) -> None:
    with pytest.raises(ActionFailed):
        links(text)


def test_the_table_of_mounts_with_odd_lines() -> None:
    first, second = (
        r"1 2 8:1 / /a\040b\134c rw - ext4 /dev/sda1 rw",
        "1 2 8:2 / /x rw,relatime - xfs /dev/sdb ro",
    )
    text = f"nonsense\n\n{first}\n{second}\n"
    assert [mount.point for mount in mounts(text)] == ["/a b\\c", "/x"]
    found = mounted_on(text, "/x")
    assert found is not None
    assert found.read_only
    assert mounted_on(text, "/y") is None


async def test_a_record_of_another_boot_or_start_is_not_the_process() -> None:
    host = MemoryHost()
    host.files["/proc/7/stat"] = f"7 (a b) c) S{' 0' * 18} 500 0"
    host.files["/proc/sys/kernel/random/boot_id"] = "one\n"
    known = await processes.remember(host, "/run/pid", 7)
    assert known == processes.Started(7, 500, "one")
    assert await processes.recall(host, "/run/pid") == known
    assert await processes.alive(host, known) == "S"
    assert not await processes.alive(host, processes.Started(7, 501, "one"))
    assert not await processes.alive(host, processes.Started(7, 500, "two"))
    host.files["/proc/7/stat"] = host.files["/proc/7/stat"].replace(") S", ") Z")
    assert not await processes.alive(host, known), "a zombie runs no more"
    assert await processes.remember(host, "/run/other", 7) is None
    assert "/run/other" not in host.files


def test_the_player_takes_no_call_that_is_not_written() -> None:
    with pytest.raises(AssertionError):
        asyncio.run(Player(["probe true => 0"]).probe("false"))
    with pytest.raises(AssertionError, match="the transcript is over"):
        asyncio.run(Player([]).probe("true"))
    with pytest.raises(NotFound):
        asyncio.run(Player(["probe true => missing"]).probe("true"))
