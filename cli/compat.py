"""Status in the shape and with the exit codes of OpenSVC 1.5, for the `svcmgr` spelling. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

TYPE_CHECKING = False  # as in cli.main
if TYPE_CHECKING:
    from typing import Any

GROUPS = ("container", "ip", "disk", "fs", "share", "sync", "app", "hb")
CODES = {"up": 0, "down": 1, "warn": 2, "n/a": 3, "undef": 5, "stdby up": 6, "stdby down": 7}
_FIELDS = ("status", "label", "log", "monitor", "disable", "optional", "encap")


def status_code(status: str) -> int:
    """The exit code of `svcmgr status` for an overall state; one it does not know is undef."""
    return CODES.get(status, CODES["undef"])


def json15(document: Mapping[str, Any]) -> dict[str, Any]:
    """What `svcmgr -s NAME json status` prints, from an encap.status/1 document.

    `encap` is added: by container rid, the same shape of what its guest runs.
    """
    groups = document.get("groups") or {}
    shape = _shape(document, {group: groups.get(group, "n/a") for group in GROUPS})
    shape["frozen"] = document.get("frozen") is not None
    branches = {r["rid"]: r["guest"] for r in document["resources"] if r.get("guest")}
    shape["encap"] = {
        rid: _shape(guest, {"hostname": guest["node"], "frozen": guest.get("frozen") is not None})
        for rid, guest in branches.items()
    }
    return shape


def _shape(of: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    resources = {r["rid"]: {**{f: r[f] for f in _FIELDS}, "log": _log(r["log"])} for r in of["resources"]}
    return {"overall": of["overall"], "avail": of["avail"], **more, "resources": resources}


def _log(lines: Iterable[Mapping[str, str]]) -> str:
    return "\n".join(one["text"] for one in lines)
