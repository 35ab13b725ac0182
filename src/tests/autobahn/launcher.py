"""Starts the fuzzing half of Autobahn|Testsuite, under Python 2.7, for cases that are named one by one.

    launcher.py list PATTERN...          prints the ids of the cases that match, such as 7.* or 9.1.1
    launcher.py client URL AGENT FOLDER  runs the cases of FOLDER/selected against a server
    launcher.py server FOLDER            offers them to clients, on a free port of 127.0.0.1 that it prints

Reports go to FOLDER. The suite's own program would listen on all addresses, and open a web server beside that.
"""

from __future__ import print_function

# It chooses the reactor, which has to be done before anything else names one.
from autobahntestsuite import choosereactor  # noqa: F401, I001

import fnmatch
import os
import socket
import sys

from autobahntestsuite import case, fuzzing
from autobahntestsuite.caseset import CaseSet
from twisted.internet import reactor


def all_ids():
    cases = CaseSet(case.CaseSetname, case.CaseBasename, case.Cases, case.CaseCategories, case.CaseSubCategories)
    return sorted(cases.CasesById, key=cases.caseIdtoIdTuple)


def list_cases(*patterns):
    ids = all_ids()
    for pattern in patterns:
        if not fnmatch.filter(ids, pattern):
            sys.exit("no case matches %r; expected e.g. 7.*, 9.1.1 or *" % pattern)
    for one in ids:
        if any(fnmatch.fnmatchcase(one, pattern) for pattern in patterns):
            print(one)


def spec(folder):
    with open(os.path.join(folder, "selected")) as selected:
        return {"cases": selected.read().split(), "outdir": folder}


def run_client(url, agent, folder):
    fuzzing.startClient(dict(spec(folder), servers=[{"agent": agent, "url": url}]))
    reactor.run()


def run_server(folder):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)
    listener.setblocking(False)
    # A Host that names another port is refused, so the port has to be known first.
    port = listener.getsockname()[1]
    factory = fuzzing.FuzzingServerFactory(dict(spec(folder), url="ws://127.0.0.1:%d" % port))
    reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, factory)
    print("listening on port %d" % port)
    reactor.run()


if __name__ == "__main__":
    {"list": list_cases, "client": run_client, "server": run_server}[sys.argv[1]](*sys.argv[2:])
