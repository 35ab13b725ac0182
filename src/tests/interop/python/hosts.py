"""What not every host has."""

import os
import shutil
import socket
import subprocess

import pytest


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")


def sandbox():
    """Returns a command prefix that runs a program in its own network namespace: as root, or as root of a user namespace."""
    for command in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        if shutil.which("unshare") and subprocess.run([*command, "true"], stderr=subprocess.DEVNULL).returncode == 0:
            return command
    return None


SANDBOX = sandbox()
needs_sandbox = pytest.mark.skipif(SANDBOX is None, reason="no network namespaces for this user")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces that have names take root")
