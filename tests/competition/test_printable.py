"""A stranger's text neither steers a terminal nor breaks XML, and what can be read stays as it is."""

from __future__ import annotations

import unicodedata
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

from hypothesis import given
from hypothesis import strategies as st

from competition.printable import printable


@given(st.text(st.characters()))
def test_what_is_left_does_nothing_and_fits_into_xml(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert not {unicodedata.category(each) for each in shown} & {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}
    assert ET.fromstring(f"<a>{escape(shown)}</a>").text == (shown or None)
    assert printable(shown) == shown


def test_words_stay_and_control_characters_are_shown() -> None:
    assert printable("Größe 中文 (%)  a<b>&c") == "Größe 中文 (%)  a<b>&c"
    assert printable("\x1b[31ma\u202eb\ud800\ufffe\n") == "�[31ma�b���"
    assert printable("a\nb\tc", keep="\n") == "a\nb�c"
