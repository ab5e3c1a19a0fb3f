"""The table of commands: where each one's code is, what it takes, how it is explained.

Plain data, so that finding the command costs nothing and its module alone is imported.
"""

from __future__ import annotations


class Command:
    """`run` is ``module:function``; `arguments` are names of rows of `cli.arguments`."""

    __slots__ = ("arguments", "details", "examples", "run", "summary")

    def __init__(
        self, run: str, summary: str, arguments: str = "", *examples: str, details: str = ""
    ) -> None:
        self.run, self.summary, self.arguments = run, summary, arguments
        self.examples, self.details = examples, details


WAITING = "--detach --wait --time"
SELECTING = "--rid --tags --subsets"
LEVELS = "--master --slave --slaves"
ACTING = f"names {LEVELS} {SELECTING} --force --dry-run --node --assume-down --reason {WAITING}"
STARTING = f"{ACTING} --to --stop-container"
STOPPING = f"{ACTING} --downto"
GROUPS = ("ip", "disk", "fs", "share", "container", "app")

LEVEL_DETAILS = (
    "A service with encap resources needs to be told the level: --master (the hypervisor),\n"
    "--slave GUEST or --slaves (inside the guests). Options can be combined."
)

COMMANDS: dict[str, Command] = {
    "ls": Command(
        "cli.reading:ls",
        "List the services of all reachable hypervisors.",
        "names?",
        "svc ls",
        "svc ls 'web*' --json",
    ),
    "status": Command(
        "cli.reading:status",
        "Show the status tree of a service.",
        "names --cluster --refresh --wide",
        "svc status deb1",
        "svc status deb1 --cluster",
        "svc status 'web*' --json",
        details="Read from the daemon's memory. When the daemon does not answer, the last snapshot is\n"
        "shown, marked as such, and the exit code is 5.",
    ),
    "start": Command(
        "cli.acting:act",
        "Start a service: the hypervisor's part and, chained, its guests'.",
        STARTING,
        "svc start deb1",
        "svc start deb1 --dry-run",
        "svc start deb1 --slave vm1 --rid fs#1",
        "svc start deb1 --to fs --detach",
    ),
    "stop": Command(
        "cli.acting:act",
        "Stop a service wherever it is not proven down.",
        STOPPING,
        "svc stop deb1",
        "svc stop deb1 --node hv1",
        "svc stop deb1 --downto container",
    ),
    "restart": Command("cli.acting:act", "Stop, then start.", ACTING, "svc restart deb1"),
    "shutdown": Command(
        "cli.acting:act", "Stop, and go on where a guest is silent or fails.", STOPPING, "svc shutdown deb1"
    ),
    "freeze": Command(
        "cli.acting:act",
        "Block orchestration and resource restarts; actions by hand still work.",
        f"names {LEVELS} --node --until --reason --dry-run {WAITING}",
        "svc freeze deb1 --reason 'disk change'",
        "svc freeze deb1 --until 2026-12-01T06:00:00Z",
    ),
    "thaw": Command(
        "cli.acting:act",
        "End a freeze.",
        f"names {LEVELS} --node --reason --dry-run {WAITING}",
        "svc thaw deb1",
    ),
    "clear": Command(
        "cli.acting:act",
        "Forget failed attempts and probe again.",
        f"names {LEVELS} --node --rid --dry-run {WAITING}",
        "svc clear deb1",
    ),
    "enable": Command(
        "cli.acting:act",
        "Take resources back into account.",
        f"names --rid --tags --subsets --node --dry-run {WAITING}",
        "svc enable deb1 --rid fs#1",
    ),
    "disable": Command(
        "cli.acting:act",
        "Leave resources out of every action and of the status.",
        f"names --rid --tags --subsets --node --reason --dry-run {WAITING}",
        "svc disable deb1 --rid fs#1",
    ),
    **{
        f"{verb}{group}": Command(
            "cli.acting:act",
            f"{verb.capitalize()} the {group} resources.",
            STARTING if verb == "start" else STOPPING,
            f"svc {verb}{group} deb1" if group == "container" else f"svc {verb}{group} deb1 --master",
            *(() if group == "container" else (f"svc {verb}{group} deb1 --slaves",)),
            details="" if group == "container" else LEVEL_DETAILS,
        )
        for group in GROUPS
        for verb in ("start", "stop")
    },
    **{
        verb: Command(
            "cli.acting:act", f"{verb.capitalize()} a service (not supported by this version).", STARTING
        )
        for verb in (
            "migrate",
            "switch",
            "takeover",
            "giveback",
            "provision",
            "unprovision",
            "run",
            "boot",
            "startstandby",
            "syncall",
            "syncnodes",
            "syncdrp",
        )
    },
    "plan": Command(
        "cli.reading:plan",
        "Show what an action would do, step by step, and do nothing.",
        f"name-or-file action --point {LEVELS} {SELECTING} --to --downto --force",
        "svc plan deb1 start",
        "svc plan deb1.conf startfs --node hv1 --slaves",
        details="With a file no daemon is asked: all is assumed down for a start and up for a stop.",
    ),
    "logs": Command(
        "cli.following:logs",
        "Show what the last operations of a service told.",
        "name --last",
        "svc logs deb1",
        "svc logs deb1 --limit 10 --json",
    ),
    "op ls": Command(
        "cli.following:op_ls",
        "List operations, newest first.",
        "--service --state --limit",
        "svc op ls",
        "svc op ls --service deb1 --state running",
    ),
    "op show": Command(
        "cli.following:op_show",
        "Show an operation and what it told.",
        "operation",
        "svc op show 01JDQ4T0S7M3X5K8Z9V2W1R6PB",
    ),
    "op wait": Command(
        "cli.following:op_wait",
        "Follow an operation to its end.",
        "operation --time",
        "svc op wait 01JDQ4T0S7M3X5K8Z9V2W1R6PB --time 5m",
    ),
    "op cancel": Command(
        "cli.following:op_cancel",
        "Stop an operation at its next step, and undo.",
        f"operation {WAITING}",
        "svc op cancel 01JDQ4T0S7M3X5K8Z9V2W1R6PB",
    ),
    "create": Command(
        "cli.editing:create",
        "Create a service from a configuration.",
        "name --config --dry-run",
        "svc create deb1 --config deb1.conf",
        "svc create deb1 --config - < deb1.conf",
    ),
    "edit": Command(
        "cli.editing:edit",
        "Edit the configuration of a service in $VISUAL or $EDITOR.",
        "name",
        "svc edit deb1",
        details="What was typed is kept in a file when it is not accepted.",
    ),
    "get": Command(
        "cli.editing:get",
        "Print keywords as they are written.",
        "name keys",
        "svc get deb1 nodes",
        "svc get deb1 fs#1.mnt fs#1.type@vm1",
    ),
    "set": Command(
        "cli.editing:set_",
        "Set keywords.",
        "name settings --dry-run",
        "svc set deb1 fs#1.mnt=/srv/data",
        "svc set deb1 nodes='hv1 hv2' app#1.start@vm1=/etc/start",
    ),
    "unset": Command(
        "cli.editing:unset", "Remove keywords.", "name keys --dry-run", "svc unset deb1 fs#1.mnt_opt"
    ),
    "validate": Command(
        "cli.editing:validate",
        "Let the daemon validate the configuration of a service.",
        "name",
        "svc validate deb1",
    ),
    "delete": Command(
        "cli.acting:act",
        "Delete a service's configuration everywhere; refused while it is up.",
        f"names --force --node --dry-run --reason {WAITING}",
        "svc delete deb1",
        "svc delete deb1 --node hv1",
        details="A hypervisor that is silent keeps it from being deleted, unless --node names the others:\n"
        "when it returns, its copy stays, and its status says where the service was deleted.",
    ),
    "config validate": Command(
        "cli.offline:validate",
        "Validate a file; no daemon is asked.",
        "file",
        "svc config validate deb1.conf",
        "svc config validate deb1.conf --json",
        details="Exit code 0: no error (warnings are allowed), 1: errors, 2: usage.",
    ),
    "config eval": Command(
        "cli.offline:evaluate",
        "Show what a node sees of a file; no daemon is asked.",
        "file --point",
        "svc config eval deb1.conf --node vm1 --json",
    ),
    "tree": Command(
        "cli.reading:tree_",
        "Print the tree of a status document.",
        "json-file --wide",
        "svc tree status.json",
        "svc tree - < status.json",
    ),
    "explain": Command(
        "cli.offline:explain",
        "Explain a keyword, a type, a group.",
        "topic",
        "svc explain fs.mnt",
        "svc explain fs.ext4",
        "svc explain DEFAULT.nodes",
    ),
    "ca init": Command(
        "cli.offline:ca_init",
        "Make the cluster's certificate authority and this node's certificate.",
        "--cluster-name --own-node",
        "svc ca init --cluster prod",
    ),
    "ca user": Command(
        "cli.offline:ca_user",
        "Issue the certificate of a person.",
        "user-name --days --out",
        "svc ca user alice --days 90 --out alice",
    ),
    "node init": Command(
        "cli.offline:node_init",
        "Say where this node listens, and what its name is.",
        "--listen --own-node",
        "svc node init --listen 10.0.0.1",
        "svc node init --listen :: --node hv1",
    ),
    "node token": Command(
        "cli.members:token",
        "Make a token with which another node joins, once, within 15 minutes.",
        "node-name --guest",
        "svc node token hv2",
        "svc node token vm1 --guest",
    ),
    "node join": Command(
        "cli.offline:node_join",
        "Join the cluster with a token.",
        "token --listen",
        "svc node join TOKEN",
    ),
    "node ls": Command("cli.members:ls", "List hypervisors and guests.", "", "svc node ls"),
    "node remove": Command(
        "cli.members:remove",
        "Revoke a node: its certificate opens nothing any more.",
        "node-name",
        "svc node remove hv2",
    ),
    "daemon status": Command(
        "cli.members:daemon",
        "Show the daemon that answers.",
        "",
        "svc daemon status",
        "svc daemon status --root /tmp/hv1",
    ),
    "demo": Command(
        "cli.demo:demo",
        "A tour on this machine: two hypervisors, a guest, a service; no root needed.",
        "--keep --lxc --verbose",
        "svc demo",
        "svc demo --keep",
        "svc demo --lxc",
    ),
}

FAMILIES = {"op", "config", "ca", "node", "daemon"}
"""First words that need a second one."""
