# ruff: noqa: ASYNC240 a test may read a small file
from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.child import OUTPUT_LIMIT
from agentd.core.errors import ActionFailed, NotFound, Silent, StorageTrouble
from agentd.host import LocalHost
from drivers.base import CommandFailed
from drivers.base import Host as HostDoor

pytestmark = pytest.mark.real


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[LocalHost]:
    local = LocalHost(tmp_path)
    yield local
    await local.close()


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-c", code)


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


async def until(condition: object, seconds: float = 5) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.02)


async def test_it_is_the_door_that_drivers_expect(host: LocalHost) -> None:
    door: HostDoor = host
    assert (await door.probe("true")).code == 0


async def test_a_probe_takes_any_exit_code_and_keeps_the_outputs_apart(host: LocalHost) -> None:
    result = await host.probe("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (result.code, result.out, result.err) == (3, "out\n", "err\n")


async def test_a_change_that_fails_says_what_the_command_said(host: LocalHost) -> None:
    with pytest.raises(CommandFailed) as caught:
        await host.run("sh", "-c", "echo 'no such pool' >&2; exit 4")
    assert caught.value.text.endswith("exit 4: no such pool")
    assert caught.value.details["exit"] == 4


async def test_a_command_killed_by_a_signal_is_told_apart_from_an_exit(host: LocalHost) -> None:
    with pytest.raises(CommandFailed, match="killed by signal 9"):
        await host.run("sh", "-c", "kill -9 $$")


async def test_no_shell_reads_the_words(host: LocalHost) -> None:
    assert (await host.probe("echo", "$HOME; rm -rf /", "*")).out == "$HOME; rm -rf / *\n"


async def test_the_environment_is_small_and_fixed(
    host: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("SECRET", "x")
    said = dict(line.split("=", 1) for line in (await host.probe("env", env={"MINE": "1"})).out.splitlines())
    assert said.pop("PATH").startswith("/usr/local/sbin:")
    assert said == {"LC_ALL": "C", "LANG": "C", "ENCAP_ROOT": str(tmp_path), "MINE": "1"}


async def test_a_missing_tool_is_named_with_a_hint(host: LocalHost) -> None:
    with pytest.raises(NotFound) as caught:
        await host.probe("no-such-tool-anywhere")
    assert caught.value.text == "tool missing: no-such-tool-anywhere"
    assert "install" in caught.value.hint


async def test_a_missing_working_directory_is_not_called_a_missing_tool(host: LocalHost) -> None:
    with pytest.raises(NotFound, match="its working directory /no/where does not exist"):
        await host.run("true", cwd="/no/where")


async def test_a_word_with_nul_is_an_error_and_no_crash(host: LocalHost) -> None:
    with pytest.raises(ActionFailed, match="cannot start echo"):
        await host.probe("echo", "a\0b")


async def test_bytes_go_in_also_many_and_also_when_nobody_reads_them(host: LocalHost) -> None:
    data = b"x" * 300_000
    assert (await host.probe("wc", "-c", stdin=data)).out.strip() == "300000"
    assert (await host.probe("true", stdin=data)).code == 0
    assert (await host.probe("cat", stdin=b"")).out == ""


async def test_without_bytes_the_input_is_empty(host: LocalHost) -> None:
    assert (await host.probe("cat", timeout=5)).out == ""


async def test_a_flood_of_output_is_cut_with_a_mark_and_drained(host: LocalHost) -> None:
    result = await host.probe("head", "-c", "5000000", "/dev/zero")
    assert result.code == 0, "it was let to write all of it"
    assert result.out.endswith(f"[cut at {OUTPUT_LIMIT} bytes]")
    assert len(result.out) < OUTPUT_LIMIT + 100


async def test_a_deadline_kills_the_whole_group_and_counts_as_silence(
    host: LocalHost, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    script = f"echo $$ > {pids}; sleep 60 & echo $! >> {pids}; wait"
    began = time.monotonic()
    with pytest.raises(Silent, match=r"no answer within 0\.3 s"):
        await host.probe("sh", "-c", script, timeout=0.3)
    assert time.monotonic() - began < 2
    for pid in map(int, pids.read_text().split()):
        await until(lambda pid=pid: state_of(pid) in ("", "Z"))


async def test_a_command_that_ignores_sigterm_is_killed(
    host: LocalHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.child.GRACE", 0.2)
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    with pytest.raises(Silent):
        await host.probe(*python(code), timeout=0.5)


async def test_a_cancelled_caller_leaves_no_command_behind(host: LocalHost, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    task = asyncio.create_task(host.run("sh", "-c", f"echo $$ > {file}; exec sleep 60"))
    await until(lambda: file.exists() and file.read_text().strip())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await host.close()
    assert state_of(int(file.read_text())) == "", "ended and reaped"


async def test_a_child_in_the_background_does_not_hold_up_the_answer_nor_is_it_hurt(
    host: LocalHost, tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    began = time.monotonic()
    loop = "while :; do echo tick; sleep 0.05; done"
    await host.run("sh", "-c", f"setsid sh -c '{loop}' & echo $! > {file}")
    assert time.monotonic() - began < 2
    pid = int(file.read_text())
    await asyncio.sleep(0.4)
    assert state_of(pid) not in ("", "Z"), (
        "its output is still read, so that it does not die of a closed pipe"
    )
    os.killpg(pid, signal.SIGKILL)
    await until(lambda: state_of(pid) in ("", "Z"))


async def test_no_more_than_the_limit_run_at_a_time_and_changes_do_not_wait_for_probes(
    tmp_path: Path,
) -> None:
    host = LocalHost(tmp_path, limit=2)
    began = time.monotonic()
    probes = [asyncio.create_task(host.probe("sleep", "0.4")) for _ in range(4)]
    await asyncio.sleep(0.05)
    await host.run("true")
    assert time.monotonic() - began < 0.4
    await asyncio.gather(*probes)
    assert 0.8 <= time.monotonic() - began < 2
    await host.close()


async def test_a_spawned_process_is_a_session_of_its_own_and_becomes_no_zombie(
    host: LocalHost, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    pid = await host.spawn(("sh", "-c", "echo hello; exec sleep 60"), log=str(log), cwd=str(tmp_path))
    await until(lambda: log.exists() and log.read_text() == "hello\n")
    assert os.getsid(pid) == pid
    assert await host.kill(pid, signal.SIGKILL)
    await until(lambda: state_of(pid) == "")
    assert not await host.kill(pid, signal.SIGKILL), "gone already"


async def test_a_spawned_process_outlives_the_daemon(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = (
        "import asyncio, sys; from pathlib import Path; from agentd.host import LocalHost\n"
        "async def main():\n"
        f"    pid = await LocalHost(Path('/tmp')).spawn(('sleep', '60'), log={str(tmp_path / 'log')!r})\n"
        f"    Path({str(file)!r}).write_text(str(pid))\n"
        "asyncio.run(main())"
    )
    path = os.pathsep.join(word or str(Path.cwd()) for word in sys.path)
    daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env={"PYTHONPATH": path})
    assert await daemon.wait() == 0
    pid = int(file.read_text())
    assert state_of(pid) in "SR"
    os.kill(pid, signal.SIGKILL)


async def test_a_log_that_is_a_link_is_refused(host: LocalHost, tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageTrouble):
        await host.spawn(("true",), log=str(tmp_path / "log"))
    assert not (tmp_path / "elsewhere").exists()


async def test_process_one_and_every_process_are_never_signalled(host: LocalHost) -> None:
    for pid in (1, 0, -1):
        with pytest.raises(ActionFailed, match="none of ours"):
            await host.kill(pid, signal.SIGTERM)


async def test_files(host: LocalHost, tmp_path: Path) -> None:
    folder, file = str(tmp_path / "a/b"), str(tmp_path / "a/b/c")
    with pytest.raises(NotFound):
        await host.read(file)
    await host.make_directory(folder)
    await host.write(file, "one\n", 0o640)
    assert Path(file).stat().st_mode & 0o777 == 0o640
    assert await host.read(file) == "one\n"
    assert await host.read(file, 2) == "on"
    assert await host.exists(file)
    await host.remove(file)
    await host.remove(file)
    assert not await host.exists(file)


async def test_a_fifo_in_the_place_of_a_file_holds_nobody(host: LocalHost, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert await asyncio.wait_for(host.read(str(tmp_path / "fifo")), 2) == ""


async def test_a_directory_in_the_place_of_a_file_is_a_clear_error(host: LocalHost, tmp_path: Path) -> None:
    with pytest.raises(StorageTrouble, match="cannot read"):
        await host.read(str(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
async def test_a_command_runs_as_another_user_with_a_umask(host: LocalHost) -> None:
    result = await host.run("sh", "-c", "id -un; id -gn; umask; echo $HOME", user="nobody", umask=0o27)
    assert result.out.split() == ["nobody", "nogroup", "0027", "/nonexistent"]
    assert (await host.probe("id", "-gn", user="nobody:daemon")).out.strip() == "daemon"


async def test_an_unknown_user_is_named(host: LocalHost) -> None:
    with pytest.raises(NotFound, match="no such user or group: nobody-at-all"):
        await host.run("true", user="nobody-at-all")


async def test_fifty_trivial_commands_cost_little(host: LocalHost) -> None:
    began = time.monotonic()
    for _ in range(50):
        await host.run("true")
    assert (time.monotonic() - began) / 50 < 0.02, "5 ms each on an idle machine, with room for a busy one"
