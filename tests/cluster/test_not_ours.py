"""What was there before an operation, in whatever state, is not stopped by the undo of that operation."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Machine, rows

pytestmark = pytest.mark.socket

FAILING = "[app#9]\ntype = fake\nmachine = {folder}/app\n"
"""Comes last and cannot be started, so that all before it is taken back."""


class Fakes:
    """Resources of the type fake, each with a folder that holds its state and its orders."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.folder = machine, machine.root / "fakes"
        self.order("app", "fail start")

    def create(self, text: str) -> None:
        self.machine.create("[DEFAULT]\nnodes = hv1\n" + (text + FAILING).format(folder=self.folder))

    def order(self, name: str, *orders: str) -> None:
        self._file(name, "orders").write_text("".join(f"{each}\n" for each in orders))

    def put(self, name: str, state: str) -> None:
        self._file(name, "state").write_text(f"{state}\n")

    def state(self, name: str) -> str:
        return self._file(name, "state").read_text().strip()

    def _file(self, name: str, kind: str) -> Path:
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        return self.folder / name / kind


@pytest.fixture
def fakes(machine: Machine) -> Fakes:
    return Fakes(machine)


def test_a_paused_container_survives_a_start_that_is_refused(fakes: Fakes) -> None:
    fakes.create("[container#1]\ntype = fake\nname = c1\nmachine = {folder}/c1\n")
    fakes.put("c1", "paused")
    refused = fakes.machine.svc("start", "web")
    assert (refused.returncode, "c1 is paused" in refused.stderr + refused.stdout) == (1, True)
    assert fakes.state("c1") == "paused"


@pytest.mark.parametrize("before", ["warn", "undef"])
def test_what_was_not_proven_down_stays_as_the_start_left_it(fakes: Fakes, before: str) -> None:
    fakes.create("[fs#1]\ntype = fake\nmachine = {folder}/fs1\n[fs#2]\ntype = fake\nmachine = {folder}/fs2\n")
    fakes.put("fs1", before)
    assert fakes.machine.svc("start", "web").returncode == 1
    assert (fakes.state("fs1"), fakes.state("fs2")) == ("up", "down")


def test_a_degraded_application_is_not_ended_by_a_start_that_did_not_mend_it(fakes: Fakes) -> None:
    check = fakes.machine.file("check", "#!/bin/sh\nexit 7\n")
    Path(check).chmod(0o755)
    fakes.create(f"[app#1]\ntype = simple\nstart = /bin/sleep 1000\ncheck = {check}\n")
    assert fakes.machine.svc("start", "web", "--rid", "app#1").returncode == 1, "it was down: it is taken back"
    Path(check).write_text("#!/bin/sh\nexit 0\n")
    fakes.machine.ok("start", "web", "--rid", "app#1")
    Path(check).write_text("#!/bin/sh\nexit 7\n")
    assert fakes.machine.svc("start", "web").returncode == 1
    assert rows(fakes.machine.status("web", "--refresh"))["app#1"] == "warn"


def test_a_start_that_does_not_answer_of_what_was_there_is_not_known_and_left_alone(fakes: Fakes) -> None:
    fakes.create("[fs#1]\ntype = fake\nhang_timeout = 1\nmachine = {folder}/fs1\n")
    fakes.put("fs1", "warn")
    fakes.order("fs1", "hang start")
    assert fakes.machine.svc("start", "web").returncode == 4
    assert fakes.state("fs1") == "warn"
