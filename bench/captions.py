"""Made-up alt texts in a dozen languages, a million in a second: for measuring, not for meaning.

A caption draws its length and its words like web text does: few words are frequent, most are rare (names, compounds,
codes), so that nothing which remembers words or their parts looks better here than on a real pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.random import Generator

RARE_WORDS = 20_000
RARE_SHARE = 0.45
MEAN_WORDS, WORDS_SPREAD, MOST_WORDS = 8.0, 0.75, 80
ODD_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Language:
    """Frequent words, parts from which rare ones are put together, and the share of captions in this language."""

    share: float
    frequent: str
    parts: str
    between: str = " "


LANGUAGES = (
    Language(
        0.50,
        "the of a and in for with on to at by from your new best free photo image stock picture vintage black white red"
        " blue women men home design art wall print set style summer hotel city view beautiful small large how is this",
        "ber ton wood stone light ing er ly house land ville green field mar son craft work shire ham ster way port",
    ),
    Language(
        0.07,
        "der die das und mit für in von auf ein eine zum bei aus Bild Foto Haus schwarz weiß Stadt neue kaufen Wohnung",
        "schlag ung heim berg stein werk kraft zeug licht haus stadt wald fahr technik straße über",
    ),
    Language(
        0.07,
        "de la le les et à en pour avec sur un une dans photo maison noir blanc ville femme homme été prix vue près",
        "eur ment ville beau tion port mont clair fleur châ teau pré rou ge ère",
    ),
    Language(
        0.07,
        "de la el y en con para los las un una por del foto imagen casa negro blanco ciudad mujer niños precio más",
        "ción mente villa sol mar tierra dor llano mon te río año ble",
    ),
    Language(
        0.06,
        "и в на с для по из фото купить дом черный белый город женская новый цена размер картинки как это от",
        "ов ский град мор ная пере ход лес ник стро ить вод",
    ),
    Language(
        0.03, "de o a e em com para da do um uma foto casa preto branco cidade preço não", "ção mente dor mar são ria"
    ),
    Language(
        0.03, "di e il la con per in da foto casa nero bianco città prezzo del più", "zione mente tore monte bella ino"
    ),
    Language(
        0.03, "van de het een en met voor in foto huis zwart wit stad nieuwe", "heid boek kast straat waterig zuid"
    ),
    Language(0.02, "ve bir için ile fotoğraf ev siyah beyaz şehir yeni fiyatı çok", "lar lik siz köy deniz çı ğı"),
    Language(0.02, "w i na z do dla zdjęcie dom czarny biały miasto nowy cena się", "ość owy nik wska łąk żół pod"),
    Language(0.02, "في من على صورة بيت أسود أبيض مدينة جديد سعر مع إلى", "ال ات ية مد سل كت"),
    Language(0.01, "και το της για με φωτογραφία σπίτι μαύρο λευκό πόλη νέο", "ικός ματα λογ παρα θέα"),
    Language(0.01, "का की में और के लिए फोटो घर काला सफेद शहर नया", "वाला पुर नगर ता कार"),
    Language(
        0.02, "写真 画像 の 家 黒 白 都市 新しい 無料 素材 ホテル 人気 を に", "山 川 花 セット ブルー 田 カメラ 光", ""
    ),
    Language(0.03, "图片 高清 的 房子 黑色 白色 城市 新款 免费 设计 价格 酒店", "山 水 花 大 公司 素材 园 海", ""),
    Language(0.01, "사진 이미지 집 검은 흰 도시 새로운 무료 호텔 가격 의", "산 강 꽃 세트 동 하는"),
)

ODD = (
    "",
    " ",
    "\n",
    "a",
    "12345",
    "abcde",
    "abcdef",
    "a b",
    "a b c",
    "IMG_2034.jpg",
    "DSC00012",
    "1920x1080",
    "https://example.org/a.jpg",
    "first line\nsecond line\nthird",
    "no\u00a0break\u00a0space here",
    "wide\u3000space\u3000here",
    "line\u2028separator\u2028here",
    "zero\u200bwidth\u200bspace",
    "\ufeffbyte order mark first",
    "next\u0085line\x1cfile\x1fseparator",
    "tab\tand\x0bvertical\x0cform",
    "👩‍👩‍👧‍👦 family photo of the year 🎉",
    "Z͑ͫa̴l͝go text is a lot of marks",
    "ＦＵＬＬＷＩＤＴＨ letters in a row",
    "مرحبا hello שלום mixed directions",
    "\U00010348 beyond the basic plane",
    "&quot;entities&quot; &amp; <b>tags</b>",
    "%E2%9C%93 escaped name of a file",
    "c\u0327a e\u0301te\u0301 decomposed",
)


def captions(generator: Generator, count: int) -> Any:
    """``count`` captions as an Arrow string array; the same generator state gives the same captions."""
    shares = np.array([language.share for language in LANGUAGES])
    spoken = generator.choice(len(LANGUAGES), size=count, p=shares / shares.sum())
    groups = [np.flatnonzero(spoken == index) for index in range(len(LANGUAGES))]
    texts = [_sentences(generator, language, len(rows)) for language, rows in zip(LANGUAGES, groups, strict=True)]
    odd = np.flatnonzero(generator.random(count) < ODD_SHARE)
    texts.append(pa.array(ODD).take(pa.array(generator.integers(0, len(ODD), len(odd)))))
    source = np.empty(count, dtype=np.int64)
    source[np.concatenate(groups)] = np.arange(count)
    source[odd] = np.arange(count, count + len(odd))
    return pa.concat_arrays(texts).take(pa.array(source))


def _sentences(generator: Generator, language: Language, count: int) -> Any:
    """Word by word, each text's words joined."""
    frequent = language.frequent.split()
    words = pa.array([*frequent, *_rare_words(generator, language.parts.split())])
    lengths = generator.lognormal(np.log(MEAN_WORDS) - WORDS_SPREAD**2 / 2, WORDS_SPREAD, count)
    ends = np.cumsum(np.clip(lengths.astype(np.int64), 1, MOST_WORDS))
    total = int(ends[-1]) if count else 0
    chosen = (generator.random(total) ** 2 * len(frequent)).astype(np.int64)
    rare = generator.random(total) < RARE_SHARE
    chosen[rare] = len(frequent) + (generator.random(int(rare.sum())) ** 2 * RARE_WORDS).astype(np.int64)
    offsets = pa.array(np.concatenate([[0], ends]), type=pa.int32())
    return pc.binary_join(pa.ListArray.from_arrays(offsets, words.take(pa.array(chosen))), language.between)


def _rare_words(generator: Generator, parts: list[str]) -> list[str]:
    """Compounds, some of them capitalised like names, and one in eight a number or a code."""
    drawn = generator.integers(0, len(parts), (RARE_WORDS, 4)).tolist()
    lengths = generator.integers(2, 5, RARE_WORDS).tolist()
    words = ["".join(parts[part] for part in row[:length]) for row, length in zip(drawn, lengths, strict=True)]
    numbers = generator.integers(0, 100_000, RARE_WORDS).tolist()
    for index in range(RARE_WORDS):
        if index % 8 == 0:
            words[index] = (
                str(numbers[index]) if index % 16 else f"{parts[drawn[index][0]][:3].upper()}-{numbers[index]}"
            )
        elif index % 4 == 1:
            words[index] = words[index].capitalize()
    return words
