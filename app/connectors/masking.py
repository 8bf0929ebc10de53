"""What is a person's in an answer, and how a page may show it.

Numbers of persons are known by their shape, wherever they stand. A name is a person's or a
place's: what the field is called decides, then what stands beside it, then how the values
look. Where all of that says nothing, it is masked.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

SHOWN = 5  # records of a list that a page shows
HIDDEN = "••••••"
_MAX_DEPTH = 12
# 16 digits (NIK), 15 with or without dots (NPWP), 18 (NIP), telephone numbers, e-mail.
_NUMBER = re.compile(
    r"(?<!\d)\d{16}(?!\d)"
    r"|(?<!\d)\d{2}\.\d{3}\.\d{3}\.\d-\d{3}\.\d{3}(?!\d)"
    r"|(?<!\d)\d{15}(?!\d)|(?<!\d)\d{18}(?!\d)|(?<!\d)\d{8} \d{6} \d \d{3}(?!\d)"
    r"|(?<![\d.])(?:\+?62[\s-]?|0)8[\d\s-]{7,13}\d(?!\d)"
    r"|[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+"
)
_SECRET = re.compile(r"token|secret|password|passwd|api_?key|sandi", re.IGNORECASE)


def _words(*words: str) -> re.Pattern[str]:
    return re.compile(rf"(^|_)({'|'.join(words)})($|_)")


# Fields that hold a person's number or day, whatever it looks like.
_ALWAYS = re.compile(
    r"^((no|nomor|nomer)_?)?(nik|ktp|npwp|nip|nrp|kk|hp|wa|whatsapp|telp|telepon|telpon|phone"
    r"|mobile|rekening|rek|paspor|passport|sim)(_(pegawai|pribadi|orang_tua|ayah|ibu|wali))?$"
    r"|^e?_?mail(_.*)?$|^surel(_.*)?$|^user_?name$"
    r"|^(tgl|tanggal|date|tempat)(_of)?_(lahir|birth)$|^birth_?(date|day|place)?$|^dob$"
)
# Who is meant by a name.
_PERSON = _words(
    "pegawai", "asn", "pns", "karyawan", "guru", "dosen", "siswa", "murid", "mahasiswa",
    "pasien", "penduduk", "warga", "anak", "ayah", "ibu", "istri", "suami", "wali", "lengkap",
    "depan", "belakang", "panggilan", "pemilik", "penerima", "pemohon", "pejabat", "kepala",
    "pimpinan", "ketua", "direktur", "bupati", "camat", "lurah", "kades", "operator", "pic",
    "penanggung_jawab", "kontak", "contact", "first", "last", "full", "person", "employee",
    "patient", "student", "owner", "fullname",
)  # fmt: skip
_THING = _words(
    "wilayah", "daerah", "prov", "provinsi", "propinsi", "kab", "kabkota", "kabupaten", "kota",
    "kec", "kecamatan", "desa", "kel", "kelurahan", "dusun", "opd", "skpd", "dinas", "instansi",
    "unit", "satker", "unor", "bidang", "lembaga", "kantor", "organisasi", "perusahaan",
    "sekolah", "faskes", "puskesmas", "rs", "jalan", "jln", "ruas", "paket", "program",
    "kegiatan", "barang", "aset", "produk", "jabatan", "golongan", "pangkat", "jenis",
    "kategori", "indikator", "variabel", "dataset", "layanan", "aplikasi", "file", "tempat",
    "pasar", "sungai", "lokasi", "region", "city", "district", "province", "village", "unit_kerja",
)  # fmt: skip
_NAME = re.compile(r"(^|_)(nama|nm|name|names)($|_)|^fullname$")
_ADDRESS = _words("alamat", "address", "alamat_rumah", "domisili")
# What stands beside a person's name, and beside a place's.
_STRONG = re.compile(
    r"^((no|nomor)_?)?(nik|nip|nrp|kk|ktp|nisn|nuptk|nidn)$|(^|_)(lahir|birth)($|_)"
)
_WEAK = _words("pangkat", "golongan", "gol", "jabatan", "status_kawin", "email", "hp")
# These stand beside a person's name, and, with a count, in statistics of a place.
_TRAIT = _words("jenis_kelamin", "kelamin", "jk", "gender", "sex", "agama", "pendidikan", "umur", "usia")  # fmt: skip
_COUNT = _words("jumlah", "jml", "total", "count", "persen", "persentase")
_PLACE = re.compile(
    r"(^|_)(kode|kd|code|induk|parent|level|tingkat|lat|lon|lng|latitude|longitude|luas|bps"
    r"|kemendagri|npsn|ibukota)($|_)"
)
_FEW_FIELDS = 3
# How values look: bodies and places by their first word, people by titles and given names.
_BODY = re.compile(
    r"^(prov|kab|kota|kec|kel|desa|nagari|gampong|dusun|kampung|pulau|dinas|badan|kantor|biro"
    r"|sekretariat|inspektorat|bagian|bidang|seksi|subbag|upt|uptd|satuan|rsud|rs|rumah sakit"
    r"|puskesmas|pustu|klinik|apotek|sd|sdn|smp|smpn|sma|sman|smk|smkn|mi|mts|ma|tk|paud|pt|cv"
    r"|ud|koperasi|kud|pasar|terminal|pelabuhan|bandara|jalan|jl|jembatan|sungai|danau|gunung"
    r"|perpustakaan|museum|polda|polres|polsek|kodim|universitas|politeknik|sekolah|bank|bpr"
    r"|kecamatan|kelurahan|kabupaten|provinsi|pemerintah|kementerian)\b",
    re.IGNORECASE,
)
_TITLE = re.compile(
    r"\b(S|M)\.\s?(H|E|Sos|Pd|Si|Kom|IP|T|M|Ag|KM|Kep|Farm|AP|Hum|Kes|P|Psi|Th)\b"
    r"|\b(Drs?|Dra|Ir|Hj?|Prof|dr|drg|Ns|Apt)\.\s?[A-Z]|\bA\.?Md\b|\b(bin|binti)\b"
)
_GIVEN = re.compile(
    r"\b("
    "abdul|abdullah|achmad|adi|aditya|agung|agus|ahmad|aisyah|ali|amir|andi|andri|ani|"
    "anita|anwar|ari|arief|arif|aris|asep|astuti|ayu|bambang|bayu|budi|cahyo|citra|dani|"
    "darma|dedi|deni|denny|desi|dewi|dian|dina|dwi|edi|eka|eko|elisabeth|endang|erna|eva|"
    "faisal|fajar|fatimah|firman|fitri|fitriani|gunawan|hadi|handayani|hari|haris|"
    "hartono|hasan|hendra|hendri|heri|herman|hidayat|husein|ibrahim|ika|ilham|imam|indah|"
    "indra|intan|irfan|irma|irwan|iskandar|ismail|johan|joko|kartika|kartini|khairul|"
    "kurniawan|laila|lestari|lia|lina|linda|lisa|lukman|maria|mariam|maulana|maya|mega|"
    "mohamad|mohammad|muhamad|muhammad|mulyadi|mulyono|nanang|nia|nina|novi|nugroho|nur|"
    "nuraini|nurhayati|nurul|oki|prasetyo|pratama|puspita|putra|putri|putu|rahayu|rahma|"
    "rahman|rahmat|rahmawati|ratna|rendi|reza|rian|riana|ridwan|rifki|rika|rina|rini|rio|"
    "rizal|rizki|rizky|robert|roni|rosmawati|rudi|rusdi|santoso|saputra|sari|setiawan|"
    "setyo|siti|sofyan|sri|sugeng|suharto|sukma|sulastri|sumarni|supriyadi|suryani|"
    "susanti|susanto|susilo|sutrisno|syahrul|syarif|taufik|teguh|tri|umar|utami|wahyu|"
    "wahyudi|wahyuni|wati|wawan|widodo|wijaya|wulandari|yanti|yanto|yohanes|yudi|yuli|"
    "yuliana|yulianti|yunita|yusuf|zainal|zulkifli"
    r")\b",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Tell whether a field of this name holds a key."""
    return _SECRET.search(name) is not None


def personal_names(rows: Sequence[Mapping[str, Any]], above: str = "") -> frozenset[str]:
    """Return the fields of these records, by name, that hold persons' data.

    ``above`` is the name of the field that the records stand in, "" for none.
    """
    columns: dict[str, list[str]] = {}
    for row in rows:
        for name, value in row.items():
            texts = columns.setdefault(str(name), [])
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                texts.append(str(value))
    spelled = {name: _spelled(name) for name in columns}
    beside = _Beside(spelled.values(), columns.values(), _spelled(above))
    return frozenset(
        name for name, texts in columns.items() if beside.marks(spelled[name], texts)
    )


def _spelled(name: str) -> str:
    """A field's name in small letters, its words parted by _."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", apart.lower()).strip("_")


class _Beside:
    """What the other fields of a record say about those that may be a person's."""

    def __init__(
        self, names: Iterable[str], columns: Iterable[Sequence[str]], above: str
    ) -> None:
        names = list(names)
        self._few = len(names) <= _FEW_FIELDS
        numbers = any(
            text.replace(" ", "").isdecimal() and _NUMBER.fullmatch(text)
            for texts in columns
            for text in texts[:SHOWN]
        )
        counts = any(map(_COUNT.search, names))
        self._strong = numbers or any(map(_STRONG.search, names))
        self._place = counts or any(map(_PLACE.search, names))
        self._weak = any(
            _WEAK.search(name) or (_TRAIT.search(name) and not counts) for name in names
        )
        self._person_above = bool(_PERSON.search(above))

    def marks(self, name: str, texts: Sequence[str]) -> bool:
        """Tell whether a field of this name and these values is a person's."""
        if _ALWAYS.search(name) or any(map(_NUMBER.search, texts)):
            return True
        if not any(any(map(str.isalpha, text)) for text in texts):
            return False
        if _ADDRESS.search(name):
            return self._strong or self._weak or self._person_above
        if _NAME.search(name):
            return self._is_persons_name(name, texts)
        return bool(_PERSON.search(name)) and _are_names(texts)

    def _is_persons_name(self, name: str, texts: Sequence[str]) -> bool:
        if _PERSON.search(name):
            return True
        if _THING.search(name) or _share(_BODY.search, texts) >= 0.5:
            return False
        if self._strong or self._weak or self._person_above or _are_names(texts):
            return True
        return not (self._place or self._few)


def _share(test: Any, texts: Sequence[str]) -> float:
    return sum(1 for text in texts if test(text)) / max(len(texts), 1)


def _are_names(texts: Sequence[str]) -> bool:
    """Tell whether values look like the names of persons: titles, given names.

    Some villages are called like people: of samples of 25 out of the national list of
    regions, 1 in 65 is taken for people at this share; of people's names, 1 in 22 is not.
    """
    return _share(_looks_named, texts) >= 0.2


def _looks_named(text: str) -> bool:
    return bool(_TITLE.search(text) or _GIVEN.search(text))


# --- showing ------------------------------------------------------------------------


def mask(name: str, text: str, *, is_personal: bool = False) -> str:
    """A value as a page may show it: no number of a person, no name, no key."""
    if is_secret(name):
        return HIDDEN
    if is_personal:
        return _dotted(text)
    return _NUMBER.sub(lambda match: _dotted(match[0]), text)[:200]


def _dotted(text: str) -> str:
    """The first and last signs of a text, its length kept."""
    if len(text) <= 4:
        return "•" * len(text)
    return (text[:2] + "•" * (len(text) - 4) + text[-2:])[:60]


def masked(value: Any, name: str = "", depth: int = 0) -> Any:
    """A decoded value with every text in it masked; long lists are cut."""
    if depth > _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return _masked_records([value], name, depth)[0]
    if isinstance(value, list):
        rest = ["…"] if len(value) > SHOWN else []
        if value and all(isinstance(each, dict) for each in value):
            return _masked_records(value, name, depth) + rest
        return [masked(each, name, depth + 1) for each in value[:SHOWN]] + rest
    return _masked_scalar(value, name, depth, is_personal=False)


def _masked_records(rows: list[dict[str, Any]], above: str, depth: int) -> list[Any]:
    """Records with what all of them together show to be personal hidden."""
    personal = personal_names(rows[:100], above)
    return [
        {
            str(name): masked(each, str(name), depth + 1)
            if isinstance(each, dict | list)
            else _masked_scalar(each, str(name), depth, is_personal=str(name) in personal)
            for name, each in list(row.items())[:60]
        }
        for row in rows[:SHOWN]
    ]


def _masked_scalar(value: Any, name: str, depth: int, *, is_personal: bool) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if value.lstrip()[:1] in {"{", "["} and len(value) > 40:
            return _masked_inner(value, depth)
        return mask(name, value, is_personal=is_personal)
    text = msgspec.json.encode(value).decode()
    shown = mask(name, text, is_personal=is_personal)
    return value if shown == text else shown


def _masked_inner(text: str, depth: int) -> str:
    """A JSON text inside JSON: masked as what it holds, or as a text when it holds nothing."""
    try:
        inner = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return mask("", text)
    return msgspec.json.encode(masked(inner, "", depth + 1)).decode()


def masked_json(value: Any) -> str:
    """A decoded value, masked, as readable JSON."""
    packed = msgspec.json.encode(masked(value))
    return msgspec.json.format(packed, indent=2).decode()


def personal_paths(rows: Iterable[Any], above: str = "") -> Iterator[str]:
    """Yield the dotted paths, through nested objects, of fields that hold persons' data."""
    records = [row for row in rows if isinstance(row, dict)]
    yield from personal_names(records, above)
    names = dict.fromkeys(name for row in records for name in row)
    for name in names:
        inner = [row[name] for row in records if isinstance(row.get(name), dict)]
        if inner:
            yield from (f"{name}.{each}" for each in personal_paths(inner, name))
