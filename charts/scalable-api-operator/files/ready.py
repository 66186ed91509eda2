"""helm test of the operator: `ready.py HOST REPLICAS` ends with 0 once so many processes are ready and one of them leads."""

import socket
import sys
import time
import urllib.request

PORT = 9180
WITHIN_S = 60


def ask(address: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}:{PORT}{path}", timeout=2) as answer:
        return answer.read().decode()


def complaint(host: str, replicas: int) -> str:
    addresses = sorted({entry[4][0] for entry in socket.getaddrinfo(host, PORT, socket.AF_UNSPEC, socket.SOCK_STREAM)})
    if len(addresses) < replicas:
        return f"{len(addresses)} of {replicas} processes"
    leaders = 0
    for address in (f"[{a}]" if ":" in a else a for a in addresses):
        ask(address, "/readyz")
        leaders += "operator_leader 1.0" in ask(address, "/metrics").splitlines()
    return "" if leaders == 1 else f"{leaders} leaders"


def main() -> int:
    host, replicas = sys.argv[1], int(sys.argv[2])
    ends = time.monotonic() + WITHIN_S
    while True:
        try:
            wrong = complaint(host, replicas)
        except OSError as error:  # no such name yet, nobody listens, 503
            wrong = str(error)
        print(wrong or f"{replicas} ready, one leads", flush=True)
        if not wrong or time.monotonic() > ends:
            return 1 if wrong else 0
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
