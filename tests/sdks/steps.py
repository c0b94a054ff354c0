"""What the scripts beside this one share: arguments in, one JSON line a step out.

Each script drives one vendor's own SDK against `tandem vendor-sim`: python3 NAME.py HOST:PORT KEY SECRET.
"""

import json
import sys

HOST, KEY, SECRET = sys.argv[1:4]

A, X, B = "02100000000", "17000000000", "13900000001"


def say(step, code, **more):
    """One line of the step's outcome: the vendor's code, and what the test looks at."""
    print(json.dumps({"step": step, "code": str(code), **more}), flush=True)
