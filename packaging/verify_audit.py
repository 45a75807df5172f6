#!/usr/bin/env python3
"""verify_audit.py TRAIL ALLOWED_SIGNERS [SECRET_FILE]: checks a veild audit trail with Python, ssh-keygen and zstd alone."""
import hashlib, hmac, json, pathlib, re, subprocess, sys, tempfile
__debug__ or sys.exit("not with -O: the checks are assertions")
sys.excepthook = lambda kind, error, _: sys.stderr.write(f"{'' if kind is AssertionError else kind.__name__ + ': '}{error}\n")

trail, signers = pathlib.Path(sys.argv[1]), sys.argv[2]
secret = re.search("veild-audit-secret-1-([0-9a-f]{64})", open(sys.argv[3]).read()) if len(sys.argv) > 3 else None
len(sys.argv) < 4 or secret or sys.exit(f"{sys.argv[3]}: it holds no audit secret")
derive = lambda key, purpose: hmac.digest(key, b"veild-audit-epoch " + purpose, "sha256")
key, epoch, due, number, prev = secret and bytes.fromhex(secret[1]), 0, None, 1, "0" * 64

def signed(text, signature):
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(signature + "\n"), file.flush()
        command = ["ssh-keygen", "-Y", "verify", "-n", "veild-audit", "-I", "veild", "-f", signers, "-s", file.name]
        checked = subprocess.run(command, input=text.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert checked.returncode == 0, f"record {number}: its signature is not that of a key in {signers}"

def checkpoint(point, number, prev, leaps):  # signed, and sealed under the next epoch's key; a pruned segment leaps over some
    global key, epoch, due
    sealed = "epoch" in point
    assert (point["seq"], point["head"]) == (number - 1, prev), f"record {number} signs something else"
    version, names = 3 if "host" in point else 2 if sealed else 1, ["seq", "head", "at", "host", "key", "epoch"]
    parts = [f"veild-audit-checkpoint v{version}"] + [point[name] for name in names if name in point]
    text = "".join(f"{part}\n" for part in parts)
    signed(text + (point["mac"] + "\n" if sealed else ""), point["signature"])
    assert sealed or due is None, f"record {number} is not sealed"
    if key and sealed:
        next_one = due or 0
        assert point["epoch"] == next_one or leaps and point["epoch"] > next_one, f"checkpoints were removed before record {number}"
        while epoch < point["epoch"]:
            key, epoch = derive(key, b"next"), epoch + 1
        assert hmac.digest(derive(key, b"mac"), text.encode(), "sha256").hex() == point["mac"], f"record {number} was written anew"
    due = point["epoch"] + 1 if sealed else None

pieces = {path.name[6:26]: path for suffix in ("pruned.json", "jsonl.zst", "jsonl") for path in trail.glob("audit-*." + suffix)}
pieces or sys.exit(f"{trail}: there is no audit trail here")
for path in (pieces[first] for first in sorted(pieces)):
    if path.name.endswith(".pruned.json"):  # what is left of a pruned segment: where the chain entered and left it
        stub = json.loads(path.read_text())
        assert (stub["first_seq"], stub["prev"]) == (number, prev), f"{path.name} does not chain"
        assert stub["stub_version"] == 2, f"{path.name} is of an earlier veild, and pins nothing"
        names = "first_seq last_seq prev head first_at last_at why recorded_after".split()
        signed("".join(f"{part}\n" for part in ["veild-audit-stub v1"] + [stub[name] for name in names]), stub["signature"])
        last, number, prev = json.loads(stub["last_line"])["veild"], stub["last_seq"] + 1, stub["head"]
        assert (last["seq"], hashlib.sha256(stub["last_line"].encode()).hexdigest()) == (number - 1, prev), f"{path.name} ends elsewhere"
        checkpoint(last["checkpoint"], last["seq"], last["prev"], leaps=True)
        continue
    lines = subprocess.run(["zstd", "-dc", path], check=True, stdout=subprocess.PIPE).stdout if path.suffix == ".zst" else path.read_bytes()
    for line in lines.splitlines(keepends=True):
        veild = json.loads(line)["veild"]
        linked = "does not chain to the line before it: that line was changed, removed or inserted"
        assert (veild["seq"], veild["prev"]) == (number, prev), f"{path.name}: record {veild['seq']} {linked}"
        if "checkpoint" in veild:
            checkpoint(veild["checkpoint"], number, prev, leaps=False)
        number, prev = number + 1, hashlib.sha256(line).hexdigest()
assert not key or due is not None, "the end is not sealed: it was written anew, or the secret is another trail's"
print(f"the chain holds up to record {number - 1}")
