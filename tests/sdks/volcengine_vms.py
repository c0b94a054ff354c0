"""The SDK of Volcengine, which sends a request again by itself when it gets no answer."""

import time

from steps import A, B, HOST, KEY, SECRET, X, say
from volcengine.vms.VmsService import VmsService

service = VmsService()
service.set_ak(KEY)
service.set_sk(SECRET)
service.set_host(HOST)
service.set_scheme("http")
POOL = "NP000000000000000001"


def step(name, call, form):
    """An answer's `Result`; of an error the code is said."""
    try:
        answer = call(form)
    except Exception:
        # Only what is no JSON the SDK makes an exception, after a second try.
        say(name, "no answer")
        return None
    error = answer["ResponseMetadata"].get("Error")
    if error:
        say(name, error["Code"])
        return None
    return answer["Result"]


bound = step(
    "bind",
    service.bind_axb,
    {
        "NumberPoolNo": POOL,
        "PhoneNoA": A,
        "PhoneNoX": X,
        "PhoneNoB": B,
        "ExpireTime": str(int(time.time()) + 300),
        "UserData": "a b+c*d~/上海",
    },
)
if bound is not None:
    say("bind", "", id=bound["SubId"], x=bound["PhoneNoX"])
    named = {"NumberPoolNo": POOL, "SubId": bound["SubId"]}
    found = step("query", service.query_subscription, named)
    say("query", "", a=found["PhoneNoA"], b=found["PhoneNoB"])
    listed = step("find", service.query_subscription_for_list, {"NumberPoolNo": POOL, "PhoneNoX": X, "PhoneNoA": A})
    say("find", "", id=listed["Records"][0]["SubId"])
    say("unbind", "", done=step("unbind", service.unbind_axb, named))
    step("unbind again", service.unbind_axb, named)
