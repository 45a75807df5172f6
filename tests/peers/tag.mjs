// Opens what is sealed to tag and tagpq recipients (https://c2sp.org/age-tag), which hardware does otherwise:
// `node tag.mjs generate tag|tagpq` prints a recipient and its secret; `node tag.mjs open tag|tagpq SECRET` decrypts
// standard input. The HPKE around the KEMs is that of RFC 9180 in base mode.
import { readFileSync } from "node:fs";
import { Decrypter } from "age-encryption";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { p256 } from "@noble/curves/nist.js";
import { expand, extract } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from "@noble/hashes/utils.js";
import { MLKEM768P256 } from "@noble/post-quantum/hybrid.js";
import { base64nopad, bech32 } from "@scure/base";

const none = new Uint8Array(0);
const number = (value, bytes) => Uint8Array.from({ length: bytes }, (_, i) => (value >> (8 * (bytes - 1 - i))) & 255);
const labeledExtract = (suite, salt, label, ikm) =>
  extract(sha256, concatBytes(utf8ToBytes("HPKE-v1"), suite, utf8ToBytes(label), ikm), salt);
const labeledExpand = (suite, prk, label, info, length) =>
  expand(sha256, prk, concatBytes(number(length, 2), utf8ToBytes("HPKE-v1"), suite, utf8ToBytes(label), info), length);

function dhKem(secret, enc) {
  const suite = concatBytes(utf8ToBytes("KEM"), number(0x0010, 2));
  const shared = p256.getSharedSecret(secret, enc, true).subarray(1);
  const context = concatBytes(enc, p256.getPublicKey(secret, false));
  return labeledExpand(suite, labeledExtract(suite, none, "eae_prk", shared), "shared_secret", context, 32);
}

const kinds = {
  tag: {
    stanza: "p256tag",
    kem: 0x0010,
    keys: () => p256.keygen(),
    spelled: (key) => p256.Point.fromBytes(key).toBytes(true),
    shared: dhKem,
  },
  tagpq: {
    stanza: "mlkem768p256tag",
    kem: 0x0050,
    keys: () => MLKEM768P256.keygen(),
    spelled: (key) => key,
    shared: (secret, enc) => MLKEM768P256.decapsulate(enc, secret),
  },
};

function unwrap(kind, secret, stanza) {
  const [, , enc] = stanza.args;
  const suite = concatBytes(utf8ToBytes("HPKE"), number(kind.kem, 2), number(1, 2), number(3, 2));
  const info = utf8ToBytes(`age-encryption.org/${kind.stanza}`);
  const hash = (label, value) => labeledExtract(suite, none, label, value);
  const context = concatBytes(number(0, 1), hash("psk_id_hash", none), hash("info_hash", info));
  const schedule = labeledExtract(suite, kind.shared(secret, base64nopad.decode(enc)), "secret", none);
  const key = labeledExpand(suite, schedule, "key", context, 32);
  return chacha20poly1305(key, labeledExpand(suite, schedule, "base_nonce", context, 12)).decrypt(stanza.body);
}

const [command, name, secret] = process.argv.slice(2);
const kind = kinds[name];
if (command === "generate") {
  const { secretKey, publicKey } = kind.keys();
  console.log(bech32.encode(`age1${name}`, bech32.toWords(kind.spelled(publicKey)), false));
  console.log(bytesToHex(secretKey));
} else {
  const decrypter = new Decrypter();
  const ours = (stanza) => stanza.args[0] === kind.stanza;
  decrypter.addIdentity({
    unwrapFileKey: (stanzas) => {
      for (const stanza of stanzas.filter(ours)) {
        try {
          return unwrap(kind, hexToBytes(secret), stanza);
        } catch {
          continue; // somebody else's
        }
      }
      return null;
    },
  });
  process.stdout.write(await decrypter.decrypt(readFileSync(0)));
}
