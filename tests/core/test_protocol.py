"""What is asked, and what an answer says of each message that was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsc_status._core.wire import codecs, protocol
from smsc_status._core.wire.codecs import BadRow
from smsc_status._core.wire.protocol import Wire, match, read, read_deletion, reply_date
from smsc_status.errors import (
    ApiError,
    AuthError,
    DeleteError,
    ParametersError,
    ProtocolError,
    RateLimited,
    SmscError,
    TransportError,
)
from smsc_status.models import Detail, Format, Identity, StatusRecord

A, B, C = "79990000001", "79990000002", "79990000003"
OK = b'{"status": 1, "last_date": "", "last_timestamp": 0}'


class TestFields:
    def test_a_single_request_asks_with_the_caller_s_own_id_and_phone(self) -> None:
        """The caller's own id and phone, as they are."""
        assert protocol.fields(Wire(), [("007", "+7 999")], bulk=False, detail=Detail.BASIC) == {
            "id": "007",
            "phone": "+7 999",
            "fmt": "3",
            "charset": "utf-8",
            "all": "0",
        }

    def test_a_bulk_request_of_one_message_has_a_trailing_comma(self) -> None:
        """So that its answer has the form of a bulk reply."""
        fields = protocol.fields(Wire(Format.XML, "koi8-r"), [("1", A)], bulk=True, detail=Detail.EXTENDED)
        assert fields == {"id": "1,", "phone": f"{A},", "fmt": "2", "charset": "koi8-r", "all": "2"}

    def test_a_bulk_request_has_ids_and_phones_in_the_same_order(self) -> None:
        """Ids and phones in the same order, without a comma after the last."""
        fields = protocol.fields(Wire(), [("1", A), ("x", B), ("1", C)], bulk=True, detail=Detail.FULL)
        assert (fields["id"], fields["phone"], fields["all"]) == ("1,x,1", f"{A},{B},{C}", "1")

    def test_a_deletion_names_one_message_and_no_level_of_detail(self) -> None:
        """One message, never a level of detail."""
        assert protocol.deletion_fields(Wire(Format.PLAIN), "x", A) == {
            "id": "x",
            "phone": A,
            "fmt": "0",
            "charset": "utf-8",
            "del": "1",
        }


def record(id: int | str | None = None, phone: str | None = None, status: int = 1) -> StatusRecord:
    return StatusRecord(status=status, id=id, phone=phone)


def places(rows: Sequence[StatusRecord | BadRow], asked: Sequence[Identity]) -> list[int | None]:
    """For each message asked, the position of the row that was taken as its answer."""
    of_row = {id(row.error if isinstance(row, BadRow) else row): position for position, row in enumerate(rows)}
    return [None if outcome is None else of_row[id(outcome)] for outcome in match(rows, asked)]


MAILING: list[Identity] = [(7, A), (7, B), (7, C)]
DISTINCT: list[Identity] = [(1, A), (2, A), ("x", B)]


class TestMatch:
    @pytest.mark.parametrize(
        ("asked", "rows", "expected"),
        [
            pytest.param(MAILING, [record(7, A), record(7, B), record(7, C)], [0, 1, 2], id="in order"),
            pytest.param(MAILING, [record(7, C), record(7, A), record(7, B)], [1, 2, 0], id="reordered"),
            pytest.param(MAILING, [record(7, A), record(7, C)], [0, None, 1], id="one missing"),
            pytest.param(MAILING, [], [None, None, None], id="all missing"),
            pytest.param(MAILING, [record(7, B, 1), record(7, B, 2)], [None, 0, None], id="repeated"),
            pytest.param(MAILING, [record(8, A), record(7, "79990000009")], [None, None, None], id="foreign"),
            pytest.param(MAILING, [*map(record, [7] * 4, [A, B, C, "1"])], [0, 1, 2], id="one too many"),
            pytest.param(DISTINCT, [record("X"), record("2"), record("01")], [2, 1, 0], id="by id alone"),
            pytest.param(DISTINCT, [record("x", "8" + B[1:])], [None, None, 0], id="by id, national phone"),
            pytest.param(DISTINCT, [record(2, B)], [None, None, None], id="the id's phone is another"),
            pytest.param(DISTINCT, [record(2, ""), record(1)], [1, 0, None], id="by id, empty phone"),
            pytest.param(DISTINCT, [record(3)], [None, None, None], id="an id that was not asked"),
            pytest.param(MAILING, [record(7, A), record(7), record(7, C)], [0, 1, 2], id="by position"),
            pytest.param(MAILING, [record(), record(), record()], [0, 1, 2], id="by position, nameless"),
            pytest.param(MAILING, [record(None, A), record(), record()], [0, 1, 2], id="by position, phones alone"),
            pytest.param(MAILING, [record(7), record(7)], [None, None, None], id="too few for positions"),
            pytest.param(MAILING, [record(7), record(8), record(7)], [None, None, None], id="ids don't line up"),
            pytest.param([(7, A)], [record()], [0], id="the only one"),
            pytest.param([(7, A)], [record(8)], [None], id="the only one is another"),
            pytest.param([(7, A)], [record(None, B)], [None], id="the only one has another phone"),
            pytest.param([], [record(7, A)], [], id="nothing asked"),
        ],
    )
    def test_each_row_goes_to_the_message_that_it_names(
        self, asked: list[Identity], rows: list[StatusRecord], expected: list[int | None]
    ) -> None:
        """By id and phone, by an id that one message has, by position; what fits nowhere is not ours."""
        assert places(rows, asked) == expected

    @pytest.mark.parametrize(
        ("rows", "expected"),
        [
            pytest.param([record(7, B), record(7), record(7)], [None, 0, None], id="reordered"),
            pytest.param([record(7, A), record(7, A), record(7)], [0, None, None], id="repeated"),
            pytest.param([record(7, "79990000009"), record(7), record(7)], [None, None, None], id="foreign"),
        ],
    )
    def test_positions_mean_nothing_where_a_phone_stands_in_anothers_place(
        self, rows: list[StatusRecord], expected: list[int | None]
    ) -> None:
        """A row without a phone may be any message's there, and so is no answer."""
        assert places(rows, MAILING) == expected

    @pytest.mark.parametrize("prefix", ["7", "+7", "+7 (", ""])
    @pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [0, 2], [1], [2, 0]])
    def test_rows_of_a_mailing_echoed_in_another_notation_find_their_messages(
        self, order: list[int], prefix: str
    ) -> None:
        """One id, many phones asked as 8…: each row is its message's, reversed or with rows missing too."""
        phones = ["8" + phone[1:] for phone in (A, B, C)]
        rows = [record(7, prefix + phones[place][1:]) for place in order]
        expected = [order.index(place) if place in order else None for place in range(3)]
        assert places(rows, [(7, phone) for phone in phones]) == expected

    def test_two_phones_of_one_id_that_end_alike_are_told_by_all_their_digits(self) -> None:
        """A third notation is neither's."""
        asked: list[Identity] = [(7, A), (7, "1" + A[1:]), (8, "1" + A[1:])]
        assert places([record(7, "1" + A[1:]), record(7, A), record(8, A)], asked) == [1, 0, 2]
        assert places([record(7, "8" + A[1:])], asked) == [None, None, None]

    def test_a_row_with_the_phone_itself_goes_before_one_with_a_phone_that_ends_alike(self) -> None:
        """Wherever it stands."""
        assert places([record(7, "1" + A[1:]), record(7, A), record(7, B)], [(7, A), (7, B)]) == [1, 2]

    @pytest.mark.parametrize("format", Format)
    @pytest.mark.parametrize("detail", Detail)
    @pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [0, 2], [1]])
    def test_each_format_reads_a_mailing_echoed_in_another_notation(
        self, format: Format, detail: Detail, order: list[int]
    ) -> None:
        """At each level."""
        asked: list[Identity] = [(7, "8" + phone[1:]) for phone in (A, B, C)]
        echoed = [
            StatusRecord(
                status=status, last_timestamp=1795503600, last_date="24.11.2026 10:00:00", send_timestamp=1795503590,
                send_date="24.11.2026 09:59:50", phone=phone, message="a,b", comment="", type=0, id=7,
            )
            for status, phone in ((1, A), (2, B), (3, C))
        ]  # fmt: skip
        body = codecs.encode(
            [echoed[place] for place in order], format=format, detail=detail, charset="utf-8", bulk=True
        )
        outcomes = read(Wire(format), 200, {}, body, asked=asked, bulk=True, detail=detail)
        assert isinstance(outcomes, list)
        statuses = [outcome.status if isinstance(outcome, StatusRecord) else outcome for outcome in outcomes]
        assert statuses == [place + 1 if place in order else None for place in range(3)]

    def test_two_e_mail_addresses_that_end_alike_are_two(self) -> None:
        """Phones may be one in two notations; two addresses that end alike are two."""
        assert places([record("x", "bob@example.com")], [("x", "rob@example.com")]) == [None]
        assert places([record("x", "Rob@Example.com")], [("x", "rob@example.com")]) == [0]

    def test_a_row_that_can_not_be_read_costs_its_own_message(self) -> None:
        """By the position that the codec knows, or as any other row; the first of a repetition counts."""
        bad = [
            BadRow(ProtocolError("by its id and phone"), 7, B),
            BadRow(ProtocolError("by its place"), index=2),
            BadRow(ProtocolError("nobody's")),
        ]
        assert places([record(7, A), bad[0], record(7, B)], MAILING) == [0, 1, None]
        assert places([bad[1], record(7, A), record(7, C)], MAILING) == [1, None, 0]
        assert places([bad[2]], MAILING) == [None, None, None]
        assert isinstance(match(bad[:1], MAILING)[1], ProtocolError)

    @pytest.mark.slow
    @given(st.data())
    @settings(max_examples=200, deadline=None)
    def test_no_message_gets_an_answer_that_names_another(self, data: st.DataObject) -> None:
        """And no row is given out twice, however the reply is mixed up."""
        identities = st.tuples(st.sampled_from([1, 2]), st.sampled_from([A, B, C]))
        asked = data.draw(st.lists(identities, unique=True, max_size=5))
        echoed = st.builds(
            record, st.sampled_from([1, 2, 3, "01", None]), st.sampled_from([A, B, C, "89990000001", "", None])
        )
        rows = data.draw(st.lists(echoed, max_size=6))
        rows = [record(row.id, row.phone) for row in rows]
        outcomes = match(rows, asked)
        assert len(outcomes) == len(asked)
        given_out = [id(outcome) for outcome in outcomes if outcome is not None]
        assert len(given_out) == len(set(given_out))
        for (key, phone), outcome in zip(asked, outcomes, strict=True):
            if isinstance(outcome, StatusRecord):
                assert outcome.id is None or int(outcome.id) == key
                assert not outcome.phone or outcome.phone[1:] == phone[1:]


def answer(
    status: int = 200,
    body: bytes = OK,
    headers: Mapping[str, str] | None = None,
    *,
    asked: Sequence[Identity] = ((7, A),),
    bulk: bool = False,
) -> list[protocol.Outcome] | SmscError:
    return read(Wire(), status, headers or {}, body, asked=asked, bulk=bulk, detail=Detail.BASIC)


class TestRead:
    def test_a_reply_to_a_single_request_needs_no_name(self) -> None:
        """It is the answer to the one message that was asked."""
        outcomes = answer()
        assert isinstance(outcomes, list)
        (outcome,) = outcomes
        assert isinstance(outcome, StatusRecord)
        assert outcome.status == 1

    def test_a_bulk_reply_gives_one_outcome_a_message_in_the_order_asked(self) -> None:
        """One outcome a message, in the order asked."""
        body = json.dumps([{"status": k, "id": 7, "phone": phone} for k, phone in [(3, C), (1, A)]]).encode()
        outcomes = answer(body=body, asked=MAILING, bulk=True)
        assert isinstance(outcomes, list)
        assert [outcome and outcome.status for outcome in outcomes if not isinstance(outcome, SmscError)] == [
            1,
            None,
            3,
        ]

    @pytest.mark.parametrize(("code", "kind"), [(1, ParametersError), (2, AuthError), (9, RateLimited), (77, ApiError)])
    def test_a_refusal_is_the_error_of_its_code(self, code: int, kind: type[ApiError]) -> None:
        """With the vendor's wording; it concerns the whole request."""
        error = answer(body=json.dumps({"error": "no", "error_code": code}).encode(), bulk=True)
        assert type(error) is kind
        assert (error.code, error.text) == (code, "no")

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 599, 408, 425, 429])
    def test_http_statuses_that_say_later_are_transport_errors(self, status: int) -> None:
        """Whatever the body is."""
        error = answer(status)
        assert type(error) is TransportError
        assert str(status) in str(error)
        assert error.http_status == status
        assert error.retry_after is None

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("120", 120.0),
            (" 5 ", 5.0),
            ("0", 0.0),
            ("Wed, 21 Oct 2015 07:28:00 GMT", 20.0),
            ("Wed, 21 Oct 2015 10:28:00 +0300", 20.0),
            ("Wednesday, 21-Oct-15 07:28:00 GMT", 20.0),
            ("Wed, 21 Oct 2015 07:00:00 GMT", 0.0),
            ("Wed, 21 Oct 2015 07:28:00 -0000", 20.0),
            ("Wed, 21 Oct 2015 07:28:00", 20.0),
            ("Wed Oct 21 07:28:00 2015", 20.0),
            ("Wed, 21 Oct 2037 07:28:00 GMT", 86_400.0),
            ("Wed, 21 Oct 2015 07:28:00 +99999999999999", None),
            ("Wed, 32 Oct 2015 07:28:00 GMT", None),
            ("tomorrow", None),
            ("-1", None),
            ("", None),
            ("1e9", None),
            ("86400", 86_400.0),
            ("86401", 86_400.0),
            ("1234567", 86_400.0),
            ("9" * 5000, 86_400.0),
            ("٣", None),
            ("1.5", None),
        ],
    )
    def test_retry_after_is_read_as_seconds_or_as_a_date(self, value: str, seconds: float | None) -> None:
        """Whole seconds, or a date by the server's clock, at most a day; on any reply that is none."""
        error = answer(503, headers={"retry-after": value, "date": "Wed, 21 Oct 2015 07:27:40 GMT"})
        assert isinstance(error, TransportError)
        assert error.retry_after == seconds
        headers = {"retry-after": value, "date": "Wed, 21 Oct 2015 07:27:40 GMT"}
        for status, body in ((403, b"no"), (200, b"<html>")):
            for other in (answer(status, body, headers=headers), read_deletion(Wire(), status, headers, body)):
                assert isinstance(other, ProtocolError)
                assert (other.http_status, other.retry_after) == (status, seconds)

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("Wed, 25 Nov 2026 22:05:00 GMT", 1_795_644_300.0),
            ("Wednesday, 25-Nov-26 22:05:00 GMT", 1_795_644_300.0),
            ("Wed Nov 25 22:05:00 2026", 1_795_644_300.0),
            ("Wed, 25 Nov 2026 22:05:00", 1_795_644_300.0),
            ("Wed, 25 Nov 2026 22:05:00 -0000", 1_795_644_300.0),
            ("Wed, 25 Nov 2026 25:05:00 GMT", None),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
            ("now", None),
            ("", None),
        ],
    )
    def test_the_reply_s_own_date_is_read_in_each_form_of_http(self, value: str, seconds: float | None) -> None:
        """In seconds since 1970, in each of the three forms that HTTP allows, always in GMT."""
        assert reply_date({"date": value}) == seconds
        assert reply_date({}) is None

    @given(st.text())
    def test_any_date_is_a_number_or_none(self, value: str) -> None:
        """Nothing is raised."""
        assert isinstance(reply_date({"date": value}), float | None)

    @given(st.text(), st.text())
    def test_any_retry_after_is_a_number_or_none(self, value: str, date: str) -> None:
        """Nothing is ever raised; a date without the server's own says nothing."""
        error = answer(503, headers={"retry-after": value, "date": date})
        assert isinstance(error, TransportError)
        assert error.retry_after is None or 0 <= error.retry_after <= 86_400
        no_date = answer(503, headers={"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})
        assert isinstance(no_date, TransportError)
        assert no_date.retry_after is None

    @pytest.mark.parametrize("status", [201, 204, 301, 302, 400, 403, 404, 413, 418])
    def test_other_statuses_are_errors_with_an_excerpt(self, status: int) -> None:
        """A body that looks like an answer is none."""
        error = answer(status, OK * 100)
        assert isinstance(error, ProtocolError)
        assert error.status == status
        assert error.excerpt == (OK * 100).decode()[:200]

    @pytest.mark.parametrize("body", [b"", b" \r\n\t "])
    def test_an_empty_answer_is_a_transport_error(self, body: bytes) -> None:
        """As if the connection had been cut."""
        for error in (
            answer(body=body, headers={"retry-after": "9"}),
            read_deletion(Wire(), 200, {"retry-after": "9"}, body),
        ):
            assert type(error) is TransportError
            assert (error.http_status, error.retry_after) == (200, 9.0)

    def test_an_unreadable_reply_is_a_protocol_error_with_an_excerpt(self) -> None:
        """An error with the HTTP status and what stood there."""
        error = answer(body=b"<html>Sorry</html>")
        assert isinstance(error, ProtocolError)
        assert error.status == 200
        assert "<html>Sorry" in error.excerpt

    @pytest.mark.parametrize("format", Format)
    def test_an_id_of_thousands_of_digits_is_somebody_elses(self, format: Format) -> None:
        """No error but ours comes out, whatever stands where an id is expected."""
        digits = "1" * 5000
        body = {
            Format.PLAIN: f"Status = Delivered (1), check_time = , id = {digits}, phone = {A}",
            Format.CSV: f"1,0,0,{digits},{A}",
            Format.XML: f"<list><sms><status>1</status><id>{digits}</id><phone>{A}</phone></sms></list>",
            Format.JSON: json.dumps([{"status": 1, "id": digits, "phone": A}]),
        }[format]
        outcomes = read(Wire(format), 200, {}, body.encode(), asked=MAILING, bulk=True, detail=Detail.BASIC)
        if isinstance(outcomes, list):
            assert not any(isinstance(outcome, StatusRecord) for outcome in outcomes)
        else:
            assert isinstance(outcomes, ProtocolError)

    @pytest.mark.slow
    @given(
        st.sampled_from(Format),
        st.sampled_from([200, 200, 200, 204, 302, 404, 500]),
        st.one_of(st.binary(max_size=200), st.text(alphabet='[{"status":1,id phone79,}]<>/=\n', max_size=200)),
        st.booleans(),
        st.sampled_from(Detail),
    )
    @settings(max_examples=300, deadline=None)
    def test_any_reply_is_outcomes_or_one_of_our_errors(
        self, format: Format, status: int, body: bytes | str, bulk: bool, detail: Detail
    ) -> None:
        """Never another exception, and never more or fewer outcomes than messages."""
        raw = body if isinstance(body, bytes) else body.encode()
        verdict = read(Wire(format), status, {}, raw, asked=MAILING, bulk=bulk, detail=detail)
        if isinstance(verdict, list):
            assert len(verdict) == len(MAILING)
        else:
            assert isinstance(verdict, SmscError)


class TestDeletion:
    @pytest.mark.parametrize("body", [b"OK", b'{"result": "OK"}'])
    def test_a_confirmed_deletion_is_no_error(self, body: bytes) -> None:
        """In either of the forms that the server is known to use."""
        assert read_deletion(Wire(), 200, {}, body) is None

    def test_a_refused_deletion_is_the_error_of_its_code(self) -> None:
        """The error of its code."""
        error = read_deletion(Wire(), 200, {}, b'{"error": "delete error", "error_code": 5}')
        assert isinstance(error, DeleteError)
        assert error.text == "delete error"

    def test_a_deletion_that_was_not_answered_is_a_transport_error(self) -> None:
        """The server said "later"."""
        error = read_deletion(Wire(), 503, {"retry-after": "7"}, b"")
        assert isinstance(error, TransportError)
        assert error.retry_after == 7.0

    def test_an_unreadable_answer_to_a_deletion_is_a_protocol_error(self) -> None:
        """Neither deleted nor refused."""
        error = read_deletion(Wire(), 200, {}, b"<html>")
        assert isinstance(error, ProtocolError)
        assert (error.status, error.excerpt) == (200, "<html>")
