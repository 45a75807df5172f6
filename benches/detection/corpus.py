#!/usr/bin/env python3
"""Writes a corpus of personal data and of what only looks like it, labelled by construction.

One CSV file per locale, and beside it one of the same shape that has each cell's class, or nothing:

    corpus.py DIR [--rows 150]

Columns have names that say nothing (`c1`, `c2` …), so that the cells alone tell. National numbers are those of the
locale's country, valid by python-stdnum or made by the issuer's rule here, each as bare digits and as people write them.
One cell in a hundred and twenty-five of every column is what people put where they have nothing to put. The same seed makes the same
corpus with the same versions of the packages.
"""

import argparse
import base64
import csv
import hashlib
import ipaddress
import json
import pathlib
import random
import string
import sys

import phonenumbers
from faker import Faker
from stdnum import iban, luhn

sys.path.insert(0, str(pathlib.Path(__file__).parent / "../../tests/identifiers"))
import generate  # noqa: E402

RANDOM = random.Random(20260301)

# Locale, country of its phone numbers, and whose national numbers its file has.
LOCALES = [
    ("bg_BG", "BG", ["bg_egn"]),
    ("cs_CZ", "CZ", ["cz_rodne_cislo"]),
    ("da_DK", "DK", ["dk_cpr"]),
    ("de_AT", "AT", ["at_svnr"]),
    ("de_CH", "CH", ["ch_ahv"]),
    ("de_DE", "DE", ["de_steuer_id"]),
    ("el_GR", "GR", ["gr_amka", "gr_afm"]),
    ("en_AU", "AU", ["au_tfn"]),
    ("en_CA", "CA", ["ca_sin"]),
    ("en_GB", "GB", ["gb_nhs", "gb_nino"]),
    ("en_IE", "IE", ["ie_pps"]),
    ("en_IN", "IN", ["in_aadhaar", "in_pan"]),
    ("en_NZ", "NZ", ["nz_ird"]),
    ("en_PK", "PK", ["pk_cnic"]),
    ("en_US", "US", ["us_ssn", "us_itin", "us_ein"]),
    ("es_AR", "AR", ["ar_cuit"]),
    ("es_CL", "CL", ["cl_rut", "ec_cedula"]),
    ("es_CO", "CO", ["co_nit", "do_cedula"]),
    ("es_ES", "ES", ["es_dni", "es_nie"]),
    ("es_MX", "MX", ["mx_curp"]),
    ("es_VE", "VE", ["ve_rif"]),
    ("et_EE", "EE", ["ee_isikukood"]),
    ("fi_FI", "FI", ["fi_hetu"]),
    ("fr_BE", "BE", ["be_national_number"]),
    ("fr_FR", "FR", ["fr_nir", "fr_spi"]),
    ("he_IL", "IL", ["il_id"]),
    ("hr_HR", "HR", ["hr_oib"]),
    ("hu_HU", "HU", ["hu_taj"]),
    ("id_ID", "ID", ["id_nik", "my_nric", "sg_nric"]),
    ("is_IS", "IS", ["is_kennitala"]),
    ("it_IT", "IT", ["it_codice_fiscale"]),
    ("ja_JP", "JP", ["jp_my_number"]),
    ("ko_KR", "KR", ["kr_rrn"]),
    ("lt_LT", "LT", ["lt_asmens_kodas"]),
    ("lv_LV", "LV", ["lv_personas_kods"]),
    ("nl_NL", "NL", ["nl_bsn"]),
    ("no_NO", "NO", ["no_fodselsnummer"]),
    ("pl_PL", "PL", ["pl_pesel"]),
    ("pt_BR", "BR", ["br_cpf", "br_cnpj"]),
    ("pt_PT", "PT", ["pt_nif", "pt_cc"]),
    ("ro_RO", "RO", ["ro_cnp"]),
    ("ru_RU", "RU", ["ru_inn", "ru_snils"]),
    ("sl_SI", "SI", ["si_emso"]),
    ("sv_SE", "SE", ["se_personnummer"]),
    ("th_TH", "TH", ["th_pin"]),
    ("tr_TR", "TR", ["tr_kimlik"]),
    ("uk_UA", "UA", ["ua_rntrc"]),
    ("zh_CN", "CN", ["cn_resident_id"]),
    ("zh_TW", "TW", ["tw_id", "hk_id"]),
    ("zu_ZA", "ZA", ["za_id"]),
]

# How people write them besides all in one; `#` takes the next character.
WRITINGS = {
    "us_ssn": ["###-##-####", "### ## ####"],
    "us_itin": ["###-##-####"],
    "us_ein": ["##-#######"],
    "ca_sin": ["###-###-###", "### ### ###"],
    "br_cpf": ["###.###.###-##"],
    "br_cnpj": ["##.###.###/####-##"],
    "ar_cuit": ["##-########-#"],
    "cl_rut": [],
    "co_nit": [],
    "do_cedula": ["###-#######-#"],
    "ve_rif": ["#-########-#"],
    "gb_nhs": ["### ### ####"],
    "gb_nino": ["## ## ## ## #"],
    "fr_nir": ["# ## ## ## ### ### ##"],
    "fr_spi": ["## ## ### ### ###"],
    "de_steuer_id": ["## ### ### ###"],
    "at_svnr": ["#### ######"],
    "ch_ahv": ["###.####.####.##"],
    "be_national_number": ["##.##.##-###.##"],
    "es_dni": ["########-#"],
    "es_nie": ["#-#######-#"],
    "pt_nif": ["### ### ###"],
    "pt_cc": ["######## # ###"],
    "hu_taj": ["### ### ###"],
    "cz_rodne_cislo": ["######/####"],
    "il_id": ["########-#"],
    "ru_snils": ["###-###-### ##"],
    "se_personnummer": ["######-####"],
    "dk_cpr": ["######-####"],
    "is_kennitala": ["######-####"],
    "lv_personas_kods": ["######-#####"],
    "in_aadhaar": ["#### #### ####"],
    "pk_cnic": ["#####-#######-#"],
    "hk_id": ["#######(#)"],
    "jp_my_number": ["#### #### ####"],
    "kr_rrn": ["######-#######"],
    "my_nric": ["######-##-####"],
    "th_pin": ["#-####-#####-##-#"],
    "au_tfn": ["### ### ###"],
    "nz_ird": ["###-###-###"],
    "za_id": ["###### #### ###"],
}
# Bare digits of these carry no check at all: nobody can tell them from an order number without the column's name.
NEVER_BARE = {"us_ssn", "us_itin", "us_ein", "dk_cpr", "pk_cnic"}
LENGTHS = {"cz_rodne_cislo": 10, "se_personnummer": 10, "au_tfn": 9, "nz_ird": 9, "br_cnpj": 14}


def digits(count):
    return generate.digits(count)


def weighted(weights, modulus):
    def make():
        body = digits(len(weights))
        return body, sum(int(digit) * weight for digit, weight in zip(body, weights)) % modulus

    return make


def gb_nino():
    while True:
        prefix = RANDOM.choice("ABCEGHJKLMNOPRSTWXYZ") + RANDOM.choice("ABCEGHJKLMNPRSTWXYZ")
        if prefix not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ"):
            return prefix + digits(6) + RANDOM.choice("ABCD")


def hu_taj():
    body, check = weighted([3, 7] * 4, 10)()
    return body + str(check)


def ru_snils():
    body, check = weighted([9, 8, 7, 6, 5, 4, 3, 2, 1], 101)()
    return body + f"{check % 100:02d}" if int(body) > 1_001_998 else ru_snils()


def tw_id():
    letter = RANDOM.choice("ABCDEFGHJKLMNPQRSTUVXYWZIO")
    place = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(letter) + 10
    body = RANDOM.choice("12") + digits(7)
    total = place // 10 + place % 10 * 9 + sum(int(digit) * weight for digit, weight in zip(body, range(8, 0, -1)))
    return letter + body + str(-total % 10)


def hk_id():
    letter, body = RANDOM.choice("ABCDEFGHKPRVYZ"), digits(6)
    total = 36 * 9 + (ord(letter) - 55) * 8 + sum(int(digit) * weight for digit, weight in zip(body, range(7, 1, -1)))
    return letter + body + "0123456789A"[-total % 11]


def sg_nric():
    kind, body = RANDOM.choice("STFG"), digits(7)
    total = sum(int(digit) * weight for digit, weight in zip(body, [2, 7, 6, 5, 4, 3, 2])) + (4 if kind in "TG" else 0)
    return kind + body + ("JZIHGFEDCBA" if kind in "ST" else "XWUTRQPNMLK")[total % 11]


OWN = {"gb_nino": gb_nino, "hu_taj": hu_taj, "ru_snils": ru_snils, "tw_id": tw_id, "hk_id": hk_id, "sg_nric": sg_nric}
KINDS = {name: (make, is_valid) for name, make, is_valid in generate.KINDS}


def national(name):
    """A maker of valid numbers, without separators."""
    if name in OWN:
        return OWN[name]
    make, is_valid = KINDS[name]

    def one():
        while True:
            number = generate.valid_number(name, make, is_valid)
            if len(number) == LENGTHS.get(name, len(number)):
                return number

    return one


def written(number, writing):
    characters = iter(number)
    return "".join(next(characters) if place == "#" else place for place in writing)


def phone(fake, region):
    """As Faker writes it, where libphonenumber knows such a number; else another number of an example's kind."""
    for _ in range(12):
        text = fake.phone_number()
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number_for_region(number, region) and not text.isdigit():
            return text
    return phonenumbers.format_number(valid_phone(region), phonenumbers.PhoneNumberFormat.NATIONAL)


def valid_phone(region):
    kind = RANDOM.choice([phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE])
    while True:
        number = phonenumbers.example_number_for_type(region, kind)
        national = str(number.national_number)
        kept = RANDOM.choice([2, 3, 4])
        number.national_number = int(national[:kept] + digits(len(national) - kept))
        if phonenumbers.is_valid_number_for_region(number, region):
            return number


def international_phone(region, form):
    return phonenumbers.format_number(valid_phone(region), form)


# Issuers' first digits and lengths.
CARDS = [
    (lambda: "4", 16),
    (lambda: "4", 16),
    (lambda: str(RANDOM.randint(51, 55)), 16),
    (lambda: str(RANDOM.randint(2221, 2720)), 16),
    (lambda: RANDOM.choice(["34", "37"]), 15),
    (lambda: "6011", 16),
    (lambda: str(RANDOM.randint(3528, 3589)), 16),
    (lambda: "36", 14),
]


def card():
    prefix, length = RANDOM.choice(CARDS)
    body = prefix()
    body += digits(length - 1 - len(body))
    return body + luhn.calc_check_digit(body)


def grouped(number):
    groups = {14: (4, 6, 4), 15: (4, 6, 5)}.get(len(number), (4, 4, 4, 4))
    parts, at = [], 0
    for group in groups:
        parts.append(number[at : at + group])
        at += group
    return " ".join(parts)


def account(country):
    """Of the locale's country where it is in the registry."""
    registered = [prefix[2] for prefix in iban._ibandb.prefixes]
    while True:
        number = generate.account()
        if number[:2] == country or country not in registered or RANDOM.random() < 0.01:
            return number


BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def bitcoin():
    payload = bytes([RANDOM.choice([0x00, 0x05])]) + RANDOM.randbytes(20)
    payload += hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(payload, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = BASE58[rest] + text
    return "1" * (len(payload) - len(payload.lstrip(b"\0"))) + text


def letters(count, among=string.ascii_uppercase + string.digits):
    return "".join(RANDOM.choice(among) for _ in range(count))


def secret():
    part = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    return RANDOM.choice([
        lambda: "AK" + "IA" + letters(16, string.ascii_uppercase + "234567"),
        lambda: "gh" + "p_" + letters(36, string.ascii_letters + string.digits),
        lambda: f"{part(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}."
        + f"{part(json.dumps({'sub': digits(8)}).encode())}.{part(RANDOM.randbytes(32))}",
    ])()


def personal(fake, locale, region, nationals):
    """Columns of personal data: class and maker of a cell."""
    forms = phonenumbers.PhoneNumberFormat
    columns = [
        ("email", fake.email),
        ("email", fake.ascii_company_email),
        ("phone", lambda: phone(fake, region)),
        ("phone", lambda: international_phone(region, RANDOM.choice([forms.E164, forms.INTERNATIONAL]))),
        ("payment_card", card),
        ("payment_card", lambda: grouped(card())),
        ("iban", lambda: account(region)),
        ("iban", lambda: " ".join(part for part in map("".join, zip(*[iter(account(region).ljust(36))] * 4))).strip()),
        ("ipv4", lambda: str(ipaddress.IPv4Address(RANDOM.randrange(1 << 24, 224 << 24)))),
        ("ipv6", lambda: str(ipaddress.IPv6Address((0x2001 << 112) | RANDOM.getrandbits(96)))),
        ("mac_address", lambda: RANDOM.choice("-:").join(f"{RANDOM.randrange(256):02x}" for _ in range(6))),
        ("crypto_address", bitcoin),
        ("url_credentials", lambda: f"postgres://{fake.user_name()}:{letters(9)}@db{digits(2)}.example.com/{fake.user_name()}"),
        ("secret", secret),
        ("person_name", fake.name),
        ("postal_address", lambda: fake.address().replace("\n", ", ")),
        ("place_name", fake.city),
    ]
    for name in nationals:
        make = national(name)
        if name not in NEVER_BARE:
            columns.append((name, make))
        for writing in WRITINGS.get(name, []):
            columns.append((name, lambda make=make, writing=writing: written(make(), writing)))
    for name, make in [
        ("email", fake.email),
        ("phone", lambda: international_phone(region, forms.INTERNATIONAL)),
        ("payment_card", card),
        ("iban", lambda: account(region)),
    ]:
        columns.append((name, lambda make=make: f"{fake.sentence()} {make()}, {fake.sentence()}"))
    return columns


def decoys(fake):
    """Columns of what is nobody's."""
    start = RANDOM.randrange(10**8, 9 * 10**8)
    counter = iter(range(start, start + 10**7, RANDOM.randrange(1, 9)))
    ids = iter(range(RANDOM.randrange(10**6), 10**8, 1))
    year = lambda: RANDOM.randrange(2015, 2027)
    day = lambda: f"{year()}-{RANDOM.randrange(1, 13):02d}-{RANDOM.randrange(1, 29):02d}"
    seconds = lambda: RANDOM.randrange(1_500_000_000, 1_790_000_000)
    return [
        lambda: str(next(counter)),
        lambda: str(next(ids)),
        lambda: f"ORD-{year()}-{digits(6)}",
        lambda: RANDOM.choice("123456789") + digits(7),
        lambda: RANDOM.choice("123456789") + digits(9),
        lambda: RANDOM.choice("123456789") + digits(10),
        lambda: RANDOM.choice("123456789") + digits(11),
        lambda: f"{RANDOM.choice(['RE', 'FA', 'INV'])}{year()}/{digits(5)}",
        lambda: RANDOM.choice("3456") + digits(15),
        lambda: str(seconds()),
        lambda: f"{seconds()}{digits(3)}",
        lambda: f"{seconds()}{digits(6)}",
        lambda: f"{day()}T{RANDOM.randrange(24):02d}:{RANDOM.randrange(60):02d}:{digits(1)}0Z",
        day,
        lambda: RANDOM.randbytes(16).hex(),
        lambda: RANDOM.randbytes(20).hex(),
        lambda: RANDOM.randbytes(32).hex(),
        lambda: str(generate_uuid()),
        lambda: fake.ean13(),
        lambda: fake.isbn13(),
        lambda: f"{letters(2, string.ascii_uppercase)}-{digits(5)}-{RANDOM.choice('SMLX')}",
        lambda: letters(8),
        lambda: f"{RANDOM.randrange(1, 5000)}.{digits(2)}",
        lambda: str(RANDOM.randrange(1, 5000)),
        lambda: f"{RANDOM.uniform(-90, 90):.6f}",
        lambda: f"{RANDOM.randrange(10)}.{RANDOM.randrange(30)}.{RANDOM.randrange(30)}",
        fake.sentence,
        lambda: f"https://{fake.domain_name()}/{fake.uri_path()}",
        lambda: RANDOM.choice(["active", "new", "closed", "pending", "on hold"]),
        lambda: f"1Z{letters(6)}{digits(10)}",
    ]


def generate_uuid():
    text = RANDOM.randbytes(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


JUNK = ["n/a", "-", "unknown", "?", "see file", "none"]
JUNK_ONE_IN = 125
DECOYS_A_FILE = 9


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=125, help="rows of each file")
    arguments = parser.parse_args()
    (arguments.dir / "truth").mkdir(parents=True, exist_ok=True)
    cells = 0
    for number, (locale, region, nationals) in enumerate(LOCALES):
        fake = Faker(locale)
        fake.seed_instance(number)
        columns = personal(fake, locale, region, nationals)
        others = decoys(fake)
        columns += [("", others[(number * DECOYS_A_FILE + index) % len(others)]) for index in range(DECOYS_A_FILE)]
        RANDOM.shuffle(columns)
        header = [f"c{index + 1}" for index in range(len(columns))]
        rows, truths = [header], [header]
        junk_rows = [RANDOM.randrange(JUNK_ONE_IN) for _ in columns]
        for row in range(arguments.rows):
            is_junk = [row % JUNK_ONE_IN == junk_row for junk_row in junk_rows]
            rows.append([RANDOM.choice(JUNK) if junk else make() for junk, (_, make) in zip(is_junk, columns)])
            truths.append(["" if junk else name for junk, (name, _) in zip(is_junk, columns)])
        for path, table in [(arguments.dir, rows), (arguments.dir / "truth", truths)]:
            with open(path / f"{locale}.csv", "w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows(table)
        cells += len(columns) * arguments.rows
    print(f"{len(LOCALES)} locales, {cells} cells")


if __name__ == "__main__":
    main()
