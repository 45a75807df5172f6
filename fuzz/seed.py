#!/usr/bin/env python3
"""Makes `seeds/TARGET/`: small real files of each kind, written by the usual libraries.

pip install pyarrow openpyxl odfpy zstandard; python3 fuzz/seed.py
"""
import decimal, gzip, io, datetime, json, os, tarfile, zipfile
import pyarrow as pa, pyarrow.parquet as pq, openpyxl, zstandard
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table, TableCell, TableRow
from odf.text import P

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seeds")


def seed(target, name, data):
    os.makedirs(os.path.join(ROOT, target), exist_ok=True)
    with open(os.path.join(ROOT, target, name), "wb") as out:
        out.write(data.encode() if isinstance(data, str) else data)


PLAIN = 'k,name,d,n\n1,Ann,1987-04-12,17\n007,"O\'Neil, ""J""",1990-01-01,\n3,"two\nlines",1999-12-31,2.50\n'
ROWS = [{"k": 1, "name": "Ann", "d": "1987-04-12", "n": 17, "user": {"email": "a@b.example", "tags": ["x", None]}},
        {"k": 2, "name": "J\u00f6\"\u2028", "d": None, "n": -1.50e3, "user": {"email": "", "tags": []}}]

# The first byte chooses the dialect.
for byte, name, text in [
    ("0", "plain", PLAIN), ("0", "crlf", PLAIN.replace("\n", "\r\n")), ("0", "mark", "\ufeff" + PLAIN),
    ("1", "semicolon", "k;name;n\n1;'a;b';3\n2;'it''s';4\n"), ("2", "tabs", "k\tname\tn\n1\ta\"b\t3\n"),
    ("3", "escapes", 'k,name\n1,"a\\"b"\n2,c\\,d\n'), ("4", "escapes_unquoted", "k,name\n1,a\\,b\n2,c\\\nd\n"),
    ("5", "no_header", "1,Ann,1987-04-12,3,x\n2,Bob,,4,y\n"),
    ("6", "preamble", "made by\nsomething\n# note\nk,name\n1,a\n# note\n2,b\n"),
    ("7", "comments", "# note\nk|name\n1|a\n#|x\n2|b"), ("0", "ragged", "k,name\n1,2,3\n"),
    ("0", "open_quote", 'k,name\n1,"abc\n'), ("0", "behind_quote", 'k,name\n1,"abc"d\n'), ("0", "nul", "k,name\n1,a\0b\n"),
    ("0", "one_column", "name\nAnn\n\nBob\n"), ("0", "empty", ""),
]:
    # The digits' codes are 0 to 7 modulo 8.
    seed("delimited", name, byte + text)

seed("fixed", "three", "001Ann     x\n002Bob     y\n")
seed("fixed", "crlf", "001Ann     x\r\n002\u00c4nne    y\r\n")
seed("fixed", "four", "1ABB1987\n2CDD1990\n")
seed("fixed", "short", "001Ann\n")

# 9 ways: '6' is 0 modulo 9.
for index, codec in enumerate(["utf-16-le", "utf-16-be", "cp1252", "iso8859_2", "shift_jis", "gb18030", "iso2022_jp", "euc_kr", "utf-8"]):
    name = {"cp1252": "Jos\u00e9", "iso8859_2": "\u0141ukasz", "shift_jis": "\u5c71\u7530\u8868", "gb18030": "\u674e\u96f7\U00020000",
            "iso2022_jp": "\u5c71\u7530", "euc_kr": "\uae40\ucca0\uc218"}.get(codec, "J\u00f6rg \U0001f600")
    text = f'k,name,n\n1,{name},3\n2,"{name}, x",4\n'
    seed("charset", codec.replace("-", ""), bytes([54 + index]) + text.encode(codec))
    if codec.startswith("utf"):
        seed("charset", codec.replace("-", "") + "_mark", bytes([54 + index]) + ("\ufeff" + text).encode(codec))
seed("charset", "lone_surrogate", bytes([54]) + "k,name\n".encode("utf-16-le") + b"\x00\xd8a\x00\n\x00")
seed("charset", "odd_length", bytes([54]) + "k,name\n1,a".encode("utf-16-le") + b"\n")

seed("json", "array", json.dumps(ROWS, indent=1, ensure_ascii=False))
seed("json", "lines", "".join(json.dumps(row) + "\n" for row in ROWS))
seed("json", "object", json.dumps(ROWS[0]))
seed("json", "twice", '{"k": 1, "k": 2}')
seed("json", "deep", "[" * 70 + "]" * 70)
seed("json", "numbers", '[{"n": 1.10, "k": 1E+2}, {"n": -0, "k": 123456789012345678901234567890}]')
seed("json", "cut", '[{"k": 1}, {"k":')
seed("json", "escapes", '{"na\\u006de": "\\ud83d\\ude00 \\/ \\"", "k": "\\ud800"}')
seed("json", "empty", "[]")

table = pa.table({
    "k": pa.array([1, 2, None], pa.int32()), "name": pa.array(["Ann", "", None]),
    "d": pa.array([datetime.date(1987, 4, 12), None, datetime.date(1999, 12, 31)]),
    "n": pa.array([1.5, None, -0.0]), "nd": pa.array([decimal.Decimal("1.20"), None, decimal.Decimal("-3.45")], pa.decimal128(9, 2)),
    "dt": pa.array([0, 1, None], pa.timestamp("us", "Europe/Berlin")), "b": pa.array([b"x", None, b"\xff"], pa.binary()),
    "cat": pa.array(["a", "b", "a"]).dictionary_encode(), "flag": pa.array([True, None, False]),
    "l": pa.array([["p", None], [], None], pa.list_(pa.string())),
    "s": pa.array([{"email": "a@b.example", "age": 3}, None, {"email": None, "age": None}], pa.struct({"email": pa.string(), "age": pa.int8()})),
})
simple = table.select(["k", "name", "d", "n"])


def parquet(table, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


for name, options in {
    "snappy": {}, "zstd": {"compression": "zstd", "row_group_size": 2}, "gzip": {"compression": "gzip"}, "none": {"compression": "none"},
    "brotli": {"compression": "brotli"}, "lz4": {"compression": "lz4"}, "v2": {"data_page_version": "2.0", "use_dictionary": False},
    "index": {"write_page_index": True, "write_page_checksum": True},
    "delta": {"use_dictionary": False, "column_encoding": {"k": "DELTA_BINARY_PACKED", "name": "DELTA_BYTE_ARRAY", "n": "BYTE_STREAM_SPLIT"}},
}.items():
    seed("parquet", name, parquet(simple, **options))
seed("parquet", "types", parquet(table))
seed("parquet", "no_rows", parquet(simple.slice(0, 0)))
seed("parquet", "cut", parquet(simple)[:-9])

for name, writer in [("file", pa.ipc.new_file), ("stream", pa.ipc.new_stream)]:
    for codec in [None, "zstd", "lz4"]:
        sink = io.BytesIO()
        with writer(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as out:
            out.write_table(table, max_chunksize=2)
        seed("arrow", f"{name}_{codec or 'none'}", sink.getvalue())
seed("arrow", "cut", sink.getvalue()[:-40])

book = openpyxl.Workbook()
sheet = book.active
sheet.append(["k", "name", "d", "n"])
sheet.append([1, "Ann", datetime.datetime(1987, 4, 12), 1.5])
sheet.append(["007", "O'Neil, J", datetime.date(1990, 1, 1), "=D2*2"])
sheet["F9"] = True
sink = io.BytesIO()
book.save(sink)
seed("spreadsheet", "xlsx", sink.getvalue())
book.create_sheet("hidden").sheet_state = "hidden"
book.create_sheet("second").append(["a", "b"])
sink = io.BytesIO()
book.save(sink)
seed("spreadsheet", "xlsx_sheets", sink.getvalue())
document = OpenDocumentSpreadsheet()
sheet = Table(name="one")
for cells in [["k", "name"], ["1", "Ann"], ["007", "Bob"]]:
    row = TableRow()
    for text in cells:
        cell = TableCell(valuetype="string")
        cell.addElement(P(text=text))
        row.addElement(cell)
    sheet.addElement(row)
document.spreadsheet.addElement(sheet)
sink = io.BytesIO()
document.write(sink)
seed("spreadsheet", "ods", sink.getvalue())


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", compression) as out:
        for name, data in members:
            out.writestr(name, data)
    return sink.getvalue()


def tarred(members):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as out:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))
    return sink.getvalue()


MEMBERS = [("a.csv", PLAIN.encode()), ("dir/b.json", json.dumps(ROWS).encode()), ("note.txt", b"hello")]
seed("archive", "zip", zipped(MEMBERS))
seed("archive", "zip_stored", zipped(MEMBERS, zipfile.ZIP_STORED))
seed("archive", "zip_traversal", zipped([("../a.csv", PLAIN)]))
seed("archive", "zip_nested", zipped([("a.zip", zipped(MEMBERS))]))
seed("archive", "tar", tarred(MEMBERS))
seed("archive", "tar_long", tarred([("x" * 200 + ".csv", PLAIN.encode())]))
seed("archive", "tar_gz", gzip.compress(tarred(MEMBERS), mtime=0))
seed("archive", "tar_zst", zstandard.compress(tarred(MEMBERS)))
link = tarfile.TarInfo("a.csv")
link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
sink = io.BytesIO()
with tarfile.open(fileobj=sink, mode="w") as out:
    out.addfile(link)
seed("archive", "tar_link", sink.getvalue())

seed("compressed", "csv_gz", gzip.compress(PLAIN.encode(), mtime=0))
seed("compressed", "members_gz", gzip.compress(PLAIN.encode(), mtime=0) + gzip.compress(b"4,x,,1\n", mtime=0))
seed("compressed", "csv_zst", zstandard.ZstdCompressor(write_checksum=True).compress(PLAIN.encode()))
seed("compressed", "frames_zst", zstandard.compress(PLAIN.encode()) + zstandard.compress(b"4,x,,1\n"))
seed("compressed", "json_gz", gzip.compress(json.dumps(ROWS).encode(), mtime=0))
seed("compressed", "cut_gz", gzip.compress(PLAIN.encode(), mtime=0)[:-5])
seed("compressed", "bomb_gz", gzip.compress(b"a" * (32 << 20), mtime=0))
seed("compressed", "twice_gz", gzip.compress(gzip.compress(PLAIN.encode(), mtime=0), mtime=0))
seed("compressed", "pdf", b"%PDF-1.7\n1 0 obj\n")

people = "name,ssn,email,card,iban,phone,dob,ip,note\n" + "".join(
    f"Ann {i},{100 + i}-45-{6000 + i},a{i}@b.example,4111111111111111,GB82WEST12345698765432,+1 202 555 01{i:02},1987-04-{1 + i:02},10.0.0.{i},"
    f"write to x{i}@y.example\n" for i in range(20))
seed("detect", "people", people)
seed("detect", "json", json.dumps(ROWS))
seed("detect", "parquet", parquet(simple))
seed("detect", "text", "note\n" + "call +44 20 7946 0958, AKIAIOSFODNN7EXAMPLE, 943 476 5919 at 2001:db8::1\n" * 3)
