"""A program that runs hooks as agent programs do: each line of stdin names a command and a document for its stdin."""

import json
import subprocess
import sys

for line in sys.stdin:
    order = json.loads(line)
    done = subprocess.run(
        ["sh", "-c", order["command"]], input=order["document"], capture_output=True, text=True, env=order["env"]
    )
    print(json.dumps([done.returncode, done.stdout, done.stderr]), flush=True)
