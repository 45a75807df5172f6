"""The peers that are Python scripts: PEER IN OUT RECIPIENT. Each masks the same 7 of 12 columns of the people table, and encrypts."""
import os, subprocess, sys

peer, source, out, recipient = sys.argv[1], sys.argv[2], sys.argv[3], (sys.argv[4:] or [""])[0]


def polars_masks():
    """What a skilled data engineer would write today."""
    import polars as pl

    return [
        pl.col("ssn").str.replace(r"^.*(.{4})$", "XXX-XX-$1"),
        pl.col("email").hash(7).cast(pl.String),
        pl.col("phone").str.replace(r"^.*(.{4})$", "XXXXXX$1"),
        pl.col("card").str.replace(r"^.*(.{4})$", "XXXXXXXXXXXX$1"),
        pl.lit("***").alias("first_name"),
        pl.lit("***").alias("last_name"),
        pl.col("dob").str.slice(0, 4),
    ]


def encrypt(masked):
    import pyrage

    pyrage.encrypt_file(masked, out, [pyrage.x25519.Recipient.from_str(recipient)])
    os.remove(masked)


def polars():
    import polars as pl

    pl.scan_csv(source, infer_schema_length=0, low_memory=True).with_columns(polars_masks()).sink_csv(out + ".masked")
    encrypt(out + ".masked")


def polars_ndjson():
    import polars as pl

    pl.scan_ndjson(source, low_memory=True).with_columns(polars_masks()).sink_ndjson(out + ".masked")
    encrypt(out + ".masked")


def polars_parquet():
    import polars as pl

    pl.scan_parquet(source).with_columns(polars_masks()).sink_parquet(out + ".masked", compression="zstd", compression_level=1)
    encrypt(out + ".masked")


def pandas():
    """The classic script: everything in memory."""
    import pandas as pd
    from cryptography.fernet import Fernet

    table = pd.read_csv(source, dtype=str, keep_default_na=False)
    table["ssn"] = table["ssn"].apply(lambda text: text[:-4] + "XXXX")
    for column in ("email", "phone", "card", "first_name", "last_name"):
        table[column] = table[column].apply(lambda text: "*" * len(text))
    table["dob"] = table["dob"].str[:4]
    with open(out, "wb") as file:
        file.write(Fernet(Fernet.generate_key()).encrypt(table.to_csv(index=False).encode()))


def duckdb():
    import duckdb

    masked = out + ".masked"
    duckdb.sql(f"""COPY (SELECT id, '***' first_name, '***' last_name, 'XXX-XX-' || right(ssn, 4) ssn,
      substr(sha256('key' || email), 1, 24) email, 'XXXXXX' || right(phone, 4) phone, substr(dob, 1, 4) dob, zip,
      'XXXXXXXXXXXX' || right(card, 4) card, amount, country, notes
      FROM read_csv('{source}', all_varchar=true, header=true)) TO '{masked}' (HEADER, DELIMITER ',')""")
    subprocess.run(["age", "-r", recipient, "-o", out, masked], check=True)
    os.remove(masked)


def make_ndjson():
    import polars as pl

    pl.scan_csv(source, infer_schema_length=0, low_memory=True).sink_ndjson(out)


def make_parquet():
    import polars as pl

    pl.scan_csv(source, infer_schema_length=0, low_memory=True).sink_parquet(out, compression="zstd", compression_level=1)


globals()[peer.replace("-", "_")]()
