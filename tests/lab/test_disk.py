"""A disk that is full or read-only under a daemon: a clear problem, the old content, and no container started."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .hypervisor import Hypervisor
from .machines import Lab
from .namespaces import until
from .seed import INTERVALS

WEB = "[DEFAULT]\nnodes = hv1\n[fs#1]\ntype = flag\n[container#0]\ntype = fake\nname = c0\nmachine = {machine}\n"


@pytest.fixture
def small(lab: Lab) -> Iterator[Hypervisor]:
    """A hypervisor whose daemon keeps its state on a disk of two megabytes; the service web is there, and down."""
    hv1 = lab.hypervisor("hv1")
    hv1.run(["mkdir", "-p", f"{hv1.root}/var/lib/encap"])
    hv1.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "none", f"{hv1.root}/var/lib/encap"])
    settings = "".join(f"{key} = {value}\n" for key, value in INTERVALS.items())
    hv1.run(["mkdir", "-p", f"{hv1.root}/etc/encap"])
    hv1.run(["tee", f"{hv1.root}/etc/encap/agentd.toml"], input=f'node = "hv1"\n{settings}')
    hv1.run(["tee", f"{hv1.root}/web.conf"], input=WEB.format(machine=hv1.disk / "fake"))
    with hv1.daemon():
        hv1.svc("create", "web", "--config", f"{hv1.root}/web.conf", check=True)
        yield hv1


def fill(hv1: Hypervisor) -> None:
    hv1.run(["dd", "if=/dev/zero", f"of={hv1.root}/var/lib/encap/ballast", "bs=4k"], check=False)
    hv1.run(["sh", "-c", f"cat /dev/zero > {hv1.root}/var/lib/encap/ballast2"], check=False)


def free(hv1: Hypervisor) -> None:
    hv1.run(["sh", "-c", f"rm -f {hv1.root}/var/lib/encap/ballast*"])


def container(hv1: Hypervisor) -> str:
    document = json.loads(hv1.svc("status", "web", "--refresh", "--json", check=True).stdout)
    return str(next(r["status"] for r in document["resources"] if r["rid"] == "container#0"))


def trouble(hv1: Hypervisor) -> str | None:
    found: str | None = json.loads(hv1.svc("daemon", "status", "--json", check=True).stdout)["trouble"]
    return found


def test_a_full_disk_refuses_what_has_to_be_kept_and_says_why(small: Hypervisor) -> None:
    before = small.run(["cat", f"{small.root}/etc/encap/services/web.conf"]).stdout
    fill(small)
    edit = small.svc("set", "web", "fs#1.comment=x")
    assert edit.returncode == 1
    assert "disk is full" in edit.stderr
    assert small.run(["cat", f"{small.root}/etc/encap/services/web.conf"]).stdout == before
    start = small.svc("start", "web")
    assert start.returncode == 1
    assert "disk is full" in start.stdout + start.stderr
    assert container(small) == "down"
    assert "disk is full" in str(trouble(small))
    free(small)
    assert small.svc("start", "web").returncode == 0
    assert container(small) == "up"
    until(lambda: trouble(small) is None, "the trouble is over", 20)


def test_a_stop_needs_no_disk(small: Hypervisor) -> None:
    small.svc("start", "web", check=True)
    fill(small)
    stopped = small.svc("stop", "web")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert container(small) == "down"
    free(small)


def test_a_read_only_disk_is_named(small: Hypervisor) -> None:
    texts = f"{small.root}/etc/encap/services"
    small.run(["mount", "--bind", texts, texts])
    small.run(["mount", "-o", "remount,bind,ro", texts])
    edit = small.svc("set", "web", "fs#1.comment=x")
    assert edit.returncode == 1
    assert "read-only" in edit.stderr
    small.run(["umount", texts])
    assert small.svc("set", "web", "fs#1.comment=x").returncode == 0
