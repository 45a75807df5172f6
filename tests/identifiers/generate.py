#!/usr/bin/env python3
"""Compares the validators of src/detect with python-stdnum, an independent implementation.

Makes valid and corrupted numbers for every identifier that python-stdnum knows, asks python-stdnum about each, and
writes lines `class<TAB>number<TAB>0|1`. `cargo test --lib detect::national` then asks ours:

    tests/identifiers/prepare
    VEILD_IDENTIFIERS=$PWD/target/identifiers.tsv cargo test --lib detect::national

Without the variable the test reads `numbers.tsv` beside this file, made with `--each 24`.

Where the two are meant to differ, python-stdnum's answer is adapted here, in the open: ours know no date of today, look
up no Chinese counties and no Indonesian districts, take Swedish coordination numbers along, and no Latvian companies.
"""

import argparse
import datetime
import random
import re
import string
import types

from stdnum import iban, luhn
from stdnum.exceptions import InvalidComponent, ValidationError
from stdnum.ar import cuit
from stdnum.at import vnr
from stdnum.au import tfn
from stdnum.be import bis, nn
from stdnum.bg import egn
from stdnum.br import cnpj, cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.cl import rut
from stdnum.cn import ric
from stdnum.co import nit
from stdnum.cz import rc
from stdnum.de import idnr as steuer_id
from stdnum.dk import cpr
from stdnum.do import cedula
from stdnum.ec import ci
from stdnum.ee import ik
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nif as spi, nir
from stdnum.gb import nhs
from stdnum.gr import amka, vat as afm
from stdnum.hr import oib
from stdnum.id import nik
from stdnum.ie import pps
from stdnum.il import idnr as israeli
from stdnum.in_ import aadhaar, pan
from stdnum.is_ import kennitala
from stdnum.it import codicefiscale
from stdnum.jp import in_ as my_number
from stdnum.kr import rrn
from stdnum.lt import asmens
from stdnum.lv import pvn
from stdnum.mx import curp
from stdnum.my import nric
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.nz import ird
from stdnum.pk import cnic
from stdnum.pl import pesel
from stdnum.pt import cc, nif
from stdnum.ro import cnp
from stdnum.ru import inn
from stdnum.se import personnummer
from stdnum.si import emso
from stdnum.th import pin
from stdnum.tr import tckimlik
from stdnum.ua import rntrc
from stdnum.us import ein, itin, ssn
from stdnum.ve import rif
from stdnum.za import idnr as south_african

RANDOM = random.Random(20240229)
DIGITS = string.digits


def digits(count):
    return "".join(RANDOM.choice(DIGITS) for _ in range(count))


def letters(count, among=string.ascii_uppercase):
    return "".join(RANDOM.choice(among) for _ in range(count))


def day():
    """A day of birth as (year, month, day); the 29th of February now and then."""
    if RANDOM.random() < 0.02:
        return RANDOM.choice([1904, 1936, 1960, 1984, 2000, 2004, 2020]), 2, 29
    return RANDOM.randint(1900, 2023), RANDOM.randint(1, 12), RANDOM.randint(1, 28)


def ymd(month_added=0, day_added=0, years=2):
    year, month, date = day()
    return f"{year:04d}"[4 - years :] + f"{month + month_added:02d}{date + day_added:02d}"


def dmy(day_added=0, month_added=0):
    year, month, date = day()
    return f"{date + day_added:02d}{month + month_added:02d}{year % 100:02d}"


class Endless(datetime.date):
    @classmethod
    def today(cls):
        return cls(2199, 12, 31)


# Future birthdays are no fault here.
def without_today(module):
    def valid(number):
        real = module.datetime
        module.datetime = types.SimpleNamespace(date=Endless)
        try:
            return module.is_valid(number)
        finally:
            module.datetime = real

    return valid


def chinese(number):
    try:
        ric.validate(number)
    except InvalidComponent:
        try:
            ric.get_birth_date(number)
        except ValidationError:
            return False
        provinces = "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82"
        return number[:2] in provinces.split() and 1800 <= int(number[6:10]) < 2100
    except ValidationError:
        return False
    return 1800 <= int(number[6:10]) < 2100


def indonesian(number):
    provinces = [*range(11, 20), 21, *range(31, 37), *range(51, 54), *range(61, 66), *range(71, 77), 81, 82]
    try:
        nik.get_birth_date(number)
    except ValidationError:
        return False
    return int(number[:2]) in [*provinces, *range(91, 98)]


def swedish(number):
    """Leap days of two-digit years count as of 2000, and days of coordination numbers have 60 more."""
    plain = number
    at = len(number) - 6
    if int(number[at : at + 2]) > 60:
        plain = number[:at] + f"{int(number[at : at + 2]) - 60:02d}" + number[at + 2 :]
    full = plain if len(plain) == 12 else "20" + plain
    try:
        personnummer.get_birth_date(full)
    except (ValidationError, ValueError):
        return False
    return luhn.is_valid(number[-10:])


def latvian(number):
    """Numbers from 4 on are companies'."""
    return number[0] <= "3" and pvn.is_valid(number)


def belgian(number):
    """Years after today's count as of this century, too."""

    def check(number):
        body, digits = number[:9], int(number[9:])
        return any(97 - int(prefix + body) % 97 == digits for prefix in ("", "2"))

    month, known = int(number[2:4]), check(number)
    valid = nn.is_valid(number) or bis.is_valid(number)
    future = int(number[:2]) > 26
    return valid or (future and known and month % 20 <= 12 and month < 60 and int(number) > 0)


def south_african_id(number):
    """Whether 00 is 1900 or 2000 depends on today: 2000 here."""
    return south_african.is_valid(number)


# class, how its numbers are made (without regard to the check), and whether python-stdnum accepts one.
KINDS = [
    ("us_ssn", lambda: digits(9), ssn.is_valid),
    ("us_itin", lambda: "9" + digits(8), itin.is_valid),
    ("us_ein", lambda: digits(9), ein.is_valid),
    ("ca_sin", lambda: digits(9), sin.is_valid),
    (
        "mx_curp",
        lambda: letters(4)
        + ymd()
        + RANDOM.choice("HM")
        + RANDOM.choice(sorted(curp._valid_states))
        + letters(3)
        + RANDOM.choice(DIGITS + "ABCD")
        + digits(1),
        curp.is_valid,
    ),
    ("br_cpf", lambda: digits(11), cpf.is_valid),
    ("br_cnpj", lambda: RANDOM.choice([digits(14), letters(12, DIGITS + string.ascii_uppercase) + digits(2)]), cnpj.is_valid),
    ("ar_cuit", lambda: RANDOM.choice(["20", "23", "24", "27", "30", "33", "34"]) + digits(9), cuit.is_valid),
    ("cl_rut", lambda: digits(RANDOM.choice([7, 8])) + RANDOM.choice(DIGITS + "K"), rut.is_valid),
    ("co_nit", lambda: digits(RANDOM.choice([9, 10])), nit.is_valid),
    ("ec_cedula", lambda: f"{RANDOM.randint(1, 24):02d}{RANDOM.randint(0, 5)}" + digits(7), ci.is_valid),
    ("do_cedula", lambda: digits(11), lambda number: luhn.is_valid(number)),
    ("ve_rif", lambda: RANDOM.choice("VEJPG") + digits(9), rif.is_valid),
    ("gb_nhs", lambda: digits(10), nhs.is_valid),
    ("ie_pps", lambda: digits(7) + letters(1, string.ascii_uppercase[:23]) + RANDOM.choice(["", *"ABHWTX"]), pps.is_valid),
    (
        "fr_nir",
        lambda: RANDOM.choice("12")
        + digits(2)
        + f"{RANDOM.randint(1, 12):02d}"
        + RANDOM.choice([f"{RANDOM.randint(1, 95):02d}", "2A", "2B"])
        + digits(8),
        nir.is_valid,
    ),
    ("fr_spi", lambda: RANDOM.choice("0123") + digits(12), spi.is_valid),
    ("de_steuer_id", lambda: steuer(), steuer_id.is_valid),
    ("at_svnr", lambda: digits(4) + dmy(), vnr.is_valid),
    ("ch_ahv", lambda: "756" + digits(10), ahv.is_valid),
    ("nl_bsn", lambda: digits(9), bsn.is_valid),
    ("be_national_number", lambda: ymd(RANDOM.choice([0, 0, 20, 40])) + digits(5), belgian),
    ("es_dni", lambda: digits(8) + letters(1), dni.is_valid),
    ("es_nie", lambda: RANDOM.choice("XYZ") + digits(7) + letters(1), nie.is_valid),
    ("pt_nif", lambda: digits(9), nif.is_valid),
    ("pt_cc", lambda: digits(9) + letters(2) + digits(1), cc.is_valid),
    ("it_codice_fiscale", lambda: italian(), codicefiscale.is_valid),
    ("gr_amka", lambda: dmy() + digits(5), amka.is_valid),
    ("gr_afm", lambda: digits(9), afm.is_valid),
    ("tr_kimlik", lambda: digits(11), tckimlik.is_valid),
    ("il_id", lambda: digits(9), israeli.is_valid),
    ("pl_pesel", lambda: ymd(RANDOM.choice([0, 20, 80])) + digits(5), pesel.is_valid),
    ("cz_rodne_cislo", lambda: ymd(RANDOM.choice([0, 20, 50, 70])) + digits(RANDOM.choice([3, 4, 4])), rc.is_valid),
    ("ro_cnp", lambda: RANDOM.choice("1256") + ymd() + f"{RANDOM.randint(1, 52):02d}" + digits(4), cnp.is_valid),
    ("bg_egn", lambda: ymd(RANDOM.choice([0, 20, 40])) + digits(4), egn.is_valid),
    ("hr_oib", lambda: digits(11), oib.is_valid),
    ("si_emso", lambda: emso_number(), emso.is_valid),
    ("ua_rntrc", lambda: digits(10), rntrc.is_valid),
    ("ru_inn", lambda: digits(12), inn.is_valid),
    ("se_personnummer", lambda: ymd(0, RANDOM.choice([0, 0, 0, 60]), RANDOM.choice([2, 4])) + digits(4), swedish),
    (
        "no_fodselsnummer",
        lambda: dmy(RANDOM.choice([0, 0, 40]), RANDOM.choice([0, 0, 0, 40])) + digits(5),
        without_today(fodselsnummer),
    ),
    ("dk_cpr", lambda: dmy() + digits(4), without_today(cpr)),
    (
        "fi_hetu",
        lambda: dmy() + RANDOM.choice("-+ABCDEFYXWVU") + digits(3) + letters(1, "0123456789ABCDEFHJKLMNPRSTUVWXY"),
        hetu.is_valid,
    ),
    ("is_kennitala", lambda: dmy(RANDOM.choice([0, 0, 40])) + digits(3) + RANDOM.choice("09"), kennitala.is_valid),
    ("ee_isikukood", lambda: RANDOM.choice("123456") + ymd() + digits(4), ik.is_valid),
    ("lt_asmens_kodas", lambda: RANDOM.choice("34569") + ymd() + digits(4), asmens.is_valid),
    ("lv_personas_kods", lambda: RANDOM.choice([dmy() + RANDOM.choice("012"), "32" + digits(5)]) + digits(4), latvian),
    ("in_aadhaar", lambda: digits(12), aadhaar.is_valid),
    ("in_pan", lambda: letters(5) + digits(4) + letters(1), pan.is_valid),
    ("pk_cnic", lambda: digits(13), cnic.is_valid),
    ("cn_resident_id", lambda: "110101" + ymd(0, 0, 4) + digits(3) + RANDOM.choice(DIGITS + "X"), chinese),
    ("jp_my_number", lambda: digits(12), my_number.is_valid),
    ("kr_rrn", lambda: ymd() + digits(7), rrn.is_valid),
    ("my_nric", lambda: ymd() + digits(6), nric.is_valid),
    ("th_pin", lambda: digits(13), pin.is_valid),
    ("id_nik", lambda: f"{RANDOM.randint(10, 99)}" + digits(4) + dmy(RANDOM.choice([0, 40])) + digits(4), indonesian),
    ("au_tfn", lambda: digits(RANDOM.choice([8, 9])), tfn.is_valid),
    ("nz_ird", lambda: f"{RANDOM.randint(1, 149_999_999):08d}", ird.is_valid),
    ("za_id", lambda: ymd() + digits(4) + RANDOM.choice("01") + digits(2), south_african_id),
    ("iban", lambda: account(), lambda number: iban.is_valid(number, check_country=False)),
]


def account():
    """Of any country in the SWIFT registry; its check digits are right."""
    _, _, country, registered, _ = RANDOM.choice(iban._ibandb.prefixes)
    kinds = {"n": digits, "a": letters, "c": lambda count: letters(count, DIGITS + string.ascii_uppercase)}
    blocks = re.findall(r"(\d+)!([nac])", registered["bban"])
    number = country + "00" + "".join(kinds[kind](int(count)) for count, kind in blocks)
    return number[:2] + iban.calc_check_digits(number) + number[4:]


def steuer():
    """Ten digits, one of them twice or three times."""
    pool = RANDOM.sample(DIGITS, 9)
    body = RANDOM.choice([pool + [pool[0]], pool[:8] + [pool[0], pool[0]]])
    RANDOM.shuffle(body)
    return "".join(body) + digits(1)


def italian():
    year, month, date = day()
    stem = letters(6) + f"{year % 100:02d}" + "ABCDEHLMPRST"[month - 1] + f"{date + RANDOM.choice([0, 40]):02d}"
    stem += letters(1) + digits(3)
    if RANDOM.random() < 0.1:
        stem = stem[:-1] + "LMNPQRSTUV"[int(stem[-1])]
    return stem + letters(1)


def emso_number():
    year, month, date = day()
    return f"{date:02d}{month:02d}{year % 1000:03d}" + digits(6)


# Where the check digits are not the last character alone: its place, or python-stdnum's own calculation of the end.
CHECKS = {
    "at_svnr": 3,
    "ie_pps": 7,
    "is_kennitala": 8,
    "br_cpf": lambda number: number[:9] + cpf._calc_check_digits(number[:9]),
    "br_cnpj": lambda number: number[:12] + cnpj.calc_check_digits(number[:12]),
    "fr_nir": lambda number: number[:13] + nir.calc_check_digits(number[:13]),
    "fr_spi": lambda number: number[:10] + spi.calc_check_digits(number[:10]),
    "be_national_number": lambda number: number[:9] + f"{97 - int(RANDOM.choice(['', '2']) + number[:9]) % 97:02d}",
    "tr_kimlik": lambda number: number[:9] + tckimlik.calc_check_digits(number[:9]),
    "no_fodselsnummer": lambda number: norwegian(number[:9]),
    "ru_inn": lambda number: number[:10] + inn.calc_personal_check_digits(number[:10]),
    "iban": lambda number: number,
}


def norwegian(body):
    body += fodselsnummer.calc_check_digit1(body)[-1]
    return body + fodselsnummer.calc_check_digit2(body)[-1]


def valid_number(name, make, is_valid):
    """Made until python-stdnum accepts one; of a check character every value is tried."""
    check = CHECKS.get(name, -1)
    while True:
        number = make()
        if callable(check):
            tries = [check(number)]
        else:
            at = check % len(number)
            values = DIGITS if number[at].isdigit() else DIGITS + string.ascii_uppercase
            tries = [number, *(number[:at] + value + number[at + 1 :] for value in values)]
        for number in tries:
            if len(set(filter(str.isdigit, number))) > 1 and is_valid(number):
                return number


def corrupted(number):
    """One character changed, or two neighbours swapped."""
    at = RANDOM.randrange(len(number))
    if RANDOM.random() < 0.3 and at > 0:
        changed = number[: at - 1] + number[at] + number[at - 1] + number[at + 1 :]
        # Letters and digits keep their places: a number of another form is no number of this class at all.
        same = all(a.isdigit() == b.isdigit() for a, b in zip(number, changed))
        return changed if same and changed.isalnum() else corrupted(number)
    if not number[at].isalnum():
        return corrupted(number)
    return number[:at] + (digits(1) if number[at].isdigit() else letters(1)) + number[at + 1 :]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=10_000, help="numbers of each class, half of them made valid")
    each = parser.parse_args().each
    for name, make, is_valid in KINDS:
        valid = [valid_number(name, make, is_valid) for _ in range(each // 2)]
        wrong = (corrupted(number) for number in valid)
        for number in valid + list(wrong):
            if len(set(filter(str.isdigit, number))) > 1:
                print(name, number, int(is_valid(number)), sep="\t")


if __name__ == "__main__":
    main()
