#!/usr/bin/env python3
"""What Microsoft Presidio's pattern recognisers say of every cell of a corpus.

    presidio.py DIR [--sample N]

Asks every recogniser that has a class of veild's in its default settings, each cell by itself; no language model, no
words of context. Of a cell's results those of the highest score count, from 0.4 on, which is the score of its phone
numbers. Writes tables of the corpus's shape to DIR/presidio, and the number of cells a second to DIR/presidio.json.
With a sample only the first N rows of each file are asked.
"""

import argparse
import csv
import json
import logging
import pathlib
import time

from presidio_analyzer import predefined_recognizers as known

# Recogniser and the class that veild calls its entity.
RECOGNISERS = {
    "EmailRecognizer": "email",
    "PhoneRecognizer": "phone",
    "CreditCardRecognizer": "payment_card",
    "IbanRecognizer": "iban",
    "IpRecognizer": "ip",
    "MacAddressRecognizer": "mac_address",
    "CryptoRecognizer": "crypto_address",
    "UsSsnRecognizer": "us_ssn",
    "UsItinRecognizer": "us_itin",
    "CaSinRecognizer": "ca_sin",
    "NhsRecognizer": "gb_nhs",
    "UkNinoRecognizer": "gb_nino",
    "DeTaxIdRecognizer": "de_steuer_id",
    "EsNifRecognizer": "es_dni",
    "EsNieRecognizer": "es_nie",
    "ItFiscalCodeRecognizer": "it_codice_fiscale",
    "PlPeselRecognizer": "pl_pesel",
    "SePersonnummerRecognizer": "se_personnummer",
    "FiPersonalIdentityCodeRecognizer": "fi_hetu",
    "TrNationalIdRecognizer": "tr_kimlik",
    "InAadhaarRecognizer": "in_aadhaar",
    "InPanRecognizer": "in_pan",
    "KrRrnRecognizer": "kr_rrn",
    "SgFinRecognizer": "sg_nric",
    "ThTninRecognizer": "th_pin",
    "AuTfnRecognizer": "au_tfn",
    "ZaIdNumberRecognizer": "za_id",
}
LEAST_SCORE = 0.4


def recognisers():
    for name, answer in RECOGNISERS.items():
        made = getattr(known, name)()
        yield made, made.supported_entities, answer


def classes(cell, asked):
    results = [(it.score, answer) for made, entities, answer in asked for it in made.analyze(cell, entities, None)]
    best = max((score for score, _ in results), default=0)
    return " ".join(sorted({answer for score, answer in results if score == best >= LEAST_SCORE}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--sample", type=int)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    asked = list(recognisers())
    (arguments.dir / "presidio").mkdir(exist_ok=True)
    cells, seconds = 0, 0.0
    for path in sorted(arguments.dir.glob("*.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        began = time.process_time()
        rows = rows[: arguments.sample]
        answers = [[classes(cell, asked) for cell in row] for row in rows]
        seconds += time.process_time() - began
        cells += sum(map(len, rows))
        with open(arguments.dir / "presidio" / path.name, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *answers])
    with open(arguments.dir / "presidio.json", "w", encoding="utf-8") as file:
        json.dump({"cells": cells, "seconds": seconds, "recognisers": len(asked)}, file)


if __name__ == "__main__":
    main()
