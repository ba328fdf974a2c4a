"""What the server refuses by the clock or by two values together: JSON Schema has no word for it.

Only requests that are meant to be accepted are changed, and only in these values. What is meant to be refused is sent as it
was made.
"""

import datetime
import time

import schemathesis
from hypothesis import strategies as st

DAY = 86_400

# Names are looked up in built-in rules, not matched with a pattern.
ZONES = ["UTC", "Europe/Berlin", "Asia/Shanghai", "America/St_Johns", "Pacific/Apia", "Australia/Lord_Howe"]
schemathesis.openapi.format("iana-time-zone", st.sampled_from(ZONES))


@schemathesis.hook
def before_call(context, case, **kwargs):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.operation.label == "DELETE /users/{user_id}" and case.path_parameters.get("user_id") == "alice":
        # Every example tells of alice, and none would be taken any more after her erasure.
        case.path_parameters["user_id"] = "mallory"
    now = int(time.time())
    if isinstance(case.body, dict):
        for name in ("timestamp", "clientTs"):
            stamp = whole(case.body.get(name))
            if stamp is not None and stamp > now:
                case.body[name] = now  # a stamp beyond now + 300 s is refused
        for event in case.body.get("events", []) if isinstance(case.body.get("events"), list) else []:
            stamp = whole(event.get("clientTs")) if isinstance(event, dict) else None
            if stamp is not None and stamp > now:
                event["clientTs"] = now
    if not case.query:
        return
    dates(case.query)
    times(case.query)
    first, last = whole(case.query.get("from")), whole(case.query.get("to"))
    if case.operation.path.endswith("/summaries") and (first, last) != (None, None):
        # At most 366 days. Without a beginning they are a week, without an end they last until today.
        end = now if last is None else last
        if first is not None:
            case.query["from"] = max(min(first, end), end - 300 * DAY)
    elif first is not None and last is not None and first > last:
        case.query["from"], case.query["to"] = last, first  # a window ends at or after its beginning


def dates(query):
    """At most 366 days, and none whose week or month would reach beyond the years that there are."""
    for name in ("startDate", "endDate", "date"):
        if date := parsed(datetime.date, query.get(name)):
            query[name] = min(max(date, datetime.date(1970, 1, 1)), datetime.date(2100, 1, 1)).isoformat()
    first, last = parsed(datetime.date, query.get("startDate")), parsed(datetime.date, query.get("endDate"))
    if first:
        end = last or datetime.date.today()
        query["startDate"] = max(min(first, end), end - datetime.timedelta(days=300)).isoformat()


def times(query):
    """From 1970 on, one after the other, and not too many points between them."""
    first, last = (parsed(datetime.datetime, query.get(name)) for name in ("startTime", "endTime"))
    if first and last:
        year = lambda year: datetime.datetime(year, 1, 2, tzinfo=datetime.timezone.utc)
        start = min(max(first, year(1970)), year(2100))
        end = min(max(start, last), start + datetime.timedelta(days=6))
        query["startTime"], query["endTime"] = start.isoformat(), end.isoformat()


def parsed(kind, text):
    """A date or an instant that a value of a query says, if it is one."""
    try:
        found = kind.fromisoformat(text)
        return found if kind is datetime.date or found.tzinfo else None
    except (TypeError, ValueError):
        return None


def whole(value):
    """The number that a value of a body or a query says."""
    try:
        return None if isinstance(value, bool) else int(value)
    except (TypeError, ValueError):
        return None
