// age-encryption on standard input and output: `node typage.mjs seal|open x25519|passphrase|tag|tagpq KEY`.
import { readFileSync } from "node:fs";
import { Decrypter, Encrypter } from "age-encryption";

const [command, kind, key] = process.argv.slice(2);
const data = readFileSync(0);
if (command === "seal") {
  const encrypter = new Encrypter();
  kind === "passphrase" ? encrypter.setPassphrase(key) : encrypter.addRecipient(key);
  process.stdout.write(await encrypter.encrypt(data));
} else {
  const decrypter = new Decrypter();
  kind === "passphrase" ? decrypter.addPassphrase(key) : decrypter.addIdentity(key);
  process.stdout.write(await decrypter.decrypt(data));
}
