"""The SDK of Plivo, whose platform chooses X."""

import plivo
import plivo.rest.client
from plivo.exceptions import PlivoRestError
from steps import A, B, HOST, KEY, SECRET, say

# There is no option for it.
plivo.rest.client.API_VOICE_BASE_URI = f"http://{HOST}/v1/Account"
client = plivo.RestClient(KEY, SECRET)


def step(name, call, **fields):
    try:
        return call(**fields)
    except PlivoRestError as error:
        say(name, type(error).__name__)
        return None


def international(number):
    return "86" + number.lstrip("0")


sessions = client.masking_sessions
fields = dict(first_party=international(A), second_party=international(B), session_expiry=300)
bound = step("bind", sessions.create_masking_session, **fields)
if bound is not None:
    id = bound.session_uuid
    say("bind", "", id=id, x=bound.virtual_number)
    found = step("find", sessions.list_masking_session, virtual_number=bound.virtual_number)
    say("find", "", id=found["objects"][0]["session_uuid"])
    say("query", "", a=step("query", sessions.get_masking_session, session_uuid=id).response["first_party"])
    step("unbind", sessions.delete_masking_session, session_uuid=id)
    say("unbind", "")
    step("unbind again", sessions.delete_masking_session, session_uuid=id)
