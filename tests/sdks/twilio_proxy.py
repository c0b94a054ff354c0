"""The SDK of Twilio: a session of two participants, found by its name, closed and deleted."""

import json

from steps import A, B, HOST, KEY, SECRET, X, say
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

client = Client(KEY, SECRET)
client.proxy.base_url = f"http://{HOST}"
sessions = client.proxy.v1.services("KS00000000000000000000000000000001").sessions


def e164(number):
    return "+86" + number.lstrip("0")


def step(name, call):
    try:
        return call()
    except TwilioRestException as error:
        say(name, error.code, status=error.status)
        return None


bound = step(
    "bind",
    lambda: sessions.create(
        unique_name="call-1",
        ttl=300,
        mode="voice-only",
        participants=[
            json.dumps({"Identifier": e164(A), "ProxyIdentifier": e164(X)}),
            json.dumps({"Identifier": e164(B)}),
        ],
    ),
)
if bound is not None:
    say("bind", bound.status, id=bound.sid)
    step("bind again", lambda: sessions.create(unique_name="call-1"))
    found = sessions("call-1").fetch()
    say("find", found.status, id=found.sid)
    there = sessions(bound.sid).participants.list()
    say("query", "", a=there[0].identifier, x=there[0].proxy_identifier, b=there[1].identifier)
    closed = sessions(bound.sid).update(status="closed")
    say("unbind", closed.status)
    say("delete", sessions(bound.sid).delete())
    step("unbind again", lambda: sessions(bound.sid).delete())
