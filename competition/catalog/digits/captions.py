"""Captions of digits in several languages and styles; English is the language of the tests and of most of the pool.

A template may use ``{digit}`` (the number word), ``{numeral}``, ``{ink}`` and ``{paper}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

ENGLISH_SHARE = 0.7
"""Share of English among good captions; the rest is spread evenly over the other languages."""

COLOUR_SHARE = 0.3
"""Share of captions that name both colours, in languages that have templates for it."""

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Language:
    """Number words 0 to 9, and templates; ``inks`` and ``papers`` translate the colours of ``rendering``."""

    digits: tuple[str, ...]
    plain: tuple[str, ...]
    coloured: tuple[str, ...] = ()
    inks: Mapping[str, str] | None = None
    papers: Mapping[str, str] | None = None


_ENGLISH_PLAIN = (
    "a photo of the digit {digit}",
    "a photo of the handwritten number {digit}",
    "handwritten digit {digit} on paper",
    "the number {digit} written by hand",
    "someone wrote the number {digit} here",
    "close-up of the digit {digit}",
    "This is the number {digit}",
    "learn to write the number {digit}",
    "the digit {numeral} ({digit}) in handwriting",
    "how to draw the number {digit}, step by step",
)
_ENGLISH_COLOURED = (
    "a {ink} {digit} on a {paper} background",
    "the digit {digit} in {ink} ink on {paper} paper",
    "photo of a {ink} number {digit} on {paper} paper",
    "handwritten {digit}, {ink} ink, {paper} paper",
    "the number {digit} painted in {ink} on {paper}",
)

ENGLISH = Language(DIGIT_NAMES, _ENGLISH_PLAIN, _ENGLISH_COLOURED)

OTHER_LANGUAGES: Mapping[str, Language] = {
    "de": Language(
        ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
        (
            "Foto der handgeschriebenen Ziffer {digit}",
            "die Zahl {digit} auf Papier",
            "So schreibt man die Zahl {digit}",
        ),
        ("die Ziffer {digit} in {ink} auf {paper}",),
        {"black": "Schwarz", "red": "Rot", "blue": "Blau", "green": "Grün", "purple": "Lila", "brown": "Braun"},
        {"white": "Weiß", "yellow": "Gelb", "pink": "Rosa", "orange": "Orange", "turquoise": "Türkis", "grey": "Grau"},
    ),
    "fr": Language(
        ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"),
        ("photo du chiffre {digit} écrit à la main", "le chiffre {digit} sur une feuille de papier"),
        ("le chiffre {digit} en {ink} sur fond {paper}",),
        {"black": "noir", "red": "rouge", "blue": "bleu", "green": "vert", "purple": "violet", "brown": "brun"},
        {
            "white": "blanc",
            "yellow": "jaune",
            "pink": "rose",
            "orange": "orange",
            "turquoise": "turquoise",
            "grey": "gris",
        },
    ),
    "es": Language(
        ("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"),
        ("foto del número {digit} escrito a mano", "aprende a escribir el número {digit}"),
        ("el número {digit} en {ink} sobre fondo {paper}",),
        {"black": "negro", "red": "rojo", "blue": "azul", "green": "verde", "purple": "morado", "brown": "marrón"},
        {
            "white": "blanco",
            "yellow": "amarillo",
            "pink": "rosa",
            "orange": "naranja",
            "turquoise": "turquesa",
            "grey": "gris",
        },
    ),
    "it": Language(
        ("zero", "uno", "due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove"),
        ("foto della cifra {digit} scritta a mano", "il numero {digit} disegnato su un foglio di carta"),
    ),
    "pt": Language(
        ("zero", "um", "dois", "três", "quatro", "cinco", "seis", "sete", "oito", "nove"),
        ("foto do número {digit} escrito à mão", "aprenda a escrever o número {digit}"),
    ),
    "nl": Language(
        ("nul", "een", "twee", "drie", "vier", "vijf", "zes", "zeven", "acht", "negen"),
        ("foto van het handgeschreven cijfer {digit}", "het getal {digit} op een vel papier"),
    ),
    "pl": Language(
        ("zero", "jeden", "dwa", "trzy", "cztery", "pięć", "sześć", "siedem", "osiem", "dziewięć"),
        ("zdjęcie odręcznie napisanej cyfry {digit}", "cyfra {digit} na kartce papieru"),
    ),
    "ru": Language(
        ("ноль", "один", "два", "три", "четыре", "пять", "шесть", "семь", "восемь", "девять"),
        ("фото рукописной цифры {digit}", "цифра {digit} на листе бумаги"),
    ),
    "zh": Language(
        ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九"),
        ("手写数字{digit}的照片", "纸上的数字{digit}"),
    ),
    "ja": Language(
        ("ゼロ", "一", "二", "三", "四", "五", "六", "七", "八", "九"),
        ("手書きの数字「{digit}」の写真", "紙に書かれた数字の{digit}"),
    ),
}


def describe(rng: np.random.Generator, digit: int, ink: str, paper: str, english: float = ENGLISH_SHARE) -> str:
    """A true caption of a digit (0 to 9) in these colours, in a drawn language (English by that share) and style."""
    if rng.random() < english:
        return describe_in(rng, ENGLISH, digit, ink, paper)
    return describe_in(rng, OTHER_LANGUAGES[_pick(rng, list(OTHER_LANGUAGES))], digit, ink, paper)


def describe_in(rng: np.random.Generator, language: Language, digit: int, ink: str, paper: str) -> str:
    """A true caption in one language."""
    coloured = bool(language.coloured) and rng.random() < COLOUR_SHARE
    template = _pick(rng, language.coloured if coloured else language.plain)
    return template.format(
        digit=language.digits[digit],
        numeral=digit,
        ink=(language.inks or {}).get(ink, ink),
        paper=(language.papers or {}).get(paper, paper),
    )


def retrieval_captions(digit: int, ink: str, paper: str) -> list[str]:
    """The English captions of a retrieval image: every coloured style, so that each names digit and both colours."""
    return [
        template.format(digit=DIGIT_NAMES[digit], numeral=digit, ink=ink, paper=paper) for template in _ENGLISH_COLOURED
    ]


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
