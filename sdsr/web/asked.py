"""A request as form fields say it, and as it is kept."""

from sdsr.request import Request
from sdsr.restoration.places import parse_place
from sdsr.web.lines import Message


def request_of(asked: Message) -> Request:
    """Return the request; places to protect are as they are typed. Raises InputError for one that is none."""
    return Request(**{**asked, "protect": tuple(parse_place(each) for each in asked.get("protect", ()))})
