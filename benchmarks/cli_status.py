"""How long `svc status NAME` takes, the whole process, against a warm daemon.

Peers: an interpreter that does nothing (`python3 -I -c pass`, the same one), and
`crm_mon -1` of Pacemaker with 50 resources where it is installed; it reads the cluster from
a file, so that no daemon of it is needed, which flatters it. The status is of a service with
50 resources. Medians of runs taken in turns; ratios without unit, times in milliseconds.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _measuring import Figure, daemon, interleaved, process_time, quick, show

SERVICE = "[DEFAULT]\nnodes = hv1\n" + "".join(f"[fs#{n}]\ntype = flag\n" for n in range(50))


def cluster_file(resources: int) -> str:
    """A cluster of one node where Dummy resources run, as Pacemaker keeps it."""
    primitives = "".join(f'<primitive id="d{n}" class="ocf" provider="pacemaker" type="Dummy"/>'
                         for n in range(resources))
    history = "".join(
        f'<lrm_resource id="d{n}" class="ocf" provider="pacemaker" type="Dummy"><lrm_rsc_op id="d{n}_last_0" '
        'operation="start" crm-debug-origin="x" crm_feature_set="3.16.2" transition-key="1:1:0:x" '
        'transition-magic="0:0;1:1:0:x" on_node="n1" call-id="1" rc-code="0" op-status="0" interval="0" '
        'last-rc-change="1" exec-time="1" queue-time="0" op-digest="x"/></lrm_resource>'
        for n in range(resources))
    return (
        '<cib crm_feature_set="3.16.2" validate-with="pacemaker-3.9" epoch="1" num_updates="0" '
        'admin_epoch="0" have-quorum="1" dc-uuid="1"><configuration><crm_config>'
        '<cluster_property_set id="c"><nvpair id="s" name="stonith-enabled" '
        'value="false"/></cluster_property_set></crm_config><nodes><node id="1" uname="n1"/></nodes>'
        f"<resources>{primitives}</resources><constraints/></configuration><status>"
        '<node_state id="1" uname="n1" in_ccm="true" crmd="online" join="member" expected="member" '
        f'crm-debug-origin="x"><lrm id="1"><lrm_resources>{history}</lrm_resources></lrm></node_state>'
        "</status></cib>\n")


def main() -> None:
    rounds = 3 if quick(__doc__) else 40
    peer = shutil.which("crm_mon")
    with daemon(services={"web": SERVICE}) as served, tempfile.NamedTemporaryFile("w", suffix=".xml") as cib:
        cib.write(cluster_file(50))
        cib.flush()
        plain = dict(os.environ)
        measures: list[Callable[[], float]] = [
            lambda: process_time(served.command("status", "web"), plain),
            lambda: process_time([sys.executable, "-I", "-c", "pass"], plain)]
        if peer:
            measures.append(lambda: process_time([str(peer), "-1"], {**plain, "CIB_file": cib.name}))
        for each in measures:
            each()
        svc, python, *others = interleaved(rounds, *measures)
    figures = [Figure("svc status NAME / python3 -I -c pass", svc / python, 5, "x")]
    figures += [Figure("svc status NAME / crm_mon -1", svc / other, 1.25, "x") for other in others]
    figures += [Figure("svc status NAME", 1000 * svc, None, "ms"),
                Figure("python3 -I -c pass", 1000 * python, None, "ms")]
    figures += [Figure("crm_mon -1, 50 resources", 1000 * other, None, "ms") for other in others]
    show(figures)
    if not others:
        print("crm_mon: not installed")


if __name__ == "__main__":
    main()
