"""What is as documented is read by a shorter way, to the same records."""

from __future__ import annotations

import copy
import json
import pickle
import weakref
from decimal import Decimal

import attrs
import pytest
from codec_samples import ASKED, PHONE, bad, one, record, rows, sent

from smsc_status._core.wire import codecs
from smsc_status._core.wire.codecs import BadRow
from smsc_status._core.wire.values import MAX_CACHED, MAX_CACHED_CHARS, BadValue, ReadCache, str_of
from smsc_status.models import MOSCOW, Detail, Format, StatusRecord

XML, JSON = Format.XML, Format.JSON
FORMATS = pytest.mark.parametrize("format", [XML, JSON])
KINDS = pytest.mark.parametrize(
    "whole",
    [
        record(JSON, Detail.EXTENDED, bulk=True),
        record(JSON, Detail.EXTENDED, hlr=True, bulk=True),
        StatusRecord(status=-3, id=5, phone=PHONE),
    ],
    ids=["message", "look-up", "not found"],
)


def encoded(whole: StatusRecord, format: Format) -> bytes:
    return codecs.encode([whole], format=format, detail=Detail.EXTENDED, charset="utf-8", bulk=True)


@KINDS
@FORMATS
def test_what_is_read_is_a_record_like_any_other(format: Format, whole: StatusRecord) -> None:
    """Equal to one that was constructed, of its class, and as frozen."""
    found = one(encoded(whole, format), format, Detail.EXTENDED, bulk=True)
    assert found == whole
    assert type(found) is type(whole)
    assert repr(found) == repr(whole)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        found.status = 2  # type: ignore[misc]  # which is the point
    said = attrs.asdict(found, recurse=False)
    assert (said["ref"], said["checked_at"], said["timezone"]) == (None, None, MOSCOW)
    assert pickle.loads(pickle.dumps(found)) == copy.copy(found) == attrs.evolve(found) == whole
    assert hash(found) == hash(whole)
    assert weakref.ref(found)() is found


@FORMATS
def test_names_are_kept_once(format: Format) -> None:
    """Records share the names and the costs that they have in common, in whichever reply they come."""
    body = encoded(record(format, Detail.EXTENDED, bulk=True), format)
    records = [one(body, format, Detail.EXTENDED, bulk=True) for _ in range(2)]
    for name in ("sender_id", "status_name", "mccmnc", "country", "operator", "operator_orig", "region", "cost"):
        assert getattr(records[0], name) is getattr(records[1], name), name


def test_few_and_short_texts_are_shared() -> None:
    """What is kept for later records is bounded, however many texts come and however long they are."""
    cache = ReadCache(str_of)
    for number in range(MAX_CACHED + 10):
        assert cache[str(number)] == str(number)
        assert cache[None] is None
    assert len(cache) <= MAX_CACHED
    long = "x" * (MAX_CACHED_CHARS + 1)
    assert cache[long] == long
    assert long not in cache
    with pytest.raises(BadValue):
        cache[7]


class TestJson:
    def test_an_odd_record_changes_nothing_in_the_documented_ones_beside_it(self) -> None:
        """It is read as it is, or costs itself alone; the others are read as ever."""
        plain = {"status": 1, "id": 6, "phone": ASKED[1][1]}
        for odd, expected in (
            ('{"status": "1", "id": 5}', {"status": 1, "id": 5}),
            ('{"status": 1, "cost": 1.20}', {"status": 1, "cost": Decimal("1.20")}),
            ('{"status": 1, "message": "a\\u0000"}', {"status": 1, "message": "a\0"}),
            ('{"status": 1, "id": 9223372036854775808}', {"status": 1, "id": 9223372036854775808}),
            ('{"status": 1, "message": [1]}', {"status": 1, "unclear": ("message",)}),
            ('{"status": [1]}', None),
            ("7", None),
        ):
            found = rows(f"[{json.dumps(plain)}, {odd}, {json.dumps(plain)}]", JSON, asked=ASKED, bulk=True)
            assert sent(found[0]) == sent(found[2]) == plain
            if expected is None:
                assert isinstance(found[1], BadRow)
            else:
                assert sent(found[1]) == expected

    def test_a_byte_that_is_no_text_costs_one_character(self) -> None:
        """In its own record; the others are read as ever."""
        body = b'[{"status": 1, "message": "a\xffb"}, {"status": 0, "message": "\xd0\xb0"}]'
        found = rows(body, JSON, asked=ASKED, bulk=True)
        assert [sent(row)["message"] for row in found] == ["a\ufffdb", "а"]

    def test_a_number_that_is_too_large_is_unclear(self) -> None:
        """It is unclear in each way of reading, and costs the record if it is the status."""
        for digits in ("9" * 19, "-" + "9" * 19):
            for wire in (f'{{"status": 1, "err": {digits}}}', f'{{"status": 1, "err": {digits}, "flag": ""}}'):
                assert sent(one(wire, JSON)) == {"status": 1, "unclear": ("err",)}
            assert isinstance(bad(f'{{"status": {digits}}}', JSON), BadRow)


class TestXml:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("a &amp; b &lt;i&gt; &quot;c&quot; &apos;d&apos;", "a & b <i> \"c\" 'd'"),
            ("&#1087;&#x43f;&#13;", "пп\r"),
            ("&amp;amp;", "&amp;"),
            ("a\r\nb\rc", "a\nb\nc"),
            ("", ""),
        ],
    )
    def test_references_are_read_as_xml_defines_them(self, text: str, expected: str) -> None:
        """They are read as XML has it, with and without something beside that only a parser reads."""
        wire = f"<sms><status>1</status><message>{text}</message></sms>"
        assert one(wire, XML).message == one(f"{wire}<!-- -->", XML).message == expected

    @pytest.mark.parametrize("text", ["&", "&unknown;", "&#0;", "&#xD800;", "&#1114112;", "&amp", "&#;"])
    def test_a_reference_to_nothing_costs_its_record(self, text: str) -> None:
        """It costs its record."""
        assert isinstance(bad(f"<sms><status>1</status><message>{text}</message></sms>", XML), BadRow)

    def test_an_ampersand_between_the_fields_costs_its_record(self) -> None:
        """Also beside a reference that can be read."""
        assert isinstance(bad("<sms><status>1</status>&<message>&amp;</message></sms>", XML), BadRow)

    @pytest.mark.parametrize(
        "wire",
        [
            "<?xml version='1.0'?><list><sms a='b'><status>1</status></sms></list>",
            "<list><sms><!-- x --><status>1</status></sms></list>",
            "<list><sms><status><![CDATA[1]]></status></sms></list>",
            "<list> <sms>\n<status>1</status><err/></sms>\n</list>\n",
            "<?xml version='1.0'?>\n<list>\n<sms>\n<status>1</status>\n</sms>\n</list>\n",
        ],
    )
    def test_other_forms_that_xml_allows_are_read(self, wire: str) -> None:
        """Whatever else XML allows is read as well."""
        assert [sent(row) for row in rows(wire, XML, bulk=True)] == [{"status": 1}]
