"""Files that are no photo we read, known by their first bytes or suffix, with a word on what to use instead."""

import re
from dataclasses import dataclass
from typing import Literal

from sdsr.photos.formats import HEAD_BYTES

Kind = Literal["picture", "raw", "video", "sound", "document", "archive", "text"]

_INSTEAD: dict[Kind, str] = {
    "picture": "save it as PNG or TIFF",
    "raw": "develop it to a 16-bit TIFF (darktable, RawTherapee) and restore that",
    "video": "save its frames as PNG (ffmpeg -i VIDEO FOLDER/%06d.png) and restore that folder",
    "sound": "give a photo",
    "document": "export its pages or pictures as PNG (for PDF: pdfimages -all, or pdftoppm -png) and restore those",
    "archive": "unpack it and give the folder",
    "text": "download or copy the photo itself",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A format that isn't read: what it is called (with its article), its kind, and what to do instead."""

    name: str
    kind: Kind
    instead: str

    def __str__(self) -> str:
        return f"{self.name}, which isn't read; {self.instead}."


def _of(kind: Kind, name: str, instead: str | None = None) -> Foreign:
    return Foreign(name=name, kind=kind, instead=instead or _INSTEAD[kind])


HEIC = _of("picture", "a HEIC")
HEIC_SEQUENCE = _of("picture", "a HEIC of several pictures", "export one of them as JPEG, PNG or AVIF")
RAW = _of("raw", "a camera's raw file")
GIF = _of("picture", "a GIF")
VIDEO = _of("video", "a video")
SOUND = _of("sound", "a sound file")
DOCUMENT = _of("document", "a document")
ARCHIVE = _of("archive", "an archive")
BMP = _of("picture", "a BMP")
ICON = _of("picture", "an icon")
LAYERS = _of("picture", "a layered picture of an editor", "export it flat, as PNG or TIFF")
JPEG_2000 = _of("picture", "a JPEG 2000")
JPEG_XR = _of("picture", "a JPEG XR")
JPEG_LS = _of("picture", "a JPEG-LS")
NETPBM = _of("picture", "a Netpbm picture (PBM, PGM, PPM, PAM, PFM)")
DYNAMIC_RANGE = _of("picture", "a picture of high dynamic range", "tone-map it to a 16-bit TIFF and restore that")
TARGA = _of("picture", "a Targa picture")
TEXTURE = _of("picture", "a texture of a game")
DRAWING = _of("picture", "a vector drawing", "it needs no restoring: export it as PNG at any size")
DICOM = _of("picture", "a DICOM study", "export a picture as PNG or TIFF; restored detail is invented, not evidence")
FITS = _of("picture", "a FITS picture", "export it as a 16-bit TIFF")
OTHER_PICTURE = _of("picture", "a picture of a rare format")
WEB_PAGE = _of("text", "a web page, not the photo on it")
POINTER = _of("text", "a Git LFS pointer, not the photo", "fetch the file with `git lfs pull`")

_READ_ONLY = (
    (rb"GIF8[79]a", GIF),
    (rb"BM....\x00\x00\x00\x00", BMP),
    (rb"....ftyp(?:hei[cx]|mif1|heif|MiH[BE])", HEIC),
)
READ_ONLY = tuple(foreign for _, foreign in _READ_ONLY)
"""What is read, and not written."""

# Brands of ISO base media files (ISO/IEC 14496-12) by what they hold; those not named here are videos.
_BRANDS = (
    (rb"heic|heix|mif1|heif|MiHB|MiHE", HEIC),
    (rb"heim|heis|hevc|hevx|hevm|hevs|msf1", HEIC_SEQUENCE),
    (rb"crx ", RAW),
    (rb"M4A |M4B |M4P |F4A |F4B ", SOUND),
)
_STARTS: tuple[tuple[bytes, Foreign], ...] = (
    (rb"\x00\x00[\x01\x02]\x00[^\x00]\x00", ICON),
    (rb"icns", ICON),
    (rb"8BPS|gimp xcf", LAYERS),
    (rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", JPEG_2000),
    (rb"II\xbc\x01", JPEG_XR),
    (rb"\xff\xd8\xff(?:\xf7|\xe8..SPIFF)", JPEG_LS),
    (rb"P[1-7fF]\s", NETPBM),
    (rb"\x76\x2f\x31\x01|#\?(?:RADIANCE|RGBE)", DYNAMIC_RANGE),
    (rb"DDS |\xabKTX ", TEXTURE),
    (rb"qoif|BPG\xfb|FLIF|farbfeld|\x01\xda[\x00\x01][\x01\x02]|\x59\xa6\x6a\x95", OTHER_PICTURE),
    (rb"\x0a[\x00-\x05]\x01[\x01\x02\x04\x08]", OTHER_PICTURE),
    (rb".{128}DICM", DICOM),
    (rb"SIMPLE  =", FITS),
    (rb"II\*\x00....CR\x02\x00|II\*\x00....IIII.waR|IIU\x00|IIR[OS]|MMOR|FUJIFILMCCD-RAW|FOVb|\x00MRM", RAW),
    (rb"RIFF....AVI |\x1aE\xdf\xa3|\x00\x00\x01[\xba\xb3]|FLV\x01|OggS|\x30\x26\xb2\x75\x8e\x66\xcf\x11", VIDEO),
    (rb"\x47.{187}\x47.{187}\x47|....(?:moov|mdat|wide|skip)", VIDEO),
    (rb"ID3|fLaC|RIFF....WAVE|FORM....AIF", SOUND),
    (rb"%PDF-|%!PS|\xc5\xd0\xd3\xc6|\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1|\{\\rtf|AT&TFORM", DOCUMENT),
    (rb"PK\x03\x04(?:.{26}mimetypeapplication/(?:vnd|epub)|.{26}\[Content_Types\]|.{26}_rels/)", DOCUMENT),
    (rb"PK[\x03\x05][\x04\x06]|7z\xbc\xaf|Rar!|\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|.{257}ustar", ARCHIVE),
    (rb"version https://git-lfs", POINTER),
    (rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?(?:<!DOCTYPE svg[^>]*>\s*)?<svg", DRAWING),
    (rb"\s*(?i:<!doctype html|<html|<head|<body)", WEB_PAGE),
)
_SUFFIXES: tuple[tuple[str, Foreign], ...] = (
    (".gif .apng", GIF),
    (".heic .heif .hif .heics .heifs", HEIC),
    (".bmp .dib", BMP),
    (".ico .cur .icns", ICON),
    (".psd .psb .xcf .kra .ora .clip .afphoto .pxd", LAYERS),
    (".jp2 .j2k .jpf .jpx .j2c .jpm", JPEG_2000),
    (".jxr .wdp .hdp", JPEG_XR),
    (".jls", JPEG_LS),
    (".pbm .pgm .ppm .pnm .pam .pfm", NETPBM),
    (".exr .hdr", DYNAMIC_RANGE),
    (".tga", TARGA),
    (".dds .ktx .ktx2", TEXTURE),
    (".svg .svgz .emf .wmf .cdr .ai .eps", DRAWING),
    (".dcm", DICOM),
    (".fits .fit", FITS),
    (".qoi .bpg .flif .pcx .ff .sgi .ras .xpm .xbm", OTHER_PICTURE),
    (".dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .raf .orf .rw2 .pef .srw .x3f .3fr .fff .iiq .mrw .kdc .dcr", RAW),
    (".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .mts .m2ts .wmv .flv .3gp .ogv .vob .gifv", VIDEO),
    (".mp3 .wav .flac .m4a .aac .ogg .opus .wma .aif .aiff", SOUND),
    (".pdf .ps .doc .docx .odt .rtf .ppt .pptx .odp .xls .xlsx .ods .djvu .epub .pages .key", DOCUMENT),
    (".zip .cbz .cbr .tar .gz .tgz .7z .rar .bz2 .xz .zst", ARCHIVE),
    (".htm .html .mhtml", WEB_PAGE),
)
BY_SUFFIX: dict[str, Foreign] = {suffix: foreign for names, foreign in _SUFFIXES for suffix in names.split()}
PICTURE_SUFFIXES = frozenset(suffix for suffix, foreign in BY_SUFFIX.items() if foreign.kind in ("picture", "raw"))
"""What a folder of photos may well hold, meant as photos: to be named one by one, not passed over."""


def read_only(head: bytes) -> Foreign | None:
    """Return what a file is that begins so, where that is read, and not written; AVIF may begin like a HEIC."""
    return next((foreign for start, foreign in _READ_ONLY if re.match(start, head, re.DOTALL)), None)


def known_by_content(head: bytes) -> Foreign | None:
    """Return what a file is that begins so (`HEAD_BYTES` are enough), where it is no photo that is read."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return next((foreign for brands, foreign in _BRANDS if re.fullmatch(brands, brand)), VIDEO)
    return next((foreign for start, foreign in _STARTS if re.match(start, head[:HEAD_BYTES], re.DOTALL)), None)


def known_by_suffix(suffix: str) -> Foreign | None:
    """Return what a suffix (with its dot) stands for, where that is no photo that is read."""
    return BY_SUFFIX.get(suffix.lower())
