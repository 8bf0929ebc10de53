"""The papers of the procedure: which step brings which, who signs it, and what it says.

The words here are what a new office begins with; it edits them on a page of its own.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from app.requests.documents import DocumentKind as D
from app.requests.states import Action, Role, Step


class PaperKind(StrEnum):
    """One kind of paper."""

    RECEIPT = "receipt"
    RETURN_LETTER = "return_letter"
    REFUSAL_LETTER = "refusal_letter"
    DISPOSITION = "disposition"
    DATA_DEFINITION = "data_definition"
    SCENARIO = "scenario"
    INTERCHANGE = "interchange"
    CONNECTION_TEST = "connection_test"
    STORAGE = "storage"
    RESULT_LETTER = "result_letter"
    CHECK_RESULT = "check_result"
    RECONCILIATION = "reconciliation"
    RESULT_DOCUMENT = "result_document"
    DASHBOARD = "dashboard"
    REPORT = "report"


class Paper(NamedTuple):
    """What belongs to a kind of paper. ``documents`` are printed in it.

    ``is_delivered``: it is for the agency, which gives a receipt by opening it.
    """

    title: str
    opening: str
    closing: str
    signers: tuple[Role, ...]
    documents: tuple[D, ...] = ()
    is_letter: bool = False
    is_delivered: bool = False


# What a wording may name; each is replaced by what it is in the case.
PLACES = (
    "permohonan", "nomor_permohonan", "pemohon", "hari_tanggal", "tanggal", "alasan",
    "penjelasan", "langkah", "batas_waktu",
)  # fmt: skip
_MINUTES = (
    "Pada {hari_tanggal}, yang bertanda tangan di bawah ini menyatakan hal-hal berikut mengenai"
    " {permohonan} ({nomor_permohonan}) dari {pemohon}."
)
_MINUTES_END = "Demikian berita acara ini dibuat dengan sebenarnya untuk dipergunakan sebagaimana mestinya."

PAPERS: Mapping[PaperKind, Paper] = MappingProxyType(
    {
        PaperKind.RECEIPT: Paper(
            "Tanda Terima Berkas Permohonan",
            "Berkas {permohonan} dari {pemohon} telah diterima lengkap pada {tanggal} dan terdaftar dengan nomor {nomor_permohonan}.",
            "Layanan diselesaikan paling lama tiga bulan, yaitu sebelum {batas_waktu}. Layanan ini tidak dipungut biaya.",
            (Role.TIM_TEKNIS,), is_delivered=True,
        ),
        PaperKind.RETURN_LETTER: Paper(
            "Pengembalian Berkas Permohonan",
            "Berkas {permohonan} ({nomor_permohonan}) kami kembalikan untuk dilengkapi. Alasan: {alasan}.\n{penjelasan}",
            "Setelah diperbaiki, berkas dapat diajukan kembali dengan nomor permohonan yang sama. Layanan ini tidak dipungut biaya.",
            (Role.TIM_TEKNIS,), is_letter=True, is_delivered=True,
        ),
        PaperKind.REFUSAL_LETTER: Paper(
            "Penolakan Permohonan Integrasi",
            "Dengan menyesal kami sampaikan bahwa {permohonan} ({nomor_permohonan}) tidak dapat kami lanjutkan. Alasan: {alasan}.\n{penjelasan}",
            "Atas perhatian Saudara kami ucapkan terima kasih.",
            (Role.PIMPINAN,), is_letter=True, is_delivered=True,
        ),
        PaperKind.DISPOSITION: Paper(
            "Lembar Disposisi dan Permintaan Definisi Data",
            "Sehubungan dengan {permohonan} ({nomor_permohonan}) dari {pemohon}, diberikan disposisi dan permintaan sebagai berikut.",
            "Perangkat daerah diminta menyerahkan dokumen definisi data kepada tim teknis.",
            (Role.PIMPINAN,), (D.DISPOSITION,),
        ),
        PaperKind.DATA_DEFINITION: Paper(
            "Dokumen Definisi Data",
            "Dokumen ini mendefinisikan data yang diintegrasikan dalam {permohonan} ({nomor_permohonan}).",
            "Definisi ini menjadi dasar perumusan skenario integrasi.",
            (Role.OPD_PIMPINAN,), (D.DATA_DEFINITION,),
        ),
        PaperKind.SCENARIO: Paper(
            "Berita Acara Perumusan Skenario Integrasi", _MINUTES, _MINUTES_END,
            (Role.OPD_PIMPINAN, Role.TIM_TEKNIS), (D.SCENARIO,),
        ),
        PaperKind.INTERCHANGE: Paper(
            "Dokumen Interchange Data",
            "Pada {hari_tanggal}, para pihak menyepakati pertukaran data melalui web service untuk {permohonan} ({nomor_permohonan}) dengan ketentuan berikut.",
            "Dokumen ini berlaku sejak ditandatangani oleh semua pihak.",
            (Role.OPD_PIMPINAN, Role.PENGAWAS_DATA, Role.PENGAWAS_TI), (D.INTERCHANGE, D.DATA_DEFINITION),
        ),
        PaperKind.CONNECTION_TEST: Paper(
            "Berita Acara Uji Koneksi", _MINUTES, _MINUTES_END,
            (Role.TIM_TEKNIS, Role.PENGAWAS_TI), (D.CONNECTION_TEST,),
        ),
        PaperKind.STORAGE: Paper(
            "Berita Acara Penyimpanan Data di Basis Data Pusat", _MINUTES, _MINUTES_END,
            (Role.TIM_TEKNIS, Role.PENGAWAS_DATA), (D.STORAGE,),
        ),
        PaperKind.RESULT_LETTER: Paper(
            "Penyampaian Hasil Integrasi Data",
            "Bersama ini kami sampaikan hasil {permohonan} ({nomor_permohonan}).",
            "Mohon hasil ini diperiksa dan dibandingkan dengan sistem Saudara. Layanan ini tidak dipungut biaya.",
            (Role.PENGAWAS_DATA,), (D.RESULT_LETTER,), is_letter=True, is_delivered=True,
        ),
        PaperKind.CHECK_RESULT: Paper(
            "Hasil Pemeriksaan Perangkat Daerah",
            "{pemohon} telah memeriksa hasil {permohonan} ({nomor_permohonan}) dengan hasil berikut.",
            "Temuan yang menyangkut sistem perangkat daerah diperbaiki di sistem itu.",
            (Role.OPD_PIMPINAN,), (D.AGENCY_CHECK,),
        ),
        PaperKind.RECONCILIATION: Paper(
            "Berita Acara Rekonsiliasi Data", _MINUTES, _MINUTES_END,
            (Role.OPD_OPERATOR, Role.TIM_TEKNIS), (D.RECONCILIATION,), is_delivered=True,
        ),
        PaperKind.RESULT_DOCUMENT: Paper(
            "Dokumen Hasil Interchange Data dan Integrasi Sistem",
            "Dokumen ini memuat hasil {permohonan} ({nomor_permohonan}) dari {pemohon}.",
            "Dokumen ini disampaikan kepada perangkat daerah sebagai arsip.",
            (Role.PENGAWAS_TI,), (D.RESULT_DOCUMENT,), is_delivered=True,
        ),
        PaperKind.DASHBOARD: Paper(
            "Keputusan atas Dashboard Data Terintegrasi",
            "Setelah data terintegrasi ditampilkan kepada {pemohon}, diputuskan mengenai {permohonan} ({nomor_permohonan}) sebagai berikut.",
            "Pemutakhiran data berjalan terus sesuai dokumen interchange data.",
            (Role.ADMINISTRATOR,), (D.DASHBOARD,),
        ),
        PaperKind.REPORT: Paper(
            "Laporan Hasil Integrasi",
            "Laporan ini mengakhiri {permohonan} ({nomor_permohonan}) dari {pemohon}. Layanan terintegrasi tetap berjalan.",
            "Demikian laporan ini disampaikan.",
            (Role.ADMINISTRATOR, Role.PIMPINAN), (D.REPORT,), is_delivered=True,
        ),
    }
)  # fmt: skip

# What brings a paper: a deed in a step, an approval only when it leads on.
ISSUED: Mapping[tuple[Step, Action], PaperKind] = MappingProxyType(
    {
        (Step.FILE_CHECK, Action.APPROVE): PaperKind.RECEIPT,
        (Step.FILE_CHECK, Action.RETURN): PaperKind.RETURN_LETTER,
        (Step.COORDINATION, Action.APPROVE): PaperKind.DISPOSITION,
        (Step.DATA_DEFINITION, Action.APPROVE): PaperKind.DATA_DEFINITION,
        (Step.SCENARIO, Action.APPROVE): PaperKind.SCENARIO,
        (Step.SCENARIO, Action.DISAGREE): PaperKind.SCENARIO,
        (Step.INTERCHANGE_DOCUMENT, Action.APPROVE): PaperKind.INTERCHANGE,
        (Step.API, Action.APPROVE): PaperKind.CONNECTION_TEST,
        (Step.CENTRAL_DATABASE, Action.APPROVE): PaperKind.STORAGE,
        (Step.RESULT_DELIVERY, Action.APPROVE): PaperKind.RESULT_LETTER,
        (Step.AGENCY_CHECK, Action.APPROVE): PaperKind.CHECK_RESULT,
        (Step.FINAL_DATA, Action.APPROVE): PaperKind.RECONCILIATION,
        (Step.RESULT_DOCUMENT, Action.APPROVE): PaperKind.RESULT_DOCUMENT,
        (Step.DASHBOARD, Action.APPROVE): PaperKind.DASHBOARD,
        (Step.DASHBOARD, Action.NOT_FIT): PaperKind.DASHBOARD,
        (Step.REPORT, Action.APPROVE): PaperKind.REPORT,
    }
)


def issued_by(before: Step, action: Action, after: Step) -> PaperKind | None:
    """Return the paper that a deed brings, if it does."""
    if action is Action.REFUSE:
        return PaperKind.REFUSAL_LETTER
    if action is Action.APPROVE and before is after:
        return None
    return ISSUED.get((before, action))


_PLACE = re.compile(r"\{(\w+)\}")


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return a wording with its places filled in; one that is unknown stays as it is."""
    return _PLACE.sub(lambda found: values.get(found[1], found[0]), text)


def unknown_places(text: str) -> list[str]:
    """Return what a wording names that no case has."""
    return sorted(set(_PLACE.findall(text)) - set(PLACES))
