"""libvirt-guests: the service that saves guests when the machine goes down and starts them when it comes up.

Both make guests run, or keep them from being started elsewhere, behind the back of whoever
places services.
"""

from __future__ import annotations

import re

from agentd.core.errors import NotFound
from drivers.base import Host

ENABLED = "/etc/systemd/system/multi-user.target.wants/libvirt-guests.service"
SCRIPTS = ("/usr/libexec/libvirt-guests.sh", "/usr/lib/libvirt/libvirt-guests.sh")
SETTINGS = ("/etc/sysconfig/libvirt-guests", "/etc/default/libvirt-guests")

_SETTING = re.compile(r"""^\s*(ON_BOOT|ON_SHUTDOWN)=["']?(\w+)""", re.MULTILINE)
_EFFECTS = {
    ("ON_BOOT", "start"): "starts guests at boot, which can make them run twice",
    ("ON_SHUTDOWN", "suspend"): "saves guests with their memory at shutdown, so that they start nowhere else",
}


async def warning(host: Host) -> str:
    """What the service would do to guests here, and the command that mends it; "" when nothing."""
    if not await host.exists(ENABLED):
        return ""
    # Distributions build in other defaults than upstream's, which are these.
    values, where = {"ON_BOOT": "start", "ON_SHUTDOWN": "suspend"}, ""
    for path in (*SCRIPTS, *SETTINGS):
        try:
            text = await host.read(path)
        except NotFound:
            continue
        values |= dict(_SETTING.findall(text))
        where = path if path in SETTINGS else where
    effects = [effect for setting, effect in _EFFECTS.items() if values[setting[0]] == setting[1]]
    if not effects:
        return ""
    where = where or SETTINGS[0 if await host.exists("/etc/sysconfig") else 1]
    return (
        f"libvirt-guests {' and '.join(effects)}; mend: "
        rf"printf 'ON_BOOT=ignore\nON_SHUTDOWN=shutdown\n' >> {where}"
    )
