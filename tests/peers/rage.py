"""pyrage on standard input and output: `rage.py seal|open KIND KEY`, KIND being x25519, ssh, tag, tagpq or passphrase."""
import sys

import pyrage

command, kind, key = sys.argv[1:]
data = sys.stdin.buffer.read()
if kind == "passphrase":
    act = pyrage.passphrase.encrypt if command == "seal" else pyrage.passphrase.decrypt
    result = act(data, key)
elif command == "seal":
    module = {"x25519": pyrage.x25519, "ssh": pyrage.ssh, "tag": pyrage.tag, "tagpq": pyrage.tagpq}[kind]
    result = pyrage.encrypt(data, [module.Recipient.from_str(key)])
elif kind == "ssh":
    result = pyrage.decrypt(data, [pyrage.ssh.Identity.from_buffer(key.encode())])
else:
    result = pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(key)])
sys.stdout.buffer.write(result)
