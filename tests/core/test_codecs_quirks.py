"""What the server is known to do beyond its page, format by format."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from codec_samples import ASKED, PHONE, WHO, bad, decode, one, record, rows, sent

from smsc_status._core.wire import codecs
from smsc_status._core.wire.codecs import BadRow, ErrorReply
from smsc_status.errors import ProtocolError
from smsc_status.models import MOSCOW, Detail, Format, HlrRecord, StatusRecord

BASIC, FULL, EXTENDED = Detail
PLAIN, CSV, XML, JSON = Format

HEAD = "Status = 1, check_time = 24.11.2026 10:00:00, send_date = 24.11.2026 09:59:50, phone = 79990000001, "
PRICE = "cost = 1.20, sender_id = SMSC.RU, status_name = Доставлено, "
CSV_HEAD = "1,1795503600,0,1795503590,79990000001,"


class TestJson:
    @pytest.mark.parametrize(
        ("wire", "expected"),
        [
            ('{"status": -3}', {"status": -3}),
            ('{"status": "1", "err": "0", "flag": "32"}', {"status": 1, "err": 0, "flag": 32}),
            ('{"status": 1, "err": "", "flag": null}', {"status": 1}),
            ('{"status": 1, "phone": 79990000001, "mccmnc": 25001}', {"status": 1, "phone": PHONE, "mccmnc": "25001"}),
            ('{"status": 1, "cost": 1.20}', {"status": 1, "cost": Decimal("1.20")}),
            ('{"status": 1, "cost": 1.20, "phone": 7}', {"status": 1, "cost": Decimal("1.20"), "phone": "7"}),
            ('{"status": 1, "cost": "", "message": ""}', {"status": 1, "message": ""}),
            ('{"status": 1.0, "mcc": "250"}', {"status": 1, "mcc": "250"}),
            ('{"status": 1, "id": "007"}', {"status": 1, "id": "007"}),
            ('{"status": 1, "id": "5", "phone": 7}', {"status": 1, "id": "5", "phone": "7"}),
            ('{"status": 1, "id": 5, "phone": 7}', {"status": 1, "id": 5, "phone": "7"}),
            ('{"status": 1, "err": "", "id": ""}', {"status": 1}),
            ('{"status": 6, "surprise": {"a": [1]}}', {"status": 6}),
            ('{"status": 1, "message": "a\nb\tc\x00"}', {"status": 1, "message": "a\nb\tc\x00"}),
            ('{"status": 1, "message": "\\ud800x"}', {"status": 1, "message": "\ufffdx"}),
            ('{"status": 1, "message": "\\"imsi\\""}', {"status": 1, "message": '"imsi"'}),
            ('{"status": 1, "message": "imsi"}', {"status": 1, "message": "imsi"}),
            ('{"status": 1, "error_code": 9}', {"status": 1}),
        ],
    )
    def test_numbers_texts_and_missing_keys_are_accepted(self, wire: str, expected: dict[str, Any]) -> None:
        """Numbers and texts stand for each other, keys may be missing or unknown, control characters raw."""
        assert sent(one(wire, JSON)) == expected

    @pytest.mark.parametrize(
        "wire",
        [
            '{"status": null, "id": 5, "phone": "79990000001"}',
            '{"id": 5, "phone": "79990000001"}',
            '{"status": true, "id": 5, "phone": "79990000001"}',
            '{"status": %s, "id": 5, "phone": "79990000001"}' % ("9" * 5000),
            '{"status": 1.5, "id": 5, "phone": "79990000001"}',
        ],
    )
    def test_a_record_without_a_status_is_a_bad_row(self, wire: str) -> None:
        """It says whose it is; its neighbour is read."""
        found = rows(f'[{wire}, {{"status": 1, "id": 6}}]', JSON, asked=ASKED[:2], bulk=True)
        assert isinstance(found[0], BadRow)
        assert (found[0].id, found[0].phone) == (5, PHONE)
        assert sent(found[1]) == {"status": 1, "id": 6}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("err", '"many"'),
            ("err", "9" * 5000),
            ("err", "1.5"),
            ("message", '["x"]'),
            ("cost", '"NaN"'),
            ("cost", '"1e999999"'),
            ("last_timestamp", "{}"),
            ("sender_id", "true"),
        ],
    )
    def test_a_value_of_the_wrong_kind_costs_itself_alone(self, name: str, value: str) -> None:
        """The field is `None` and named as unclear; the status comes out."""
        assert sent(one(f'{{"{name}": {value}, "status": 1, "flag": 0, "id": 5}}', JSON)) == {
            "status": 1,
            "flag": 0,
            "id": 5,
            "unclear": (name,),
        }

    def test_unclear_fields_stand_in_the_order_of_the_record(self) -> None:
        """Whatever the order of the wire."""
        assert one('{"mccmnc": [], "err": [], "status": 1, "cost": []}', JSON).unclear == ("err", "cost", "mccmnc")

    def test_a_bad_row_has_the_id_and_the_phone_that_can_be_read(self) -> None:
        """An id or a phone that can't be read itself is not known."""
        row = bad('{"id": [5], "phone": {}}', JSON)
        assert (row.id, row.phone, row.index) == (None, None, 0)

    @pytest.mark.parametrize(
        "hostile", ['"timezone": {"a": 1}', '"ref": "x"', '"checked_at": "2020-01-01T00:00:00Z"', '"timezone": null']
    )
    def test_our_own_fields_never_come_from_the_wire(self, hostile: str) -> None:
        """A reply can't fill the caller's ref, the time of the check, or the zone."""
        found = one(f'{{"status": 1, {hostile}}}', JSON)
        assert sent(found) == {"status": 1}
        assert found.timezone is MOSCOW

    def test_a_look_up_is_told_by_its_keys(self) -> None:
        """One key that only look-ups have makes a look-up, whatever else is missing."""
        for key in ("imsi", "msc", "mcc", "mnc", "cn", "net", "rcn", "rnet"):
            assert isinstance(one(f'{{"status": 1, "{key}": "1"}}', JSON), HlrRecord)
            assert isinstance(one(f'{{"status": 1, "{key}": "1", "flag": 4}}', JSON), HlrRecord)

    def test_a_list_in_place_of_an_object_is_read_and_the_reverse(self) -> None:
        """A single answer may come as a list, a bulk one as one object; an entry that is neither is bad."""
        assert sent(one('[{"status": 1}]', JSON)) == {"status": 1}
        assert sent(one('{"status": 1}', JSON, bulk=True)) == {"status": 1}
        assert isinstance(rows('[7, {"status": 1}]', JSON)[0], BadRow)
        assert rows("[]", JSON, bulk=True) == []

    def test_a_refusal_may_have_a_textual_number_and_no_wording(self) -> None:
        """The number may be a text, the wording may be missing; without a number it is no refusal."""
        assert decode('{"error_code": "9"}', JSON) == ErrorReply(9, "")
        assert isinstance(bad('{"error": "x"}', JSON), BadRow)
        assert isinstance(bad('{"error": "x", "error_code": null}', JSON), BadRow)
        assert isinstance(bad('{"error": [], "error_code": 9}', JSON), BadRow)
        assert decode("ERROR = 2 (authorise error)", JSON) == ErrorReply(2, "authorise error")

    def test_half_an_escaped_character_is_replaced(self) -> None:
        """What was escaped as half a character is U+FFFD, in every record."""
        found = rows('[{"status": 1, "message": "\\uD800x", "err": null}, {"status": 0}, 7]', JSON)
        assert [sent(row) for row in found[:2]] == [{"status": 1, "message": "\ufffdx"}, {"status": 0}]

    @pytest.mark.parametrize("body", ["[" * 100_000, '{"status": 1', '{"status": 1}]', "9" * 5000])
    def test_a_reply_that_is_not_json_is_an_error(self, body: str) -> None:
        """A cut, overlong or endlessly nested reply is an error."""
        with pytest.raises(ProtocolError):
            decode(body, JSON)


class TestXml:
    def test_a_prologue_is_optional_and_its_encoding_does_not_count(self) -> None:
        """The charset that was asked for decides, whatever the prologue says."""
        wire = '\n<?xml version="1.0" encoding="koi8-r"?>\n<sms><status>1</status><region>Москва</region></sms>'
        assert decode(wire, XML, charset="windows-1251") == [StatusRecord(status=1, region="Москва")]

    def test_entities_and_cdata_are_read(self) -> None:
        """Entities and CDATA are read; an empty text that was sent is empty, an empty number is nothing."""
        wire = "<sms><status>1</status><err/><message><![CDATA[a <b> & c]]></message><comment></comment></sms>"
        assert sent(one(wire, XML)) == {"status": 1, "message": "a <b> & c", "comment": ""}
        assert one("<sms><status>1</status><message>]]&gt;&amp;</message></sms>", XML).message == "]]>&"

    @pytest.mark.parametrize(
        "wire",
        [
            "<sms><status>1</status><status>2</status></sms>",
            "<sms><status/></sms>",
            "<sms><status>1<b/></status></sms>",
            "<sms><status>1</status><id>5</id><id>6</id></sms>",
        ],
    )
    def test_a_doubtful_status_or_id_is_a_bad_row(self, wire: str) -> None:
        """Markup inside it, two of them, or none at all cost the record."""
        assert isinstance(bad(wire, XML), BadRow)

    @pytest.mark.parametrize(
        ("wire", "unclear"),
        [
            ("<message>a <b>bold</b></message>", "message"),
            ("<err>x</err>", "err"),
            ("<err>1</err><err>2</err>", "err"),
            ("<cost>free</cost>", "cost"),
        ],
    )
    def test_a_doubtful_value_costs_itself_alone(self, wire: str, unclear: str) -> None:
        """Markup inside a text, a field that comes twice, and a wrong number."""
        found = sent(one(f"<sms><status>1</status>{wire}<flag>0</flag></sms>", XML))
        assert found == {"status": 1, "flag": 0, "unclear": (unclear,)}

    def test_a_document_type_is_refused(self) -> None:
        """No entity is ever declared, let alone expanded."""
        wire = '<!DOCTYPE sms [<!ENTITY a "aaaa">]><sms><status>1</status><message>&a;</message></sms>'
        with pytest.raises(ProtocolError, match="document type"):
            decode(wire, XML)

    def test_a_text_that_breaks_the_document_costs_its_message(self) -> None:
        """If the reply is not well-formed, each message is read alone."""
        wire = (
            "<list><sms><status>1</status><id>5</id></sms>"
            "<sms><status>1</status><message>AT&T \x01</message><id>6</id></sms>"
            "<sms><status>-3</status><id>7</id><phone>+7 999 000-00-03</phone></sms></list>"
        )
        found = rows(wire, XML, FULL, asked=ASKED, bulk=True)
        assert [getattr(row, "index", row.id) for row in found] == [5, 1, 7]
        assert isinstance(found[1], BadRow)

    def test_messages_made_up_by_a_broken_text_are_not_believed(self) -> None:
        """Between two messages that can't be read nothing is sure."""
        fake = "</message></sms><sms><status>1</status><id>6</id></sms><sms><message>"
        wire = (
            "<list><sms><status>-3</status><id>7</id></sms>"
            f"<sms><status>1</status><message>& {fake} &</message><id>5</id></sms>"
            "<sms><status>0</status><id>6</id></sms></list>"
        )
        found = rows(wire, XML, FULL, asked=[ASKED[2], *ASKED[:2]], bulk=True)
        assert [(type(row), row.id) for row in found] == [
            (StatusRecord, 7),
            (BadRow, None),
            (BadRow, 6),
            (BadRow, None),
            (StatusRecord, 6),
        ]

    def test_pieces_that_do_not_line_up_with_the_request_are_read_by_their_names(self) -> None:
        """Messages that can be read are read, wherever they stand; whose they are they say themselves."""
        wire = "<list><sms><status>1</status><id>6</id><phone>79990000002</phone></sms>&<sms><status>1</status></sms>"
        found = rows(wire, XML, asked=ASKED[:2], bulk=True)
        assert [row.id for row in found] == [6, None]
        wire = "<list><sms><status>1</status><id>5</id><phone>1</phone></sms>&</list>"
        assert [row.phone for row in rows(wire, XML, asked=[WHO], bulk=True)] == ["1"]

    def test_a_single_reply_that_is_not_well_formed_is_read_if_it_holds_one_message(self) -> None:
        """A single reply that is not well-formed is read if what is inside is; two messages are one too many."""
        assert sent(one("<x><sms><status>1</status></sms>", XML)) == {"status": 1}
        assert bad("<x><sms><status>1</status>&</sms>", XML).index == 0
        assert bad("<sms><status>1</status></sms><sms><status>1</status></sms>", XML).index == 0

    @pytest.mark.parametrize(
        "wire",
        [
            "<result><error>x</error></result>",
            "<result>OK</result>",
            "<other/>",
            "<result><error_code>x</error_code></result>",
        ],
    )
    def test_a_document_without_a_status_is_an_error(self, wire: str) -> None:
        """A result without a number, and other documents, are errors."""
        with pytest.raises(ProtocolError):
            decode(wire, XML)

    def test_characters_that_xml_does_not_allow_are_replaced(self) -> None:
        """The encoder keeps a carriage return, and replaces what no document can hold."""
        body = codecs.encode(
            [record(XML, FULL, message="a\r\nb\x00\ud800\uffff<]]>&")],
            format=XML,
            detail=FULL,
            charset="utf-8",
            bulk=False,
        )
        assert one(body, XML, FULL).message == "a\r\nb\ufffd\ufffd\ufffd<]]>&"


class TestPlain:
    @pytest.mark.parametrize(
        ("wire", "expected"),
        [
            ("Status = 1, check_time = 24.11.2026 10:00:00", {"status": 1, "last_date": "24.11.2026 10:00:00"}),
            ("status=1,err=6,ID = 5", {"status": 1, "err": 6, "id": 5}),
            ("Status = 1, err = , ID = 007, surprise = 7", {"status": 1, "id": "007"}),
            ("Status = -3\r\n", {"status": -3}),
            ("Status = 1, check_time = , region = , cost = 1.2", {"status": 1, "cost": Decimal("1.2")}),
            ("Status = 1, operator = A, B, operator_orig= x = y, region = C, D", {
                "status": 1, "operator": "A, B", "operator_orig": "x = y", "region": "C, D",
            }),
        ],
    )  # fmt: skip
    def test_keys_are_read_in_any_case_and_spacing(self, wire: str, expected: dict[str, Any]) -> None:
        """Keys in any case and spacing, unknown ones ignored unless they may be part of a name; empty is nothing."""
        assert sent(one(wire, PLAIN)) == expected

    def test_a_status_that_is_no_number_is_no_reply(self) -> None:
        """It is no reply at all."""
        with pytest.raises(ProtocolError):
            decode("Status = x", PLAIN)

    @pytest.mark.parametrize(
        ("wire", "expected", "unclear"),
        [
            ("operator = A, B = C, region = x", {"region": "x"}, ("operator",)),
            ("err = 1, operator = A, operator = C, region = x", {"err": 1, "region": "x"}, ("operator",)),
            ("err = 1, err = 2", {"err": 1}, ()),
            ("region = A, cost = 5, cost = 1.20", {}, ("cost", "region")),
            (
                "err = 6, cn = A, err = 7, net = B, send_date = x, mcc = 7",
                {"err": 6, "net": "B", "send_date": "x", "mcc": "7"},
                ("cn",),
            ),
            ("mcc = 1, cost = many, sender_id = A", {"mcc": "1", "sender_id": "A"}, ("cost",)),
        ],
    )
    def test_keys_that_a_name_may_hold_are_unclear(
        self, wire: str, expected: dict[str, Any], unclear: tuple[str, ...]
    ) -> None:
        """What a name may hold leaves a doubt about the names and what came twice; what stands before any name is
        sure.
        """
        found = sent(one(f"Status = 1, check_time = 24.11.2026 10:00:00, {wire}", PLAIN))
        assert found.pop("unclear", ()) == unclear
        assert found == {"status": 1, "last_date": "24.11.2026 10:00:00"} | expected

    @pytest.mark.parametrize(
        ("rest", "text", "comment", "type"),
        [
            ("message = a, b = c, d, type = 0", "a, b = c, d", None, 0),
            ("message = a\nb\r\nc, comment = d, e, type = 8", "a\nb\r\nc", "d, e", 8),
            ("message = , type = 0", "", None, 0),
            ("message = x, type = 5, type = 0", "x, type = 5", None, 0),
            ("message = x, message = y, type = 0", "x, message = y", None, 0),
            ("message = x, type = , surprise = 1", "x", None, None),
            ("message = x", "x", None, None),
            ("message = x, comment = y", "x", "y", None),
            ("message = x, type = 0, phone = +7 999 000 00 01", "x", None, 0),
        ],
    )
    def test_a_text_ends_at_the_comment_or_at_the_last_type(
        self, rest: str, text: str, comment: str | None, type: int | None
    ) -> None:
        """A text ends at the page's comment or at the last type; whatever it holds belongs to it."""
        found = one(HEAD + PRICE + rest, PLAIN, FULL)
        assert (found.message, found.comment, found.type) == (text, comment, type)
        assert found.phone == PHONE

    @pytest.mark.parametrize(
        "rest",
        [
            "message = a, type = 0, phone = 79990000009",
            "message = a, type = 0, id = 5, id = 6",
        ],
    )
    def test_two_messages_in_one_line_cost_the_record(self, rest: str) -> None:
        """Two phones or two ids cost the record."""
        assert bad(HEAD + PRICE + rest, PLAIN, FULL).index == 0

    @pytest.mark.parametrize(
        ("rest", "text", "comment", "type", "unclear"),
        [
            ("message = HELLO, comment = x, type = 0", "HELLO", "x", 0, ("message", "comment")),
            ("message = a, comment = b, comment = c, type = 0", None, None, 0, ("message", "comment")),
            ("message = a, type = 0 and more", None, None, None, ("message", "comment", "type")),
            ("message = a, b, type = 0", "a, b", None, 0, ()),
        ],
    )
    def test_a_comment_that_may_be_the_text_s_is_unclear(
        self, rest: str, text: str | None, comment: str | None, type: int | None, unclear: tuple[str, ...]
    ) -> None:
        """A comment and a type may be the text's; one comment most likely is one. The rest of the line is sure."""
        found = one(HEAD + PRICE + rest, PLAIN, FULL)
        assert (found.message, found.comment, found.type, found.unclear) == (text, comment, type, unclear)
        assert (found.status, found.phone, found.cost) == (1, PHONE, Decimal("1.20"))
        assert (found.last_date, found.send_date) == ("24.11.2026 10:00:00", "24.11.2026 09:59:50")

    def test_two_comments_in_a_line_of_a_bulk_reply_are_unclear(self) -> None:
        """They are as unclear as in a reply about one message, and the other lines are sure."""
        lines = [
            f"{HEAD}{PRICE}message = a, comment = b, comment = c, type = 0, id = 5",
            HEAD.replace(PHONE, ASKED[1][1]) + PRICE + "message = a, comment = b, type = 0, id = 6",
        ]
        first, second = rows("\n".join(lines), PLAIN, FULL, asked=ASKED[:2], bulk=True)
        assert isinstance(first, StatusRecord)
        assert isinstance(second, StatusRecord)
        assert (first.id, first.message, first.comment, first.unclear) == (5, None, None, ("message", "comment"))
        assert (second.id, second.message, second.comment) == (6, "a", "b")

    @pytest.mark.parametrize("status", [-1, -2, -3])
    @pytest.mark.parametrize("detail", Detail)
    def test_a_negative_status_may_stand_alone(self, detail: Detail, status: int) -> None:
        """No other status begins so; in a bulk reply the id follows."""
        assert sent(one(f"Status = {status}\n", PLAIN, detail)) == {"status": status}
        lines = [f"Status = {status}, id = {id}" for id, _ in ASKED]
        found = rows("\n".join(lines), PLAIN, detail, asked=ASKED, bulk=True)
        assert [(row.id, getattr(row, "status", None)) for row in found] == [(id, status) for id, _ in ASKED]

    @pytest.mark.parametrize("wire", ["Status = 0", "Status = 1", "Status = -4", "Status = -12"])
    def test_no_other_status_may_stand_alone(self, wire: str) -> None:
        """It may be the beginning of another."""
        assert isinstance(bad(wire, PLAIN), BadRow)

    def test_blank_lines_are_ignored_and_a_bad_line_costs_its_own_message(self) -> None:
        """Blank lines are nothing, and a line that can't be read costs its message."""
        found = rows(
            "Status = 1, id = 5, phone = 79990000001\r\n\r\noops\nStatus = 0, ID = 6\n", PLAIN, asked=ASKED, bulk=True
        )
        assert [row.id for row in found] == [5, None, 6]
        assert isinstance(found[1], BadRow)

    def test_a_refusal_may_have_no_wording_or_one_with_brackets(self) -> None:
        """A refusal may come without its wording, which may hold brackets."""
        assert decode("error=4", PLAIN) == ErrorReply(4, "")
        assert decode("ERROR = 1 (wrong (very)\nwrong)\n", PLAIN) == ErrorReply(1, "wrong (very)\nwrong")

    @pytest.mark.parametrize(
        ("wire", "code", "text"),
        [
            ("ERROR = 9 (duplicate request, wait a minute), ID - 275", 9, "duplicate request, wait a minute"),
            ("ERROR = 9 (duplicate (again)), ID - 275 (x)", 9, "duplicate (again)"),
            ("ERROR = 2 (authorise error)<br>\n", 2, "authorise error"),
            ("error=4 (ip is blocked) anything, at all = 1", 4, "ip is blocked"),
            ("ERROR = 4 (ip ((is blocked), ID - 275", 4, "ip ((is blocked"),
            ("ERROR = 9, ID - 275", 9, ""),
        ],
    )
    @pytest.mark.parametrize("format", Format)
    def test_a_refusal_with_an_id_after_it_is_a_refusal_in_every_format(
        self, format: Format, wire: str, code: int, text: str
    ) -> None:
        """A sibling script appends the id: it is a refusal in every format, for a status and for a deletion."""
        for bulk in (False, True):
            assert decode(wire, format, bulk=bulk) == ErrorReply(code, text)
        assert codecs.decode_deletion(wire.encode(), format=format, charset="utf-8") == ErrorReply(code, text)


class TestCsv:
    @pytest.mark.parametrize(
        ("wire", "expected"),
        [
            ("1,1286524541", {"status": 1, "last_timestamp": 1286524541}),
            ("-3", {"status": -3}),
            ("-3,0,0", {"status": -3, "last_timestamp": 0, "err": 0}),
            ("-3,,\r\n", {"status": -3}),
            ("1, 1795503600, 0", {"status": 1, "last_timestamp": 1795503600, "err": 0}),
            ("0,1795503600,", {"status": 0, "last_timestamp": 1795503600}),
            (
                "1,1795503600,0,5,79990000001",
                {"status": 1, "last_timestamp": 1795503600, "err": 0, "id": 5, "phone": PHONE},
            ),
        ],
    )
    def test_a_line_of_the_basic_level_may_lack_the_error_and_have_spaces(
        self, wire: str, expected: dict[str, Any]
    ) -> None:
        """The error may be missing, spaces may follow commas, and not found comes in three forms."""
        assert sent(one(wire, CSV)) == expected
        if expected["status"] == -3:
            assert sent(one(wire, CSV, FULL)) == expected

    @pytest.mark.parametrize(
        ("wire", "text", "comment"),
        [
            ("1.20,SMSC,Доставлено,Hello,note,0", "Hello", "note"),
            ("1.20,SMSC,Доставлено,Hello, note, 0", "Hello", "note"),
            ("1.20, SMSC, Доставлено, Hello, note, 0", "Hello", "note"),
            ("1.20,SMSC,Доставлено, Hello, note,0", " Hello", " note"),
            ("1.20,SMSC,Доставлено,a, b,c,note,0", "a, b,c", "note"),
            ("1.20,SMSC,Доставлено,Hello,0", "Hello", None),
            (",SMSC,Доставлено,,,0", "", ""),
            ("1.20,SMSC,Доставлено,a\nb,,0", "a\nb", ""),
        ],
    )
    def test_commas_belong_to_the_text(self, wire: str, text: str, comment: str | None) -> None:
        """Commas belong to the text, the last columns are its comment and type; lines of 2018 have no comment."""
        found = one(CSV_HEAD + wire, CSV, FULL)
        assert (found.message, found.comment, found.type, found.phone) == (text, comment, 0, PHONE)

    @pytest.mark.parametrize("status", [-1, -2, -3])
    @pytest.mark.parametrize("detail", Detail)
    def test_a_negative_status_may_stand_alone(self, detail: Detail, status: int) -> None:
        """Nothing else begins so; in a bulk reply the id follows, and at the basic level the phone."""
        for wire in (str(status), f"{status}\r\n", f"{status},0,0", f"{status},,"):
            assert one(wire, CSV, detail).status == status
        lines = [f"{status},{id},{phone}" if detail is BASIC else f"{status},{id}" for id, phone in ASKED]
        found = rows("\n".join(lines), CSV, detail, asked=ASKED, bulk=True)
        assert [(row.id, getattr(row, "status", None)) for row in found] == [(id, status) for id, _ in ASKED]

    @pytest.mark.parametrize("wire", ["0", "1", "2", "20", "-4"])
    @pytest.mark.parametrize("detail", Detail)
    def test_no_other_status_may_stand_alone(self, detail: Detail, wire: str) -> None:
        """It may be the beginning of another, or of a refusal."""
        assert isinstance(bad(wire, CSV, detail), BadRow)

    def test_an_id_and_a_phone_may_end_a_bulk_line(self) -> None:
        """At the higher levels a phone may follow the id of a bulk line."""
        line = CSV_HEAD + "1.20,SMSC,Доставлено,a,b,,0,5"
        for wire in (line, line + ",79990000001"):
            assert one(wire, CSV, FULL, bulk=True).message == "a,b"

    @pytest.mark.parametrize(
        ("detail", "wire"),
        [
            (BASIC, "0"),
            (BASIC, "1"),
            (FULL, "1"),
            (BASIC, "1,1795503600,0,1,2,3"),
            (BASIC, "1,yesterday,0"),
            (FULL, "1,1795503600,0,1795503590,79990000009,1.20,SMSC,x,Hello,,0"),
            (FULL, "one,1795503600,0,1795503590,79990000001,1.20,SMSC,x,Hello,,0\n1,"),
            (FULL, "1,1795503600,0,1795503590"),
            (FULL, "1,1795503600,0,250,7916,250,01,A,B,C,,1795503590,79990000009,1.20,HLR,x,,4"),
            (FULL, "1,1795503600,0,250,7916,250,01,A,B,C"),
        ],
    )
    def test_a_line_that_fits_no_layout_is_a_bad_row(self, detail: Detail, wire: str) -> None:
        """A line that fits in no layout, or that names another phone, is a bad row."""
        if wire.startswith("one"):
            with pytest.raises(ProtocolError):
                decode(wire, CSV, detail)
        else:
            assert bad(wire, CSV, detail).index == 0

    def test_commas_in_the_text_leave_no_doubt_where_the_cost_is_certain(self) -> None:
        """Commas in the text are no doubt where the cost stands in its own column."""
        found = one(CSV_HEAD + "Россия,A,Москва,1.20,123,x,a,5,b,,0", CSV, EXTENDED)
        assert (found.region, found.cost, found.message) == ("Москва", Decimal("1.20"), "a,5,b")

    def test_look_ups_are_told_by_the_place_of_their_phone(self) -> None:
        """Whatever their sender; the page's space before the send date does not matter."""
        wire = "1,1795503600,0,250,7916,250,01,A,B,C,D, 1795503590,79990000001,1.20,HLR,x,,4"
        for sender in ("HLR", "ABC"):
            found = one(wire.replace("HLR", sender), CSV, FULL)
            assert isinstance(found, HlrRecord)
            assert (found.sender_id, found.rnet, found.send_timestamp) == (sender, "D", 1795503590)

    def test_a_bulk_line_of_the_basic_level_names_a_message_that_was_asked(self) -> None:
        """Whose a line is must be one that was asked."""
        wire = (
            "1,1795503600,5,79990000001\n"
            "\n"
            "-3,6\n"
            "1,1795503600,0,1,2,3,4,cn,with,commas,net,rcn,rnet,7,79990000003\n"
            "1,1795503600,0,8,79990000009\n"
            "1,1795503600,0"
        )
        found = rows(wire, CSV, asked=ASKED, bulk=True)
        assert [(type(row), row.id, row.phone) for row in found] == [
            (StatusRecord, 5, PHONE),
            (StatusRecord, 6, None),
            (HlrRecord, 7, "79990000003"),
            (BadRow, None, None),
            (BadRow, None, None),  # the last one does not say it, and the others do: it may be cut
        ]

    def test_a_refusal_is_told_from_status_0(self) -> None:
        """`0,-N` alone is a refusal, `0,` and a time a record."""
        assert decode("0, -9\n", CSV, bulk=True) == ErrorReply(9, "")
        assert sent(one("0,1795503600", CSV)) == {"status": 0, "last_timestamp": 1795503600}
